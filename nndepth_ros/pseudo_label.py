"""Writes the depth of a bag's stereo pairs as truth from which networks of single images learn."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from nndepth_core.cli.saying import say
from nndepth_core.data.datasets.folder import CAMERA_FILE
from nndepth_core.estimator import StageClock, StereoEstimator
from nndepth_core.files.writing import write_at_once
from nndepth_core.io import write_depth, write_image
from nndepth_ros.bag import BagReader
from nndepth_ros.outputs import DEPTH, DEPTH_INFO
from nndepth_ros.pipeline import Estimate
from nndepth_ros.replay import ReplaySettings
from nndepth_ros.replay.processor import RecordedMoment
from nndepth_ros.replay.report import describe, describe_input
from nndepth_ros.replay.stereo import StereoProcessor

FOLDERS = ('image', 'depth')


def pseudo_label(
    source: Path,
    target: Path,
    estimator: StereoEstimator,
    settings: ReplaySettings,
    every: int = 1,
    stopped: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Estimate the depth of pairs and write it beside their left images.

    Args:
        source: a bag; see `replay`.
        target: the folder to make. Its folders `image` and `depth` hold pictures of one name, the
            stamp of the left image in nanoseconds; depth in 16-bit millimetres, 0 where it is
            unknown, infinite or beyond 65.535 m. A picture is there once its depth is. The camera
            is in camera.yaml, as ROS calibration files have it, if all images have the same one.
        estimator: computes the disparity; what its threshold of the confidence removes is unknown.
        settings: topics and limits; of the outputs only the depth is made.
        every: 1 takes all pairs, 10 every tenth: neighbouring frames teach little.
        stopped: asked before every message and pair.

    Returns:
        The report, which is in report.json too; `problem` says why no pair was processed.

    Raises:
        ValueError: `every` is less than 1, or there is something at `target`.
        BagError: the bag cannot be read.
        OSError: a file cannot be written.
    """
    if every < 1:
        raise ValueError(f'every is {every}; give at least 1')
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ValueError(f'{target} exists already; choose another folder')
    clock = StageClock()
    with BagReader(source) as bag:
        processor = StereoProcessor(bag, estimator, replace(settings, outputs=(DEPTH, DEPTH_INFO)))
        processor.look_through(stopped)
        clock.lap('survey')
        cameras: set[str] = set()

        def write(pair: RecordedMoment, estimate: Estimate) -> None:
            for folder in FOLDERS:
                (target / folder).mkdir(parents=True, exist_ok=True)
            message = estimate.messages[DEPTH]
            depth = np.frombuffer(message.data, np.float32).reshape(message.height, message.width)
            name = f'{pair.stamp}.png'
            write_depth(target / 'depth' / name, depth)
            write_image(target / 'image' / name, estimate.frame.left)
            cameras.add(_camera_file(estimate.messages[DEPTH_INFO]))

        chosen = dict.fromkeys(processor.survey.moments[::every])
        records = processor.records(processor.topics.images)
        pairs = (pair for pair in processor.moments(records) if pair.frames in chosen)
        processor.process_all(pairs, [*chosen], stopped, write)
        clock.lap('processing')
        report = {
            'input': str(source),
            'output': str(target) if processor.outcome.densities else None,
            'every': every,
            'cameras': len(cameras),
            'interrupted': stopped(),
            **describe(processor, clock.milliseconds),
            **describe_input(bag),
        }
    if len(cameras) == 1:
        write_at_once(target / CAMERA_FILE, cameras.pop())
    elif cameras:
        say(
            f'the calibration changes in the bag ({len(cameras)} different ones), so '
            f'{CAMERA_FILE} is not written; choose one part of the bag by --start and --duration '
            'for networks that need the focal length'
        )
    if processor.outcome.densities:
        write_at_once(target / 'report.json', json.dumps(report, indent=2) + '\n')
    return report


def _camera_file(info: Any) -> str:
    """Write a rectified camera_info as ROS calibration files have it."""
    content = {
        'image_width': info.width,
        'image_height': info.height,
        'projection_matrix': {'rows': 3, 'cols': 4, 'data': [float(value) for value in info.p]},
    }
    return yaml.safe_dump(content, sort_keys=False)
