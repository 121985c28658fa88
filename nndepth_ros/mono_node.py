"""The mono node: takes rectified images; publishes depth, or what a network gives of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from nndepth_core.engines import AUTO, EngineError
from nndepth_core.estimator import MonoEstimator
from nndepth_ros import doctor
from nndepth_ros.depth_node import DepthNode
from nndepth_ros.doctor import InputState
from nndepth_ros.live_scale import NONE, SCALE_INPUTS, SOURCES
from nndepth_ros.mono_pipeline import MonoPipeline, offered, scale_fields
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
    pipeline: MonoPipeline

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
        spec = self.estimator.engine.spec
        given = offered(spec, self.config.scale.applies_to(spec))
        return super().wanted() & {*given, STATS}

    def needs_info(self) -> bool:
        """Whether model or rectification need the camera; outputs that do are left out without."""
        needed = self.estimator.engine.spec.needs_camera or self.config.inputs.rectify
        return super().needs_info() and needed

    def examine(self) -> None:
        """Also find subscribers of what the model does not give, and a scale it does not need."""
        super().examine()
        found, scale = [], self.config.scale
        if self.active:
            spec = self.estimator.engine.spec
            missing = self.outputs.subscribed() - self.wanted()
            found = doctor.examine_missing(missing, spec)
            if scale.applies_to(spec):
                topics = {name: self.resolve_topic_name(name) for name in SOURCES[scale.source]}
                images = self.image_topics.values()
                found += [
                    doctor.scale_from_images(name, topic)
                    for name, topic in topics.items()
                    if topic in images
                ]
            else:
                self.record('scale', [])
                if scale.source != NONE:
                    found.append(doctor.scale_without_use(scale.source, spec))
                if spec.output != 'depth' and self.config.outputs.filters.any:
                    found.append(doctor.filters_without_use(spec))
        self.record('outputs', found)

    # --- the scale of networks without metres ----------------------------------------------------

    def begin(self) -> None:
        """Start with empty queues and counts, and without a scale."""
        super().begin()
        self.pipeline.scale.configure(self.config.scale)

    def on_config(self) -> None:
        """Apply the parameters that can change while the node runs."""
        super().on_config()
        self.pipeline.scale.configure(self.config.scale)

    def update_inputs(self) -> None:
        """Subscribe also to what tells the scale, while somebody wants a result that needs it."""
        super().update_inputs()
        if not self.active:
            return
        scale = self.config.scale
        needed = bool(self.wanted()) and scale.applies_to(self.estimator.engine.spec)
        for name, kind in SCALE_INPUTS.items():
            topic = self.resolve_topic_name(name)
            if topic in self.image_topics.values():
                continue
            listen = needed and name in SOURCES[scale.source]
            if listen and topic not in self.inputs:
                take = partial(self.pipeline.scale.offer, name)
                self.inputs.open(topic, getattr(self._types, kind), take)
            elif not listen and topic in self.inputs:
                self.inputs.close(topic)

    def needed(self, states: list[InputState]) -> list[InputState]:
        """Those of the inputs whose silence is a fault; one that tells the scale is enough."""
        choices = {self.resolve_topic_name(name) for name in SCALE_INPUTS}
        timeout, now = self.config.inputs.input_timeout, time.monotonic()
        told = any(state.topic in choices and state.speaks(timeout, now) for state in states)
        return [
            state
            for state in super().needed(states)
            if state.topic not in choices
            or (not told and (state.publishers or state.heard is not None))
        ]

    def measured(self, result: Any) -> dict[str, Any]:
        """The scale with which a result was brought to metres."""
        return scale_fields(self.config.scale, self.estimator.engine.spec, result)


def main(args: list[str] | None = None) -> int:
    """Entry point of the executable."""
    return run_node(MonoNode, args)


if __name__ == '__main__':
    raise SystemExit(main())
