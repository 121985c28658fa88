"""Processes a recorded bag and writes a bag and a report."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from nndepth_core.cli.saying import say
from nndepth_core.estimator import MonoEstimator, StageClock, StereoEstimator
from nndepth_ros.bag import BagReader
from nndepth_ros.bag_writer import BagWriter, check_target, leftovers
from nndepth_ros.replay.mono import MonoProcessor
from nndepth_ros.replay.processor import Processor
from nndepth_ros.replay.report import describe, describe_bags, describe_input
from nndepth_ros.replay.settings import ReplaySettings
from nndepth_ros.replay.stereo import StereoProcessor

PROCESSORS: Mapping[str, type[Processor]] = {'stereo': StereoProcessor, 'mono': MonoProcessor}


def replay(
    source: Path,
    target: Path,
    estimator: StereoEstimator | MonoEstimator,
    settings: ReplaySettings | None = None,
    overwrite: bool = False,
    stopped: Callable[[], bool] = lambda: False,
    origin: Callable[[Path], str] | None = None,
) -> dict[str, Any]:
    """Process a bag; progress, the first failures and the doctor's findings go to stderr.

    Args:
        source: a rosbag2 folder, or the file of a bag; see BagReader.
        target: the folder for the new MCAP bag and the report; nothing is made if nothing can be
            processed.
        estimator: computes the disparity of pairs, or the depth of single images.
        settings: topics, outputs and limits; None takes the defaults.
        overwrite: whether the new bag replaces an old one at `target`. The bag of a replay that
            was stopped does not replace it; the report's `output` says where it is.
        stopped: asked before every message, and before all that is processed; when it returns
            True, the bag is closed.
        origin: tells what the bag is made from, see `BagWriter`.

    Returns:
        The report, ready for JSON; `problem` says why nothing was processed, None if something
        was.

    Raises:
        BagError: a bag cannot be read or written; no incomplete bag is left at `target`.
        ValueError: the settings do not fit the model.
    """
    settings = settings or ReplaySettings()
    check_target(target, source, overwrite)
    for folder in leftovers(target):
        say(f'{folder} is of a replay that was ended or still runs; delete it if nobody uses it')
    clock = StageClock()
    with BagReader(source) as bag:
        processor = PROCESSORS[estimator.task](bag, estimator, settings)
        processor.look_through(stopped)
        clock.lap('survey')
        for damage in bag.damage:
            say(f'warning: {damage}')

        def report(written: Mapping[str, int], output: Path) -> dict[str, Any]:
            clock.lap('processing')
            return {
                **describe_bags(source, output, written, stopped()),
                **describe(processor, clock.milliseconds),
                **describe_input(bag),
                'written': written,
            }

        if not processor.survey.moments or stopped():
            return report({}, target)
        with BagWriter(target, overwrite, origin) as writer:
            processor.run(writer, stopped)
            if stopped() and target.exists():
                writer.stay_beside()
            told = report(writer.counts, writer.path)
            writer.report(json.dumps(told, indent=2) + '\n')
    return told
