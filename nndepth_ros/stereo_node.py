"""The stereo node: rectified pairs in; disparity, depth, confidence, points and statistics out."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from typing import Any, NamedTuple

from diagnostic_msgs.msg import DiagnosticStatus
from nndepth.msg import InferenceStats
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from stereo_msgs.msg import DisparityImage

from nndepth_core.engines import Engine, check_names
from nndepth_core.estimator import StageClock, StereoEstimator, StereoResult
from nndepth_core.plausibility import UsedBits
from nndepth_ros import diagnostics, doctor, outputs
from nndepth_ros.conversions import ros_message_types, stamp_ns
from nndepth_ros.depth_node import DepthNode
from nndepth_ros.outputs import StereoInput, depth_density, examine_result, stereo_messages
from nndepth_ros.parameters import STEREO_PARAMETERS, StereoConfig
from nndepth_ros.process import run_node
from nndepth_ros.synchronizer import (
    SIDES,
    CameraInfoCache,
    MessageFiltersSynchronizer,
    Stamped,
    StereoSynchronizer,
    SyncCounts,
)

STATS = 'stats'
OUTPUT_TYPES = {
    outputs.DISPARITY: DisparityImage,
    outputs.COLOR: Image,
    outputs.DEPTH: Image,
    outputs.DEPTH_INFO: CameraInfo,
    outputs.CONFIDENCE: Image,
    outputs.POINTS: PointCloud2,
    STATS: InferenceStats,
}
STAGES = ('decode', 'preprocess', 'inference', 'postprocess', 'geometry', 'publish')
EXAMINED_PAIRS = 3
EXAMINE_EVERY = 5.0  # seconds, after the first ones: what changes in the stream is noticed

Synchronizer = StereoSynchronizer | MessageFiltersSynchronizer


class Pair(NamedTuple):
    """Messages that belong together."""

    left: Any
    right: Any
    left_info: Any
    right_info: Any


class StereoNode(DepthNode):
    """Drop-in for stereo_image_proc's disparity and point cloud nodes."""

    config: StereoConfig
    estimator: StereoEstimator
    synchronizer: Synchronizer

    def __init__(self, **node_options: Any) -> None:
        super().__init__('stereo_node', STEREO_PARAMETERS, OUTPUT_TYPES, **node_options)
        self._types = ros_message_types()
        self.image_topics = {side: self._image_topic(side) for side in SIDES}
        self.info_topics = {side: self._info_topic(side) for side in SIDES}
        self._begin()

    def read_config(self, values: Mapping[str, Any]) -> StereoConfig:
        """Check all values together."""
        return StereoConfig.from_values(values)

    def check_model(self, config: StereoConfig) -> None:
        """Names are checked at once; loading takes longer."""
        model = config.model
        check_names(model.model, model.engine, model.device, model.precision)

    def make_estimator(self, config: StereoConfig) -> StereoEstimator:
        """Load the model by its parameters and test it."""
        model = config.model
        estimator = StereoEstimator.load(
            model.name,
            model.engine,
            model.device,
            options=model.options(),
            processing_size=model.processing_size,
            output=model.output_size,
            confidence_threshold=model.confidence_threshold,
        )
        estimator.self_test()
        return estimator

    def activate(self) -> None:
        """Begin with empty queues and counts."""
        self._begin()
        super().activate()

    def on_config(self) -> None:
        """Take over what the synchroniser is made of."""
        counts = self.synchronizer.counts
        self.synchronizer = self._make_synchronizer()
        self.synchronizer.counts = counts

    def _begin(self) -> None:
        self.synchronizer = self._make_synchronizer()
        self._infos = CameraInfoCache()
        self.without_info: tuple[Stamped, Stamped] | None = None
        self._calibration: Any = None
        self.to_examine = EXAMINED_PAIRS
        self._next_examination = 0.0
        self._used_bits = UsedBits()
        self._counts_when_paired = SyncCounts()
        self.last_stats: InferenceStats | None = None

    def _make_synchronizer(self) -> Synchronizer:
        if self.config.synchronizer == 'native':
            return StereoSynchronizer(self.config.sync_tolerance_ns)
        return MessageFiltersSynchronizer(self.config.sync_tolerance_ns)

    # --- inputs: the executor's thread -----------------------------------------------------------

    def _image_topic(self, side: str) -> str:
        topic = self.resolve_topic_name(f'{side}/image_rect')
        return f'{topic}/compressed' if self.config.image_transport == 'compressed' else topic

    def _info_topic(self, side: str) -> str:
        """camera_info stands beside a remapped image as in image_transport, unless remapped."""
        name = f'{side}/camera_info'
        remapped = self.resolve_topic_name(name)
        if remapped != self.resolve_topic_name(name, only_expand=True):
            return remapped
        image = self.resolve_topic_name(f'{side}/image_rect')
        return f'{image.rpartition("/")[0]}/camera_info'

    def update_inputs(self) -> None:
        """camera_info always; images while somebody subscribes or the doctor still looks."""
        image_type = CompressedImage if self.config.image_transport == 'compressed' else Image
        listen = bool(self.wanted()) or self.to_examine > 0
        for side in SIDES:
            info, image = self.info_topics[side], self.image_topics[side]
            if info not in self.inputs:
                self.inputs.open(info, CameraInfo, partial(self._on_info, side))
            if listen and image not in self.inputs:
                self.inputs.open(image, image_type, partial(self._on_image, side))
            elif not listen and image in self.inputs:
                self.inputs.close(image)

    def _on_image(self, side: str, message: Any) -> None:
        pair = self.synchronizer.add(side, stamp_ns(message.header.stamp), message)
        if pair is not None:
            self._deposit(pair)

    def _on_info(self, side: str, message: CameraInfo) -> None:
        self._infos.add(side, stamp_ns(message.header.stamp), message)
        if self.without_info is not None:
            self._deposit(self.without_info)

    def _deposit(self, pair: tuple[Stamped, Stamped]) -> None:
        infos = [self._infos.get(side, item.stamp) for side, item in zip(SIDES, pair, strict=True)]
        if None in infos:
            self.without_info = pair
            return
        self.without_info = None
        self.mailbox.put(Pair(*(item.message for item in pair), *infos))

    # --- one pair: the worker's thread -----------------------------------------------------------

    def process(self, deposited: float, item: Pair) -> None:
        """Estimate one pair and publish what is subscribed."""
        clock = StageClock()
        pair = StereoInput.from_messages(
            *item, max_pixels=self.config.max_pixels, used_bits=self._used_bits
        )
        clock.lap('decode')
        wanted = self.wanted()
        result = self._estimate(deposited, item, pair, wanted, clock) if wanted else None
        if self.to_examine > 0 or time.monotonic() >= self._next_examination:
            self._examine(item, pair, result)

    def _estimate(
        self, deposited: float, item: Pair, pair: StereoInput, wanted: set[str], clock: StageClock
    ) -> StereoResult:
        config, estimator = self.config, self.estimator
        result = estimator(pair.left, pair.right, confidence=outputs.CONFIDENCE in wanted)
        clock.lap('estimate')
        messages = stereo_messages(
            self._types,
            wanted,
            pair,
            result,
            estimator.engine.spec.bounds,
            estimator.engine.spec.resolution,
            config.outputs,
        )
        clock.lap('geometry')
        for name, message in messages.items():
            self.publish(name, message)
        clock.lap('publish')
        self.last_stats = self._stats(
            item, pair, result, estimator.engine, clock.milliseconds, deposited
        )
        if STATS in wanted:
            self.publish(STATS, self.last_stats)
        return result

    def _examine(self, item: Pair, pair: StereoInput, result: StereoResult | None) -> None:
        """Look at a pair whose outputs are published already: this takes its time."""
        self.to_examine = max(0, self.to_examine - 1)
        self._next_examination = time.monotonic() + EXAMINE_EVERY
        self.record('headers', doctor.examine_headers(*item))
        offset = pair.camera.cx_offset
        wrong = doctor.examine_images(pair.left, pair.right, offset)
        self.record('images', wrong)
        self.record('used bits', self._used_bits.findings())
        if result is not None:  # what wrong images lead to is no fault of the model
            limits, settings = self.estimator.engine.spec.bounds, self.config.outputs
            self.record(
                'estimate', [] if wrong else examine_result(pair, result, limits, settings)
            )

    def _stats(
        self,
        item: Pair,
        pair: StereoInput,
        result: StereoResult,
        engine: Engine,
        milliseconds: dict[str, float],
        deposited: float,
    ) -> InferenceStats:
        counts = self.synchronizer.counts
        stages = {**milliseconds, **result.milliseconds}
        return InferenceStats(
            header=item.left.header,
            right_stamp=item.right.header.stamp,
            model=engine.spec.name,
            engine=engine.name,
            device=engine.device,
            input_width=pair.left.shape[1],
            input_height=pair.left.shape[0],
            processing_width=result.processing_size[0],
            processing_height=result.processing_size[1],
            output_width=result.disparity.shape[1],
            output_height=result.disparity.shape[0],
            **{f'{stage}_ms': stages[stage] for stage in STAGES},
            total_ms=1000 * (time.monotonic() - deposited),
            age_ms=age_ms(self.get_clock().now().nanoseconds, stamp_ns(item.left.header.stamp)),
            density=depth_density(pair, result, self.config.outputs),
            received_left=counts.received_left,
            received_right=counts.received_right,
            paired=counts.paired,
            unpaired_left=counts.unpaired_left,
            unpaired_right=counts.unpaired_right,
            dropped=self.mailbox.dropped,
            late=self.mailbox.late,
            failed=self.failed,
        )

    # --- diagnostics -----------------------------------------------------------------------------

    def examine(self) -> None:
        """Look at calibration and stamps too."""
        super().examine()
        self._examine_calibration()
        counts, offset = self.synchronizer.counts, self.synchronizer.offset_ns()
        if counts.paired != self._counts_when_paired.paired:
            self._counts_when_paired = replace(counts)
        since = counts.since(self._counts_when_paired)
        self.record('stamps', doctor.examine_stamps(since, offset) if self.active else [])

    def _examine_calibration(self) -> None:
        newest = [self._infos.newest(side) for side in SIDES]
        if None in newest:
            return
        baseline = self.config.baseline
        key = doctor.calibration_key(*newest), baseline
        if key != self._calibration:
            self._calibration, self.to_examine = key, EXAMINED_PAIRS
            self.record('calibration', doctor.examine_calibration(*newest, baseline=baseline))

    def statuses(self) -> list[DiagnosticStatus]:
        """State of the inputs and of the inference."""
        name, counts = self.get_fully_qualified_name(), self.synchronizer.counts
        if not self.active:
            return [diagnostics.status(f'{name}: inference', name, 'not active', {})]
        values = {**asdict(counts), 'failed': self.failed}
        values |= {'dropped': self.mailbox.dropped, 'late': self.mailbox.late}
        stats = self.last_stats
        if stats is not None:
            values |= {
                'model': stats.model,
                'engine': stats.engine,
                'device': stats.device,
                'inference_ms': round(stats.inference_ms, 1),
                'total_ms': round(stats.total_ms, 1),
                'age_ms': round(stats.age_ms, 1),
            }
        message = 'running' if self.wanted() else 'idle: nobody subscribes'
        return [diagnostics.status(f'{name}: inference', name, message, values)]


def age_ms(now_ns: int, stamp_ns: int) -> float:
    """Milliseconds since a stamp; NaN where the clock has not started or the stamp is not set."""
    return (now_ns - stamp_ns) / 1e6 if now_ns and stamp_ns else math.nan


def main(args: list[str] | None = None) -> int:
    """Entry point of the executable."""
    return run_node(StereoNode, args)


if __name__ == '__main__':
    raise SystemExit(main())
