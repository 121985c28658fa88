"""The comparing node: joins what two models answer to one input, and tells how far they agree."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import cv2
import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus
from nndepth.msg import Agreement, InferenceStats, ModelComparison
from rclpy.event_handler import PublisherEventCallbacks
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CompressedImage, Image

from nndepth_core.evaluation.agreement import Comparison, difference_of, picture
from nndepth_core.plausibility import Finding, Level, UsedBits
from nndepth_ros import diagnostics, doctor
from nndepth_ros.answers import MOST_WAITING, AnswerCounts, Answers
from nndepth_ros.conversions import image_message, ros_message_types, stamp_ns, to_rgb
from nndepth_ros.encodings import ConversionError
from nndepth_ros.guarded_node import GuardedNode
from nndepth_ros.known_depths import COMPARED
from nndepth_ros.outputs import STATS
from nndepth_ros.parameters import COMPARE_PARAMETERS, CompareConfig
from nndepth_ros.parameters.declaration import declare
from nndepth_ros.process import run_node
from nndepth_ros.publishers import OUTPUT_QOS
from nndepth_ros.subscriptions import Inputs

COMPARISON = 'comparison'
PICTURE = 'comparison/image'
DIFFERENCE = 'difference'
COMPARE_OUTPUTS = {COMPARISON: ModelComparison, PICTURE: Image, DIFFERENCE: Image}
"""The topics of the outputs and their types."""
MODELS = ('a', 'b')
IMAGE_WAIT = 1.0
"""Seconds for which a picture waits for its image, which on a busy machine may come late."""
_ANSWER_QOS = QoSProfile(depth=10)


@dataclass(frozen=True)
class _Late:
    """A frame that is to be drawn, and since when its image is missing."""

    since: float
    header: Any
    a: np.ndarray
    b: np.ndarray


class CompareNode(GuardedNode):
    """Compares the outputs of two nodes, in the namespaces `a` and `b`."""

    def __init__(self, **node_options: Any) -> None:
        super().__init__('compare_node', **node_options)
        declare(self, COMPARE_PARAMETERS)
        self.config = self._read_config()
        self.add_post_set_parameters_callback(self._apply_parameters)
        self._types = ros_message_types()
        self.output, topic, self._values = COMPARED[self.config.task]
        self.answer_topics = {model: self.resolve_topic_name(f'{model}/{topic}') for model in 'ab'}
        self.image_topic = self._image_topic()
        self.inputs = Inputs(self)
        self.active = False
        self._subscriptions: list[Any] = []
        self.outputs: dict[str, Any] = {}
        self.begin()

    def begin(self) -> None:
        """Start with empty queues, counts and statistics."""
        self.answers = Answers(self.config.max_wait)
        self.comparison = Comparison(self.output, self.config.window)
        self._heard: dict[str, float] = {}
        self._since = self._joined_at = time.monotonic()
        self._counts = AnswerCounts()
        self._images: dict[int, Any] = {}
        self._late: _Late | None = None
        self._used_bits = UsedBits()
        self._drawn = -np.inf

    # --- lifecycle and parameters ----------------------------------------------------------------

    def configure(self) -> None:
        """Create the publishers."""
        matched = self.guarded('matched', lambda _: self._update_inputs())
        for topic, message_type in COMPARE_OUTPUTS.items():
            self.outputs[topic] = self.create_lifecycle_publisher(
                message_type,
                topic,
                OUTPUT_QOS,
                event_callbacks=PublisherEventCallbacks(matched=matched),
            )

    def activate(self) -> None:
        """Subscribe to both models, which makes them work."""
        self.begin()
        answer = {'disparity': self._types.disparity_image, 'depth': Image}[self.output]
        for model in MODELS:
            stats = self.resolve_topic_name(f'{model}/{STATS}')
            for kind, topic, take in (
                (answer, self.answer_topics[model], self._on_answer),
                (InferenceStats, stats, self._on_stats),
            ):
                subscription = self.create_subscription(
                    kind, topic, partial(take, model), _ANSWER_QOS
                )
                self._subscriptions.append(subscription)
        self.active = True
        self._update_inputs()
        self.get_logger().info(f'active: {" against ".join(self.answer_topics.values())}')

    def deactivate(self) -> None:
        """Unsubscribe."""
        self.stop()

    def cleanup(self) -> None:
        """Destroy the publishers."""
        for publisher in self.outputs.values():
            self.destroy_lifecycle_publisher(publisher)
        self.outputs.clear()

    def stop(self, timeout: float | None = None) -> bool:
        """Unsubscribe; nothing is left in work."""
        self.active = False
        for subscription in self._subscriptions:
            self.destroy_subscription(subscription)
        self._subscriptions.clear()
        self.inputs.close_all()
        return True

    def _read_config(self) -> CompareConfig:
        values = {row.name: self.get_parameter(row.name).value for row in COMPARE_PARAMETERS}
        return CompareConfig.from_values(values)

    def _apply_parameters(self, _: Any) -> None:
        self.config = self._read_config()
        self.answers.max_wait = self.config.max_wait
        self.comparison.limit(self.config.window)

    # --- inputs ----------------------------------------------------------------------------------

    def _image_topic(self) -> str:
        name = 'image_raw' if self.config.rectify else 'image_rect'
        side = 'left/' if self.config.task == 'stereo' else ''
        topic = self.resolve_topic_name(f'{side}{name}')
        return f'{topic}/compressed' if self.config.compressed else topic

    def _update_inputs(self) -> None:
        """Subscribe to the images while somebody looks at the picture."""
        wanted, topic = self.active and self._wants(PICTURE), self.image_topic
        if wanted and topic not in self.inputs:
            kind = CompressedImage if self.config.compressed else Image
            self.inputs.open(topic, kind, self._on_image)
        elif not wanted and topic in self.inputs:
            self.inputs.close(topic)
            self._images.clear()

    def _on_image(self, message: Any) -> None:
        """Keep an image, or draw the picture that waits for it."""
        late = self._late
        if late is not None and message.header.stamp == late.header.stamp:
            self._late = None
            self._draw(message, late.header, late.a, late.b)
            return
        self._images[stamp_ns(message.header.stamp)] = message
        if len(self._images) > MOST_WAITING:
            del self._images[next(iter(self._images))]

    def _on_stats(self, model: str, message: InferenceStats) -> None:
        label = f'{message.model} by {message.engine} on {message.device}'
        names = self.comparison.names
        before = names.setdefault(model, label)
        if before != label:
            names = {**names, model: label}
            self.comparison = Comparison(self.output, self.config.window, names)
            text = f'{model.upper()} was {before} and is {label} now: the statistics start anew'
            self.get_logger().info(text)
        self.comparison.add_times(model, message.inference_ms, message.total_ms)

    def _on_answer(self, model: str, message: Any) -> None:
        self._heard[model] = time.monotonic()
        joined = self.answers.add(model, stamp_ns(message.header.stamp), message)
        if joined is not None:
            self._compare(joined)

    # --- one frame -------------------------------------------------------------------------------

    def _compare(self, messages: Sequence[Any]) -> None:
        """Compare two answers and publish; ConversionError if one of them cannot be read."""
        header = messages[0].header
        stamp = stamp_ns(header.stamp)
        image = self._images.get(stamp)
        for earlier in [known for known in self._images if known <= stamp]:
            del self._images[earlier]
        self.record('calibration', calibrations_differ(*messages))
        maps = (self._map(*of_model) for of_model in zip(MODELS, messages, strict=True))
        a, b = self.comparison.add(*maps)
        self.outputs[COMPARISON].publish(self._message(header, a))
        if self._wants(DIFFERENCE):
            difference = image_message(self._types, header, difference_of(a, b), '32FC1')
            self.outputs[DIFFERENCE].publish(difference)
        now = time.monotonic()
        if not self._wants(PICTURE) or now - self._drawn < 1 / self.config.picture_rate:
            return
        if image is not None:
            self._late = None
            self._draw(image, header, a, b)
        elif self._late is None:
            self._late = _Late(now, header, a, b)
        elif now - self._late.since > IMAGE_WAIT:
            late, self._late = self._late, None
            self._draw(None, late.header, late.a, late.b)

    def _map(self, model: str, message: Any) -> np.ndarray:
        try:
            return self._values(message)
        except ConversionError as error:
            raise ConversionError(f'{self.answer_topics[model]}: {error}') from error

    def _wants(self, topic: str) -> bool:
        return topic in self.outputs and self.outputs[topic].get_subscription_count() > 0

    def _message(self, header: Any, compared: np.ndarray) -> ModelComparison:
        height, width = compared.shape
        parts = {part: self.comparison.figures(part) for part in ('window', 'total')}
        return ModelComparison(
            header=header,
            **{f'model_{model}': self.comparison.names.get(model, '') for model in MODELS},
            unit=self.comparison.unit,
            width=width,
            height=height,
            **{part: Agreement(**figures) for part, figures in parts.items()},
            **asdict(self.answers.counts),
        )

    def _draw(self, message: Any, header: Any, a: np.ndarray, b: np.ndarray) -> None:
        """Publish the picture; an image that cannot be decoded is left out of it."""
        self._drawn, image = time.monotonic(), None
        if message is not None:
            try:
                image = to_rgb(message, self.config.max_pixels, self._used_bits)
                self.passed('image')
            except ConversionError as error:
                self.fail('image', f'{self.image_topic}: {error}')
        counts = self.answers.counts
        alone = f'{counts.only_a} / {counts.only_b}'
        table = [*self.comparison.table(), ['only A / only B', '', f'{alone} frames']]
        drawn = picture(image, a, b, self.comparison, table)
        bgr = cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR)
        self.outputs[PICTURE].publish(image_message(self._types, header, bgr, 'bgr8'))

    # --- diagnostics -----------------------------------------------------------------------------

    def examine(self) -> None:
        """Find models that are silent or answer other frames, and how to read the figures."""
        self.answers.expire()
        self._update_inputs()
        now, timeout = time.monotonic(), self.config.input_timeout
        states = self.inputs.states() if self.active else []
        self.record('silence', doctor.examine_silence(states, timeout, now))
        self.record('comparison', self.comparison.findings)
        self.record('answers', self._silent(now) if self.active else [])
        self.record('joined', self._unjoined(now) if self.active else [])

    def _silent(self, now: float) -> list[Finding]:
        """Find that one model or both do not answer, after what the slower one may take."""
        timeout = max(self.config.input_timeout, self.config.max_wait)
        heard = {model: self._heard.get(model, self._since) for model in MODELS}
        newest = max(heard.values())
        if now - newest > (timeout if self._heard else max(timeout, doctor.PATIENCE)):
            text = (
                f'neither model has answered for {timeout:g} s: let images arrive, and see what '
                'the nodes of both say on /diagnostics'
            )
            return [Finding('silent', Level.WARN, text)]
        found = []
        for model in [model for model in MODELS if newest - heard[model] > timeout]:
            topic = self.answer_topics[model]
            why = (
                'see what its node says on /diagnostics'
                if self.count_publishers(topic)
                else f'nobody publishes {topic}; the log of its node says whether its model '
                'could be loaded'
            )
            text = (
                f'{model.upper()} has not answered for {timeout:g} s while the other model has, '
                f'so that there is nothing to compare: {why}'
            )
            found.append(Finding(f'silent {model}', Level.ERROR, text))
        return found

    def _unjoined(self, now: float) -> list[Finding]:
        """Find that both models answer, but never the same frame in time."""
        counts, before = self.answers.counts, self._counts
        if counts.joined != before.joined:
            self._counts, self._joined_at = AnswerCounts(**asdict(counts)), now
            return []
        both = counts.only_a > before.only_a and counts.only_b > before.only_b
        if not both or now - self._joined_at < self.config.input_timeout:
            return []
        text = (
            'both models answer, but no frame was answered by both within max_wait '
            f'({self.config.max_wait:g} s): raise max_wait if one of them takes longer, and '
            'give both the same images'
        )
        return [Finding('unjoined', Level.WARN, text)]

    def statuses(self) -> list[DiagnosticStatus]:
        """Report the figures of the window and the counts."""
        name = self.get_fully_qualified_name()
        if not self.active:
            return [diagnostics.status(f'{name}: comparison', name, 'not active', {})]
        values: dict[str, Any] = {**self.comparison.names, **asdict(self.answers.counts)}
        _, *rows = self.comparison.table({'window': ''})
        values |= dict(rows)
        message = 'comparing' if self.comparison.total.frames else 'nothing compared yet'
        return [diagnostics.status(f'{name}: comparison', name, message, values)]


def calibrations_differ(a: Any, b: Any) -> list[Finding]:
    """Tell that equal disparities of two DisparityImage mean different depths."""
    if not hasattr(a, 'f'):
        return []
    of_a, of_b = (message.f * message.t / max(1, message.image.width) for message in (a, b))
    if math.isclose(of_a, of_b, rel_tol=0.01) and of_a > 0:
        return []
    text = (
        f'by f, T and width, disparities of A stand for {of_a:.4g} and those of B for {of_b:.4g} '
        'of depth, and disparities are compared: give both models the same camera_info'
    )
    return [Finding('calibration', Level.WARN, text)]


def main(args: list[str] | None = None) -> int:
    """Entry point of the executable."""
    return run_node(CompareNode, args)


if __name__ == '__main__':
    raise SystemExit(main())
