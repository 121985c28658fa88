"""The stereo node: takes rectified pairs; publishes disparity, depth, points and statistics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from nndepth_core.estimator import StereoEstimator, StereoResult
from nndepth_ros import doctor
from nndepth_ros.depth_node import DepthNode
from nndepth_ros.parameters import STEREO_PARAMETERS, StereoConfig
from nndepth_ros.process import run_node
from nndepth_ros.stereo_pipeline import StereoPipeline, row_fields
from nndepth_ros.synchronizer import MessageFiltersSynchronizer, StereoSynchronizer, SyncCounts


class StereoNode(DepthNode):
    """Replaces the disparity and point cloud nodes of stereo_image_proc."""

    config: StereoConfig
    synchronizer: StereoSynchronizer | MessageFiltersSynchronizer
    estimator_class = StereoEstimator
    pipeline_class = StereoPipeline

    def __init__(self, **node_options: Any) -> None:
        super().__init__('stereo_node', STEREO_PARAMETERS, **node_options)

    def read_config(self, values: Mapping[str, Any]) -> StereoConfig:
        """Check all values together."""
        return StereoConfig.from_values(values)

    def begin(self) -> None:
        """Start with empty queues and counts."""
        super().begin()
        self._counts_when_paired = SyncCounts()

    def make_synchronizer(self) -> StereoSynchronizer | MessageFiltersSynchronizer:
        """Make the synchroniser that the parameters ask for."""
        native = self.config.synchronizer == 'native'
        make = StereoSynchronizer if native else MessageFiltersSynchronizer
        return make(self.config.sync_tolerance_ns)

    def on_config(self) -> None:
        """Make a new synchroniser, which keeps the counts of the old one."""
        super().on_config()
        counts = self.synchronizer.counts
        self.synchronizer = self.make_synchronizer()
        self.synchronizer.counts = counts

    def measured(self, result: StereoResult) -> dict[str, Any]:
        """How far rows of the right image were off."""
        return row_fields(result)

    def limits(self) -> dict[str, Any]:
        """The baselines that are plausible."""
        return {'baseline': self.config.baseline}

    def examine(self) -> None:
        """Also examine the stamps."""
        super().examine()
        counts, offset = self.synchronizer.counts, self.synchronizer.offset_ns()
        if counts.paired != self._counts_when_paired.paired:
            self._counts_when_paired = replace(counts)
        since = counts.since(self._counts_when_paired)
        self.record('stamps', doctor.examine_stamps(since, offset) if self.active else [])


def main(args: list[str] | None = None) -> int:
    """Entry point of the executable."""
    return run_node(StereoNode, args)


if __name__ == '__main__':
    raise SystemExit(main())
