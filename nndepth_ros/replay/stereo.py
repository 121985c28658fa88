"""The replay of stereo pairs."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from nndepth_core.estimator import StereoResult
from nndepth_ros import doctor
from nndepth_ros.bag_survey import QUEUE_SIZE, Survey
from nndepth_ros.bag_topics import StereoTopics
from nndepth_ros.outputs import SIGMA, STATS, USUAL_OUTPUTS
from nndepth_ros.replay.processor import Processor
from nndepth_ros.stereo_pipeline import StereoPipeline, row_fields, sigma_source
from nndepth_ros.synchronizer import StereoSynchronizer


class StereoProcessor(Processor):
    """Processes every pair; see `Processor`."""

    noun = 'pair'
    default_topics = StereoTopics()
    pipeline_class = StereoPipeline
    pipeline: StereoPipeline

    def choose_outputs(self) -> Collection[str]:
        """Choose the outputs to write: those that the model allows, sigma among them or not."""
        if self.settings.outputs:
            return self.settings.outputs
        known = sigma_source(self.estimator.engine.spec, self.settings.messages)
        return (*USUAL_OUTPUTS, STATS, SIGMA) if known else (*USUAL_OUTPUTS, STATS)

    def synchronizer(self) -> StereoSynchronizer:
        """Make what pairs left and right images by their stamps."""
        return StereoSynchronizer(round(self.settings.sync_tolerance * 1e9), QUEUE_SIZE)

    def measured(self, result: StereoResult) -> dict[str, Any]:
        """How far rows of the right image were off."""
        return row_fields(result)

    def described(self) -> dict[str, Any]:
        """How far rows of the right images are off by all pairs."""
        return {'row_offset': self.pipeline.rows.applied._asdict()}

    def limits(self) -> dict[str, Any]:
        """The baselines that are plausible."""
        return {'baseline': self.settings.baseline}

    def take(self, survey: Survey) -> None:
        """Process the pairs of a survey, and report why others are none."""
        super().take(survey)
        self.find(doctor.examine_stamps(survey.counts, survey.offset_ns))
