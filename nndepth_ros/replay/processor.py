"""The way of a bag's images to messages, without DDS and without ROS, whatever the task is.

The same bag and settings give the same bytes: nothing that is written depends on the clock.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import count
from typing import Any, ClassVar, NamedTuple, TypeVar

import cv2
from tqdm import tqdm

from nndepth_core.cli.saying import say
from nndepth_core.estimator import Estimator, StageClock
from nndepth_ros.bag import BagError, BagReader, Record, bag_message_types
from nndepth_ros.bag_survey import Frame, Survey, make_survey
from nndepth_ros.bag_topics import Topics, find_topics
from nndepth_ros.bag_writer import BagWriter
from nndepth_ros.cameras import Cameras
from nndepth_ros.doctor import Finding, Level
from nndepth_ros.outputs import STATS
from nndepth_ros.pipeline import Estimate, Moment, Pipeline
from nndepth_ros.replay.report import Outcome
from nndepth_ros.replay.settings import ReplaySettings
from nndepth_ros.replay.stats import stats_message

SHOWN_FAILURES = 5
EXAMINE_EVERY = 1_000_000_000
"""Nanoseconds of a recording between two examinations, which cost no latency there."""
FAULTS = (ValueError, RuntimeError, cv2.error)
"""What makes one moment fail, and not the next."""

_NEVER_CAME = 'it was there at first and not when it was to be processed; the bag has changed'

T = TypeVar('T')


class RecordedMoment(NamedTuple):
    """Images that belong together, still serialised, and their positions in the bag.

    Attributes:
        frames: the positions, of the main image first.
        records: the messages.
    """

    frames: tuple[Frame, ...]
    records: tuple[Record, ...]

    @property
    def stamp(self) -> int:
        """The stamp of the main image, in nanoseconds."""
        return self.frames[0].stamp

    @property
    def time(self) -> int:
        """When the main image was recorded, in nanoseconds."""
        return self.frames[0].time


class Processor:
    """Turns the images of a bag into messages, and keeps what the report says of them.

    Args:
        bag: the bag that is read.
        estimator: of the task.
        settings: topics, outputs and limits.

    Raises:
        BagError: the topics are not in the bag.
        ValueError: the settings do not fit the task or the model.
    """

    noun: ClassVar[str]
    """What the images that belong together are called in messages."""
    default_topics: ClassVar[Topics]
    pipeline_class: ClassVar[type[Pipeline]]

    def __init__(self, bag: BagReader, estimator: Estimator, settings: ReplaySettings) -> None:
        self.outcome = Outcome()
        self.bag = bag
        self.estimator = estimator
        self.settings = settings
        types, sides = bag_message_types(), self.pipeline_class.sides
        self.pipeline = self.pipeline_class(types, lambda _, found: self.find(found))
        self.pipeline.cameras = Cameras(types, sides, settings.calibration, settings.rectify)
        self.pipeline.examine_every = EXAMINE_EVERY
        self.topics = self.find_topics()
        self.outputs = self.choose_outputs()
        self.survey = Survey(tuple(self.topics.images.values()))
        self._start = bag.start_time + round(settings.start * 1e9)
        self._stop = None
        if not math.isinf(settings.duration):
            self._stop = self._start + round(settings.duration * 1e9)

    # --- what a subclass defines or changes ------------------------------------------------------

    def synchronizer(self) -> Any:
        """Make what joins single images to moments."""
        raise NotImplementedError

    def needs_info(self) -> bool:
        """Whether an image cannot be used without its camera_info."""
        return True

    def limits(self) -> dict[str, Any]:
        """What the examination of the calibration needs to know in addition to it."""
        return {}

    def find_topics(self) -> Topics:
        """Find the topics that the settings do not name."""
        topics = self.settings.topics or self.default_topics
        if not isinstance(topics, type(self.default_topics)):
            raise ValueError(
                f'the topics are {type(topics).__name__} and the model takes one {self.noun} at a '
                f'time; give {type(self.default_topics).__name__}'
            )
        calibrated = bool(self.settings.calibration)
        return find_topics(self.bag, topics, calibrated, self.settings.rectify)

    def choose_outputs(self) -> Collection[str]:
        """Choose the outputs to write."""
        return self.settings.outputs or (*self.pipeline_class.outputs, STATS)

    def moments(self, records: Iterable[Record]) -> Iterator[RecordedMoment]:
        """Yield what belongs together as soon as it is read."""
        side_of, survey = self.topics.images, self.survey
        images = ((side_of[item.topic], item) for item in records if item.topic in side_of)
        for place, found in matched(images, survey):
            yield RecordedMoment(survey.moments[place], tuple(found[it] for it in survey.sides))

    def note(self, estimate: Estimate) -> None:
        """Keep what only one task knows of an estimate."""

    def measured(self, result: Any) -> dict[str, Any]:
        """Fields of InferenceStats for what only one task knows of a result."""
        return {}

    def described(self) -> dict[str, Any]:
        """What only one task reports, ready for JSON."""
        return {}

    # --- the way of a bag ------------------------------------------------------------------------

    def look_through(self, stopped: Callable[[], bool]) -> None:
        """Read the whole bag once and find what belongs together in it."""
        bag, topics = self.bag, self.topics
        total = sum(bag.counts[topic] for topic in topics.all)
        records = bag.messages(topics.all, stop=self._stop)
        records = watched(records, stopped, total=total, desc='reading', leave=False)
        self.take(make_survey(bag, topics, records, self._start, self.synchronizer()))

    def take(self, survey: Survey) -> None:
        """Process what a survey has found, and report what it tells of the bag."""
        self.survey = survey
        rectified = self.topics.rectified
        if rectified == self.settings.rectify:
            self.find([self._rectified_twice() if rectified else self._not_rectified()])

    def take_part(self, part: Survey) -> None:
        """Process a part of a survey alone; see `Survey.part`."""
        self.survey = part
        self._start, self._stop = part.span

    def records(self, topics: Collection[str]) -> Iterator[Record]:
        """Read the messages of some topics in the time to process."""
        return self.bag.messages(topics, self._start, self._stop)

    def run(self, writer: BagWriter, stopped: Callable[[], bool]) -> None:
        """Process all that was found; if there is no result, discard the bag."""

        def write(moment: RecordedMoment, estimate: Estimate) -> None:
            for name, message in estimate.messages.items():
                writer.write(self.prefix + name, moment.time, message)

        moments = self.moments(self.read_for(writer))
        self.process_all(moments, self.survey.moments, stopped, write)
        if not self.outcome.densities:
            writer.discard()

    @property
    def prefix(self) -> str:
        """What stands before the names of the outputs."""
        return f'{self.topics.namespace}/'

    def read_for(self, writer: BagWriter) -> Iterator[Record]:
        """Read what is processed; with `copy_inputs`, what is read is written too."""
        topics = self.topics
        if not self.settings.copy_inputs:
            return self.records({*topics.images, *topics.depths})
        self.check_names()
        return self._copied(self.records(topics.all), writer)

    def process_all(
        self,
        moments: Iterable[RecordedMoment],
        expected: Sequence[tuple[Frame, ...]],
        stopped: Callable[[], bool],
        write: Callable[[RecordedMoment, Estimate], None],
    ) -> None:
        """Estimate and write, with a progress bar; what fails or never comes is counted.

        Args:
            moments: what to process.
            expected: the positions of their images, as the survey has found them.
            stopped: asked before each of them.
            write: takes what was estimated from, and the estimate.
        """
        for moment in self.awaited(moments, expected, stopped):
            clock = StageClock()
            try:
                estimate = self._estimate(moment, clock)
            except FAULTS as error:
                self.fail(moment.stamp, error)
                continue
            write(moment, estimate)
            clock.lap('write')
            times = {**estimate.milliseconds, 'write': clock.milliseconds['write']}
            self.outcome.add(estimate, times)
            self.note(estimate)

    def awaited(
        self,
        moments: Iterable[RecordedMoment],
        expected: Collection[tuple[Frame, ...]],
        stopped: Callable[[], bool],
    ) -> Iterator[RecordedMoment]:
        """Pass moments on, with a progress bar; what was expected and never comes has failed."""
        missing = dict.fromkeys(expected)
        for moment in watched(moments, stopped, total=len(expected), unit=self.noun):
            missing.pop(moment.frames, None)
            yield moment
        if not stopped():
            for frames in missing:
                self.fail(frames[0].stamp, BagError(_NEVER_CAME))

    def find(self, found: Iterable[Finding]) -> None:
        """Keep findings and say each kind once."""
        for finding in found:
            finding = replace(finding, text=self.settings.wording(finding.text))
            if self.outcome.findings.setdefault(finding.code, finding) is finding:
                say(f'{finding.level.word}: {finding.text}')

    def decode(self, recorded: RecordedMoment) -> tuple[Moment, Any]:
        """Read messages, and turn them into images and cameras; one of FAULTS if that fails."""
        images = tuple(self.bag.decode(record) for record in recorded.records)
        moment = Moment(images, self._infos(recorded, images))
        if None not in moment.infos:
            self.pipeline.examine_calibration(*moment.infos, **self.limits())
        return moment, self.pipeline.decode(moment, self.settings.max_pixels)

    def _estimate(self, recorded: RecordedMoment, clock: StageClock) -> Estimate:
        pipeline, messages = self.pipeline, self.settings.messages
        moment, frame = self.decode(recorded)
        clock.lap('decode')
        estimate = None
        try:
            estimate = pipeline.estimate(self.estimator, frame, self.outputs, messages, clock)
            if STATS in self.outputs:
                measured = self.measured(estimate.result)
                estimate.messages[STATS] = stats_message(
                    self.estimator.engine, moment, estimate, measured
                )
        finally:
            spec = self.estimator.engine.spec
            # By whole seconds, so that it does not depend on where the processing began.
            second = recorded.time - recorded.time % pipeline.examine_every
            pipeline.examine(second, moment, frame, estimate, spec, messages)
            clock.lap('examine')
        return estimate

    def _infos(self, moment: RecordedMoment, images: tuple[Any, ...]) -> tuple[Any, ...]:
        """The camera_info of all sides, from the calibration if there is one, or from the bag."""
        if self.settings.calibration:
            return self.pipeline.cameras.infos(images)
        pairs = zip(self.survey.sides, moment.frames, strict=True)
        infos = {side: self.survey.infos[side].get(frame) for side, frame in pairs}
        for side, info in infos.items():
            if info is None and self.needs_info():
                raise ValueError(
                    f'{self.topics.infos[side]} holds no camera_info so far; give --calibration'
                )
        return tuple(infos.values())

    def _copied(self, records: Iterable[Record], writer: BagWriter) -> Iterator[Record]:
        for record in records:
            writer.copy(self.bag.topics[record.topic], record)
            yield record

    def check_names(self) -> None:
        """Refuse to write outputs between the copied inputs of the same name."""
        if same := sorted({self.prefix + name for name in self.outputs} & self.topics.all):
            raise BagError(
                f'{same[0]} is an input and would be an output too; leave out --copy, or choose '
                'other outputs by --topics'
            )

    def fail(self, stamp: int, error: Exception) -> None:
        """Keep why the moment of a stamp failed, and say it unless many have failed before."""
        reason = self.settings.wording(' '.join(str(error).split()))
        self.outcome.failures.append({'stamp_ns': stamp, 'reason': reason})
        if len(self.outcome.failures) <= SHOWN_FAILURES:
            seconds, nanoseconds = divmod(stamp, 1_000_000_000)
            say(f'{self.noun} of stamp {seconds}.{nanoseconds:09d} failed: {reason}')
        elif len(self.outcome.failures) == SHOWN_FAILURES + 1:
            say(f'more {self.noun}s fail; the report names them all')

    def _not_rectified(self) -> Finding:
        text = (
            f'{self.topics.main} does not look rectified by its name, and the bag holds no '
            f'rectified {self.noun} beside it; if its images are raw, give --rectify'
        )
        return Finding('not_rectified', Level.WARN, text)

    def _rectified_twice(self) -> Finding:
        options = ' and '.join(f'--{side or "image"}' for side in self.topics.images.values())
        text = (
            f'{self.topics.main} looks rectified by its name, and --rectify rectifies it again; '
            f'leave it out, or name the raw images by {options}'
        )
        return Finding('rectified_twice', Level.WARN, text)


def matched(images: Iterable[tuple[str, T]], survey: Survey) -> Iterator[tuple[int, dict[str, T]]]:
    """Yield the moments of a survey as soon as all of their images are there.

    Args:
        images: side and whatever there is of each image, in the order of the bag; all that were
            recorded in the time of the survey.
        survey: what belongs together.

    Yields:
        The place of the moment in the survey, and what there is of its images by their sides.
    """
    place_of = {
        side: {moment[at].number: place for place, moment in enumerate(survey.moments)}
        for at, side in enumerate(survey.sides)
    }
    numbers = {side: iter(survey.numbers.get(side) or count()) for side in survey.sides}
    waiting: dict[int, dict[str, T]] = {}
    for side, image in images:
        place = place_of[side].get(next(numbers[side]))
        if place is None:
            continue
        found = waiting.setdefault(place, {})
        found[side] = image
        if len(found) == len(survey.sides):
            del waiting[place]
            yield place, found


def watched(items: Iterable[T], stopped: Callable[[], bool], **bar: Any) -> Iterator[T]:
    """Yield items with a progress bar until it is to stop."""
    with tqdm(items, disable=None, **bar) as shown:
        for item in shown:
            if stopped():
                return
            yield item
