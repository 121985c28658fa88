"""The mono node: takes rectified images; publishes depth, or what a network gives of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nndepth_core.engines import AUTO, EngineError
from nndepth_core.estimator import MonoEstimator
from nndepth_ros import doctor
from nndepth_ros.depth_node import DepthNode
from nndepth_ros.mono_pipeline import MonoPipeline, offered
from nndepth_ros.outputs import STATS
from nndepth_ros.parameters import MONO_PARAMETERS, MonoConfig
from nndepth_ros.process import run_node
from nndepth_ros.synchronizer import SingleStream


class MonoNode(DepthNode):
    """Estimates the depth of single images.

    It has the topics of all kinds of networks, since the model may change while it runs. What the
    present model cannot give is not published, and the doctor tells this to subscribers.
    """

    config: MonoConfig
    estimator_class = MonoEstimator
    pipeline_class = MonoPipeline

    def __init__(self, **node_options: Any) -> None:
        super().__init__('mono_node', MONO_PARAMETERS, **node_options)

    def read_config(self, values: Mapping[str, Any]) -> MonoConfig:
        """Check all values together."""
        return MonoConfig.from_values(values)

    def check_model(self, config: MonoConfig) -> None:
        """Refuse a model that cannot exist; see `ModelNode`."""
        if config.model.model == AUTO:
            raise EngineError(
                'model is auto, but no network for single images comes with the package; run '
                '`nndepth weights fetch midas_small` or `nndepth weights import FILE --model '
                'midas_small`, and set the parameter model to midas_small (or to an .onnx file)'
            )
        super().check_model(config)

    def make_synchronizer(self) -> SingleStream:
        """Make a stream in which every image is complete without others."""
        return SingleStream()

    def counts(self) -> Mapping[str, int]:
        """The number of images that arrived, in the fields of the left camera."""
        received = self.synchronizer.counts.received_left
        return {'received_left': received, 'paired': received}

    def wanted(self) -> set[str]:
        """The topics that somebody subscribes to and that the model can fill."""
        return super().wanted() & {*offered(self.estimator.engine.spec), STATS}

    def needs_info(self) -> bool:
        """Whether the model needs the camera; an output that does is left out without it."""
        return self.estimator.engine.spec.needs_camera

    def examine(self) -> None:
        """Also find subscribers of what the model does not give."""
        super().examine()
        found = []
        if self.active:
            missing = self.outputs.subscribed() - self.wanted()
            found = doctor.examine_missing(missing, self.estimator.engine.spec)
        self.record('outputs', found)


def main(args: list[str] | None = None) -> int:
    """Entry point of the executable."""
    return run_node(MonoNode, args)


if __name__ == '__main__':
    raise SystemExit(main())
