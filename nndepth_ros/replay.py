"""Processes a recorded bag: every pair, in order, without DDS and without ROS.

The same bag and settings give the same bytes: nothing that is written depends on the clock.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import cv2
from tqdm import tqdm

import nndepth_core
from nndepth_core.calibration import Calibration
from nndepth_core.estimator import StageClock, StereoEstimator
from nndepth_core.files.picture import MAX_PIXELS
from nndepth_core.plausibility import BaselineLimits
from nndepth_ros import doctor
from nndepth_ros.bag import BagReader, Record, bag_message_types
from nndepth_ros.bag_survey import Frame, StereoTopics, Survey, find_topics, make_survey
from nndepth_ros.bag_writer import BagWriter, check_target, leftovers
from nndepth_ros.calibration_file import CalibrationFile
from nndepth_ros.doctor import Finding, Level
from nndepth_ros.outputs import USUAL_OUTPUTS, OutputSettings
from nndepth_ros.pipeline import Estimate, Moment
from nndepth_ros.replay_report import Outcome, describe, describe_input
from nndepth_ros.stereo_pipeline import StereoPipeline
from nndepth_ros.synchronizer import SIDES

SHOWN_FAILURES = 5

T = TypeVar('T')


@dataclass(frozen=True)
class ReplaySettings:
    """What to read and what to write.

    Attributes:
        topics: the input topics; empty ones are to be found.
        outputs: names from STEREO_OUTPUTS.
        messages: how estimates become messages.
        sync_tolerance: the largest difference between the stamps of a pair, in seconds.
        start: how much of the beginning of the bag to leave out, in seconds.
        duration: how much to process after that, in seconds.
        copy_inputs: whether to write the input messages too.
        max_pixels: images with a larger width times height are refused.
        baseline: the baselines that are plausible, which are not reported.
        calibration: a calibration to use instead of the bag's camera_info.
    """

    topics: StereoTopics = field(default_factory=StereoTopics)
    outputs: tuple[str, ...] = USUAL_OUTPUTS
    messages: OutputSettings = field(default_factory=OutputSettings)
    sync_tolerance: float = 0.0
    start: float = 0.0
    duration: float = math.inf
    copy_inputs: bool = False
    max_pixels: int = MAX_PIXELS
    baseline: BaselineLimits = field(default_factory=BaselineLimits)
    calibration: Calibration | None = None

    def __post_init__(self) -> None:
        for name in ('sync_tolerance', 'start'):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise ValueError(f'{name} is {value}; it must be at least 0 seconds')
        if not self.duration > 0:
            raise ValueError(f'duration is {self.duration}; it must be positive')


class MatchedPair(NamedTuple):
    """Two images that belong together, still serialised, and their positions in the bag."""

    left_frame: Frame
    right_frame: Frame
    left: Record
    right: Record


def replay(
    source: Path,
    target: Path,
    estimator: StereoEstimator,
    settings: ReplaySettings | None = None,
    overwrite: bool = False,
    stopped: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Process a bag; progress, the first failures and the doctor's findings go to stderr.

    Args:
        source: a rosbag2 folder, or the file of a bag; see BagReader.
        target: the folder for the new MCAP bag and the report; nothing is made if no pair can be
            processed.
        estimator: computes the disparity.
        settings: topics, outputs and limits; None takes the defaults.
        overwrite: whether the new bag replaces an old one at `target`. The bag of a replay that
            was stopped does not replace it; the report's `output` says where it is.
        stopped: asked before every message and pair; when it returns True, the bag is closed.

    Returns:
        The report, ready for JSON; `problem` says why no pair was processed, None if one was.

    Raises:
        BagError: a bag cannot be read or written; no incomplete bag is left at `target`.
    """
    settings = settings or ReplaySettings()
    check_target(target, source, overwrite)
    for folder in leftovers(target):
        say(f'{folder} is of a replay that was ended or still runs; delete it if nobody uses it')
    clock = StageClock()
    with BagReader(source) as bag:
        topics, survey, start, stop = look_through(bag, settings, stopped)
        clock.lap('survey')
        processor = Processor(bag, topics, survey, estimator, settings)

        for damage in bag.damage:
            say(f'WARN: {damage}')

        def report(written: Mapping[str, int], output: Path) -> dict[str, Any]:
            clock.lap('processing')
            return {
                'nndepth': nndepth_core.__version__,
                'input': str(source),
                'output': str(output) if written else None,
                'interrupted': stopped(),
                **describe(processor.outcome, topics, survey, estimator, clock.milliseconds),
                **describe_input(bag),
                'written': written,
            }

        if not survey.pairs or stopped():
            return report({}, target)
        with BagWriter(target, overwrite) as writer:
            processor.run(writer, start, stop, stopped)
            if stopped() and target.exists():
                writer.stay_beside()
            told = report(writer.counts, writer.path)
            writer.report(json.dumps(told, indent=2) + '\n')
    return told


def look_through(
    bag: BagReader, settings: ReplaySettings, stopped: Callable[[], bool]
) -> tuple[StereoTopics, Survey, int, int | None]:
    """Find the pairs of a bag.

    Returns:
        The topics, what is in them, and the times at which processing begins and ends.
    """
    topics = find_topics(bag, settings.topics, bool(settings.calibration))
    start = bag.start_time + round(settings.start * 1e9)
    stop = None if math.isinf(settings.duration) else start + round(settings.duration * 1e9)
    total = sum(bag.counts[topic] for topic in topics.all)
    records = bag.messages(topics.all, stop=stop)
    records = watched(records, stopped, total=total, desc='reading', leave=False)
    survey = make_survey(bag, topics, records, start, round(settings.sync_tolerance * 1e9))
    return topics, survey, start, stop


def watched(items: Iterable[T], stopped: Callable[[], bool], **bar: Any) -> Iterator[T]:
    """Yield items with a progress bar until it is to stop."""
    with tqdm(items, disable=None, **bar) as shown:
        for item in shown:
            if stopped():
                return
            yield item


def _copied(records: Iterable[Record], bag: BagReader, writer: BagWriter) -> Iterator[Record]:
    for record in records:
        writer.copy(bag.topics[record.topic], record)
        yield record


def matched(
    records: Iterable[Record], topics: StereoTopics, survey: Survey
) -> Iterator[MatchedPair]:
    """Yield the pairs of the survey with their messages as soon as both are read."""
    place_of = {
        side: {pair[at].number: place for place, pair in enumerate(survey.pairs)}
        for at, side in enumerate(SIDES)
    }
    numbers = {side: count() for side in SIDES}
    waiting: dict[int, Record] = {}
    for record in records:
        side = topics.images.get(record.topic)
        place = place_of[side].get(next(numbers[side])) if side else None
        if place is None:
            continue
        partner = waiting.pop(place, None)
        if partner is None:
            waiting[place] = record
            continue
        left, right = (record, partner) if side == 'left' else (partner, record)
        yield MatchedPair(*survey.pairs[place], left, right)


class Processor:
    """Turns pairs into messages, and keeps what the report says of them.

    Args:
        bag: the bag that is read.
        topics: what to read of it.
        survey: what is in it.
        estimator: computes the disparity.
        settings: outputs and limits.
    """

    def __init__(
        self,
        bag: BagReader,
        topics: StereoTopics,
        survey: Survey,
        estimator: StereoEstimator,
        settings: ReplaySettings,
    ) -> None:
        self.outcome = Outcome()
        self._bag = bag
        self._topics = topics
        self._survey = survey
        self._estimator = estimator
        self._settings = settings
        self._calibration_file = settings.calibration and CalibrationFile(settings.calibration)
        self._pipeline = StereoPipeline(bag_message_types(), lambda _, found: self._find(found))
        self._find(doctor.examine_stamps(survey.counts, survey.offset_ns))
        if not topics.rectified:
            self._find([_not_rectified(topics.left)])

    def run(
        self, writer: BagWriter, start: int, stop: int | None, stopped: Callable[[], bool]
    ) -> None:
        """Process the pairs in start <= time < stop; if there is no result, discard the bag."""
        topics, survey = self._topics, self._survey
        wanted = topics.all if self._settings.copy_inputs else topics.images
        records = self._bag.messages(wanted, start, stop)
        if self._settings.copy_inputs:
            records = _copied(records, self._bag, writer)

        def write(pair: MatchedPair, estimate: Estimate) -> None:
            for name, message in estimate.messages.items():
                writer.write(f'{topics.namespace}/{name}', pair.left.time, message)

        pairs = matched(records, topics, survey)
        for pair in watched(pairs, stopped, total=len(survey.pairs), unit='pair'):
            self.process(pair, write)
        if not self.outcome.densities:
            writer.discard()

    def process(self, pair: MatchedPair, write: Callable[[MatchedPair, Estimate], None]) -> None:
        """Estimate one pair and write what comes out; a pair that fails is counted."""
        clock = StageClock()
        try:
            estimate = self._estimate(pair, clock)
        except (ValueError, RuntimeError, cv2.error) as error:
            self._fail(pair.left_frame, error)
            return
        write(pair, estimate)
        clock.lap('write')
        self.outcome.processing_size = list(estimate.result.processing_size)
        self.outcome.densities.append(estimate.density)
        times = {**estimate.milliseconds, 'write': clock.milliseconds['write']}
        for stage, milliseconds in times.items():
            self.outcome.milliseconds.setdefault(stage, []).append(milliseconds)

    def _estimate(self, pair: MatchedPair, clock: StageClock) -> Estimate:
        pipeline, settings = self._pipeline, self._settings
        images = self._bag.decode(pair.left), self._bag.decode(pair.right)
        moment = Moment(images, self._infos(pair, *images))
        pipeline.examine_calibration(*moment.infos, baseline=settings.baseline)
        frame = pipeline.decode(moment, settings.max_pixels)
        clock.lap('decode')
        estimate = None
        try:
            estimate = pipeline.estimate(
                self._estimator, frame, settings.outputs, settings.messages, clock
            )
        finally:
            spec = self._estimator.engine.spec
            pipeline.examine(pair.left.time, moment, frame, estimate, spec, settings.messages)
            clock.lap('examine')
        return estimate

    def _infos(self, pair: MatchedPair, left: Any, right: Any) -> tuple[Any, ...]:
        """The camera_info of both sides, from the calibration if there is one, or from the bag."""
        if self._calibration_file:
            return tuple(self._calibration_file.camera_infos(left, right))
        infos = []
        for side, frame in zip(SIDES, (pair.left_frame, pair.right_frame), strict=True):
            infos.append(self._survey.infos[side].get(frame))
            if infos[-1] is None:
                raise ValueError(
                    f'{self._topics.infos[side]} holds no camera_info so far; give --calibration'
                )
        return tuple(infos)

    def _fail(self, frame: Frame, error: Exception) -> None:
        reason = ' '.join(str(error).split())
        self.outcome.failures.append({'stamp_ns': frame.stamp, 'reason': reason})
        if len(self.outcome.failures) <= SHOWN_FAILURES:
            seconds, nanoseconds = divmod(frame.stamp, 1_000_000_000)
            say(f'pair of stamp {seconds}.{nanoseconds:09d} failed: {reason}')
        elif len(self.outcome.failures) == SHOWN_FAILURES + 1:
            say('more pairs fail; the report names them all')

    def _find(self, found: Iterable[Finding]) -> None:
        for finding in found:
            if self.outcome.findings.setdefault(finding.code, finding) is finding:
                say(f'{finding.level.name}: {finding.text}')


def say(text: str) -> None:
    """Print a line to stderr beside the progress bar."""
    tqdm.write(f'nndepth: {text}', file=sys.stderr)


def _not_rectified(topic: str) -> Finding:
    return Finding(
        'not_rectified',
        Level.WARN,
        f'{topic} does not look rectified by its name, and the bag holds no rectified pair beside '
        'it; if its images are raw, rectify them first (image_proc)',
    )
