"""What all depth nodes have in common: inputs, outputs, the worker between them, and reports."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus
from nndepth.msg import InferenceStats
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from nndepth_core.calibration import AnyCalibration
from nndepth_core.engines import Engine
from nndepth_core.estimator import StageClock
from nndepth_core.pacing import Mailbox
from nndepth_ros import diagnostics, doctor
from nndepth_ros.cameras import Cameras
from nndepth_ros.conversions import stamp_ns
from nndepth_ros.doctor import InputState
from nndepth_ros.frames import Frames
from nndepth_ros.log import describe
from nndepth_ros.model_node import ModelNode
from nndepth_ros.outputs import STATS
from nndepth_ros.parameters.table import Parameter
from nndepth_ros.pipeline import STAGES, Estimate, Moment, Pipeline
from nndepth_ros.publishers import Outputs
from nndepth_ros.serialized import serialized_message_types
from nndepth_ros.steady_rate import SteadyRate
from nndepth_ros.subscriptions import Inputs
from nndepth_ros.synchronizer import CameraInfoCache, Stamped

LIVE_STAGES = (*STAGES, 'publish')
RATE_FIELDS = ('target_rate', 'achieved_rate')
SCALE_FIELDS = ('scale', 'scale_shift', 'scale_residual', 'scale_inliers', 'scale_points')
"""Those fields of InferenceStats that diagnostics show where something tells the scale."""


class DepthNode(ModelNode):
    """The common part of stereo and mono nodes.

    The executor's thread only puts inputs into the mailbox. One worker thread takes the newest,
    estimates and publishes. A subclass defines the parameters, the pipeline and the synchroniser.
    """

    pipeline_class: type[Pipeline]

    def __init__(self, name: str, table: tuple[Parameter, ...], **node_options: Any) -> None:
        super().__init__(name, table, **node_options)
        self._types = serialized_message_types()
        self.sides = self.pipeline_class.sides
        self._kind = 'pair' if len(self.sides) > 1 else 'image'
        self.inputs = Inputs(self)
        self.outputs = Outputs(self, self.update_inputs)
        self.image_topics = {side: self._image_topic(side) for side in self.sides}
        self.info_topics = {side: self._info_topic(side) for side in self.sides}
        self.calibration: AnyCalibration | None = None
        self._worker: threading.Thread | None = None
        self._busy_since: float | None = None
        self._frames: Frames | None = None
        self.steady = SteadyRate(self.config.target_rate)
        self.begin()

    # --- what a subclass defines or changes ------------------------------------------------------

    def make_synchronizer(self) -> Any:
        """Make what joins single images to moments; see `StereoSynchronizer`."""
        raise NotImplementedError

    def needs_info(self) -> bool:
        """Whether an image cannot be used without its camera_info."""
        return not self.config.inputs.calibration

    def needed(self, states: list[InputState]) -> list[InputState]:
        """Those of the inputs whose silence is a fault."""
        if self.needs_info():
            return states
        return [state for state in states if state.topic not in self.info_topics.values()]

    def measured(self, result: Any) -> dict[str, Any]:
        """Fields of InferenceStats for what only one kind of node knows of a result."""
        return {}

    def limits(self) -> dict[str, Any]:
        """What the examination of the calibration needs to know in addition to it."""
        return {}

    def counts(self) -> Mapping[str, int]:
        """How many inputs had which fate since activation, by the names of InferenceStats."""
        return asdict(self.synchronizer.counts)

    def begin(self) -> None:
        """Start with empty queues and counts."""
        self.synchronizer = self.make_synchronizer()
        self.pipeline = self.pipeline_class(self._types, self.record)
        rectify = self.config.inputs.rectify
        self.pipeline.cameras = Cameras(self._types, self.sides, self.calibration, rectify)
        self.listen_to_frames()
        self._infos = CameraInfoCache(self.sides)
        self.without_info: tuple[Stamped, ...] | None = None
        self.last_stats: InferenceStats | None = None
        self.mailbox: Mailbox[Moment] = Mailbox(self.config.inputs.max_age)
        self.steady.begin()
        self.failed = 0

    # --- lifecycle -------------------------------------------------------------------------------

    def configure(self) -> None:
        """Read the calibration, load and test the model, and create the publishers."""
        self.calibration = self.config.inputs.read_calibration(single=len(self.sides) == 1)
        self.load_model()
        self.outputs.open(self.pipeline_class.outputs)

    def make_estimator(self, config: Any) -> Any:
        """Load and test the model of a config, and measure its steps if a rate is to be kept."""
        estimator = super().make_estimator(config)
        self.steady.prepare(estimator)
        return estimator

    def activate(self) -> None:
        """Start the worker and subscribe."""
        self.begin()
        self._worker = threading.Thread(
            target=self._work, args=(self.mailbox,), name='estimator', daemon=True
        )
        self._worker.start()
        self.update_inputs()
        self.get_logger().info(f'active: {self.describe()}')

    def deactivate(self) -> None:
        """Unsubscribe; work that takes too long is left behind and its result is not used."""
        if not self.stop(doctor.LONG_WORK):
            self.get_logger().warning(
                f'the {self._kind} in work is finished in the background; its result is not used'
            )

    def cleanup(self) -> None:
        """Release the model and the publishers."""
        self.outputs.close()
        self.estimator = None
        self.steady.begin()

    @property
    def active(self) -> bool:
        """Whether the node is between activation and deactivation."""
        return self._worker is not None

    def stop(self, timeout: float | None = None) -> bool:
        """Unsubscribe and end the worker; has no effect if the node is inactive.

        Args:
            timeout: seconds to wait for the present work; None waits until it is done.

        Returns:
            Whether the worker has ended.
        """
        self.steady.stop()
        self.mailbox.close()
        worker = self._worker
        if worker is not None:
            worker.join(timeout)
        self._worker = self._busy_since = None
        self.inputs.close_all()
        return worker is None or not worker.is_alive()

    def on_config(self) -> None:
        """Apply the parameters that can change while the node runs."""
        self.mailbox.max_age = self.config.inputs.max_age
        self.steady.target = self.config.target_rate
        self.listen_to_frames()

    def listen_to_frames(self) -> None:
        """Listen to transforms once the cloud needs them."""
        if self.config.outputs.cloud_frame and self._frames is None:
            self._frames = Frames(self)
        self.pipeline.plane = None if self._frames is None else self._frames.plane

    # --- inputs: the executor's thread -----------------------------------------------------------

    def _image_topic(self, side: str) -> str:
        topic = self.resolve_topic_name(_named(side, self.config.inputs.image_name))
        return f'{topic}/compressed' if self.config.inputs.compressed else topic

    def _info_topic(self, side: str) -> str:
        """The camera_info next to the image topic, as in image_transport, unless remapped."""
        name = _named(side, 'camera_info')
        remapped = self.resolve_topic_name(name)
        if remapped != self.resolve_topic_name(name, only_expand=True):
            return remapped
        image = self.resolve_topic_name(_named(side, self.config.inputs.image_name))
        return f'{image.rpartition("/")[0]}/camera_info'

    def update_inputs(self) -> None:
        """Subscribe to camera_info unless a file replaces it, and to images while they are wanted.

        The first images are needed in any case, for the examination.
        """
        if not self.active:
            return
        image_type = CompressedImage if self.config.inputs.compressed else Image
        listen = bool(self.wanted()) or self.pipeline.to_examine > 0
        for side in self.sides:
            info, image = self.info_topics[side], self.image_topics[side]
            if info not in self.inputs and self.calibration is None:
                self.inputs.open(info, CameraInfo, partial(self._on_info, side))
            if listen and image not in self.inputs:
                self.inputs.open(image, image_type, partial(self._on_image, side))
            elif not listen and image in self.inputs:
                self.inputs.close(image)

    def _on_image(self, side: str, message: Any) -> None:
        if side == self.sides[0]:
            self.steady.arrived(message, self.get_parameter('use_sim_time').value)
        matched = self.synchronizer.add(side, stamp_ns(message.header.stamp), message)
        if matched is not None:
            self._deposit(matched)

    def _on_info(self, side: str, message: CameraInfo) -> None:
        self._infos.add(side, stamp_ns(message.header.stamp), message)
        if self.without_info is not None:
            self._deposit(self.without_info)

    def _deposit(self, matched: tuple[Stamped, ...]) -> None:
        pairs = zip(self.sides, matched, strict=True)
        infos = tuple(self._infos.get(side, item.stamp) for side, item in pairs)
        if None in infos and self.needs_info():
            self.without_info = matched
            return
        self.without_info = None
        self.mailbox.put(Moment(tuple(item.message for item in matched), infos))

    # --- outputs ---------------------------------------------------------------------------------

    def wanted(self) -> set[str]:
        """The topics of outputs that somebody subscribes to."""
        return self.outputs.subscribed()

    def publish(self, topic: str, message: Any) -> None:
        """Publish one output, unless its work was left behind."""
        if self._in_use():
            self.outputs.publish(topic, message)

    # --- one moment: the worker's thread ---------------------------------------------------------

    def _work(self, mailbox: Mailbox[Moment]) -> None:
        while (delivery := mailbox.get()) is not None:
            self._busy_since = time.monotonic()
            try:
                self.process(*delivery)
                self.passed(self._kind)
            except Exception as error:
                # One broken message must not end the stream. While the node ends, publishers and
                # context may be gone, which is no failure of the message.
                if self._in_use() and self.context.ok():
                    self.failed += 1
                    self._trace()
                    self.fail(self._kind, describe(error))
            finally:
                if self._in_use():
                    self._busy_since = None

    def _in_use(self) -> bool:
        """Whether this thread is the present worker, and not one that was left behind."""
        return self._worker is threading.current_thread()

    def process(self, deposited: float, moment: Moment) -> None:
        """Estimate and publish what is subscribed to; then examine it, which takes longer.

        Args:
            deposited: time.monotonic() when the moment was put into the mailbox.
            moment: the messages in the mailbox.

        Raises:
            ValueError, RuntimeError: this moment fails; the stream continues.
        """
        clock, pipeline = StageClock(), self.pipeline
        settings = self.config.outputs
        if self.calibration is not None:
            moment = moment._replace(infos=pipeline.cameras.infos(moment.images))
            pipeline.examine_calibration(*moment.infos, **self.limits())
        frame = pipeline.decode(moment, self.config.inputs.max_pixels)
        estimator = self.steady.estimator(self.estimator, frame.size)
        clock.lap('decode')
        estimate = None
        try:
            if wanted := self.wanted():
                estimate = pipeline.estimate(estimator, frame, wanted, settings, clock)
                for topic, message in estimate.messages.items():
                    self.publish(topic, message)
                clock.lap('publish')
                times = {**clock.milliseconds, **estimate.milliseconds}
                self.last_stats = self._stats(
                    estimator.engine, deposited, moment, frame, estimate, times
                )
                self.steady.answered(self.last_stats)
                if advice := self.steady.advice(estimator.engine, self.last_stats):
                    self.get_logger().info(advice)
                if STATS in wanted:
                    self.publish(STATS, self.last_stats)
        finally:
            now, spec = time.monotonic_ns(), estimator.engine.spec
            pipeline.examine(now, moment, frame, estimate, spec, settings)

    def _stats(
        self,
        engine: Engine,
        deposited: float,
        moment: Moment,
        frame: Any,
        estimate: Estimate,
        milliseconds: Mapping[str, float],
    ) -> InferenceStats:
        image = moment.images[0]
        now, stamp = self.get_clock().now().nanoseconds, stamp_ns(image.header.stamp)
        stats = InferenceStats(
            header=image.header,
            model=engine.spec.title,
            engine=engine.name,
            device=engine.device,
            iterations=engine.iterations,
            **{f'{stage}_ms': milliseconds[stage] for stage in LIVE_STAGES},
            total_ms=1000 * (time.monotonic() - deposited),
            age_ms=age_ms(now, stamp),
            density=estimate.density,
            dropped=self.mailbox.dropped,
            late=self.mailbox.late,
            failed=self.failed,
            **self.counts(),
            **self.measured(estimate.result),
        )
        if len(moment.images) > 1:
            stats.right_stamp = moment.images[1].header.stamp
        stats.input_width, stats.input_height = frame.size
        stats.processing_width, stats.processing_height = estimate.result.processing_size
        stats.output_width, stats.output_height = estimate.size
        return stats

    # --- diagnostics -----------------------------------------------------------------------------

    def examine(self) -> None:
        """Examine inputs and calibration, other publishers, and work that takes long."""
        self.update_inputs()
        now, begun = time.monotonic(), self._busy_since
        timeout = self.config.inputs.input_timeout
        states = self.needed(self.inputs.states()) if self.active else []
        self.record('silence', doctor.examine_silence(states, timeout, now))
        busy = None if begun is None else now - begun
        self.record('work', doctor.examine_work(busy, self._kind))
        wished = self.active and self.wanted()
        self.record('rate', self.steady.findings() if wished else [])
        publishers = {
            topic: [
                f'{end.node_namespace.rstrip("/")}/{end.node_name}'
                for end in self.get_publishers_info_by_topic(topic)
                if not end.node_name.startswith('_NODE_NAME_UNKNOWN')  # not discovered yet
            ]
            for topic in self.outputs.topics()
        }
        self.record('twins', doctor.examine_twins(self.get_fully_qualified_name(), publishers))
        newest = [self._infos.newest(side) for side in self.sides]
        if None not in newest:
            self.pipeline.examine_calibration(*newest, **self.limits())

    def statuses(self) -> list[DiagnosticStatus]:
        """Report the state of the inputs and of the inference."""
        name = self.get_fully_qualified_name()
        if not self.active:
            return [diagnostics.status(f'{name}: inference', name, 'not active', {})]
        values: dict[str, Any] = {**self.counts(), 'failed': self.failed}
        values |= {'dropped': self.mailbox.dropped, 'late': self.mailbox.late}
        stats = self.last_stats
        if stats is not None:
            values |= {field: getattr(stats, field) for field in ('model', 'engine', 'device')}
            for field in ('inference_ms', 'total_ms', 'age_ms'):
                values[field] = round(getattr(stats, field), 1)
            values['processing_size'] = f'{stats.processing_width}x{stats.processing_height}'
            if stats.iterations:
                values['iterations'] = stats.iterations
            values |= {field: f'{getattr(stats, field):.3g}' for field in RATE_FIELDS}
            if stats.rate_reason:
                values['rate_reason'] = stats.rate_reason
            if stats.row_offset:
                values['row_offset'] = f'{stats.row_offset:.2f}'
            if stats.scale_source:
                values['scale_source'] = stats.scale_source
                values |= {field: f'{getattr(stats, field):.5g}' for field in SCALE_FIELDS}
        message = 'running' if self.wanted() else 'idle: nobody subscribes'
        return [diagnostics.status(f'{name}: inference', name, message, values)]


def age_ms(now_ns: int, stamp_ns: int) -> float:
    """Milliseconds since a stamp; NaN if the clock has not started or the stamp is not set."""
    return (now_ns - stamp_ns) / 1e6 if now_ns and stamp_ns else math.nan


def _named(side: str, topic: str) -> str:
    return f'{side}/{topic}' if side else topic
