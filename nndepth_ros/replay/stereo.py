"""The replay of stereo pairs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nndepth_ros import doctor
from nndepth_ros.bag_survey import QUEUE_SIZE
from nndepth_ros.bag_topics import StereoTopics
from nndepth_ros.replay.processor import Processor
from nndepth_ros.stereo_pipeline import StereoPipeline
from nndepth_ros.synchronizer import StereoSynchronizer


class StereoProcessor(Processor):
    """Processes every pair; see `Processor`."""

    noun = 'pair'
    default_topics = StereoTopics()
    pipeline_class = StereoPipeline

    def synchronizer(self) -> StereoSynchronizer:
        """Make what pairs left and right images by their stamps."""
        return StereoSynchronizer(round(self.settings.sync_tolerance * 1e9), QUEUE_SIZE)

    def limits(self) -> dict[str, Any]:
        """The baselines that are plausible."""
        return {'baseline': self.settings.baseline}

    def look_through(self, stopped: Callable[[], bool]) -> None:
        """Find the pairs, and why others are none."""
        super().look_through(stopped)
        self.find(doctor.examine_stamps(self.survey.counts, self.survey.offset_ns))
