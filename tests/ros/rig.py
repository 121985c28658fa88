"""A node under test and the cameras and subscribers around it, in one process over DDS."""

from __future__ import annotations

import itertools
import threading
import time
from collections import defaultdict

import bags
import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from nndepth_ros.conversions import image_message, ros_message_types
from nndepth_ros.mono_node import MonoNode
from nndepth_ros.publishers import message_classes
from nndepth_ros.stereo_node import StereoNode

WIDTH, HEIGHT, FOCAL, BASELINE, SHIFT = 160, 96, 100.0, 0.2, 8
FRAME = 'left_optical'
TIMEOUT = 20.0
_numbers = itertools.count()


def shifted_pair(
    shift: int = SHIFT, width: int = WIDTH, height: int = HEIGHT
) -> tuple[np.ndarray, np.ndarray]:
    """A pair of the rig's size whose disparity is `shift` everywhere."""
    return bags.shifted_pair(0, shift, width, height)


def header(stamp_ns: int, frame: str = FRAME) -> Header:
    message = Header(frame_id=frame)
    message.stamp.sec, message.stamp.nanosec = divmod(stamp_ns, 1_000_000_000)
    return message


def camera_info(side: str, width: int = WIDTH, height: int = HEIGHT, **changes) -> CameraInfo:
    cx, cy = (width - 1) / 2, (height - 1) / 2
    shift = -FOCAL * BASELINE if side == 'right' else 0.0
    info = CameraInfo(width=width, height=height, distortion_model='plumb_bob')
    info.header.frame_id = FRAME
    info.k = [FOCAL, 0.0, cx, 0.0, FOCAL, cy, 0.0, 0.0, 1.0]
    info.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    info.p = [FOCAL, 0.0, cx, shift, 0.0, FOCAL, cy, 0.0, 0.0, 0.0, 1.0, 0.0]
    for name, value in changes.items():
        setattr(info, name, value)
    return info


class NodeBench:
    """A node and a tester in one executor, and what the tester receives.

    Args:
        node: the node under test.
    """

    def __init__(self, node) -> None:
        self.node = node
        self.received = defaultdict(list)
        self.changed = threading.Condition()
        self.tester = Node('tester', namespace=node.get_namespace())
        self.tester.create_subscription(
            DiagnosticArray, '/diagnostics', self._on_diagnostics, QoSProfile(depth=50)
        )
        self.executor = SingleThreadedExecutor()
        self._spinner = threading.Thread(target=self.executor.spin)

    def spin(self) -> None:
        """Begin to execute both, in a thread."""
        self.executor.add_node(self.node)
        self.executor.add_node(self.tester)
        self._spinner.start()

    def publisher(self, message_class, topic: str, qos):
        """A publisher of the tester; whoever waits looks again when somebody subscribes to it."""
        matched = PublisherEventCallbacks(matched=lambda _: self._notify())
        return self.tester.create_publisher(message_class, topic, qos, event_callbacks=matched)

    def subscription(self, message_class, topic: str, qos):
        """A subscription of the tester, which keeps the messages in `received`."""
        return self.tester.create_subscription(
            message_class,
            topic,
            lambda message: self._keep(topic, message),
            qos,
            event_callbacks=SubscriptionEventCallbacks(matched=lambda _: self._notify()),
        )

    def in_executor(self, function, *arguments):
        """Run a function in the executor's thread, as a service call would."""
        return self.wait_future(self.executor.create_task(function, *arguments))

    def wait_future(self, future):
        done = threading.Event()
        future.add_done_callback(lambda _: done.set())
        assert done.wait(TIMEOUT), 'timed out'
        return future.result()

    def wait_until(self, predicate, what: object, timeout: float = TIMEOUT) -> None:
        """Wait for a predicate, looked at whenever a message or a match arrives."""
        deadline = time.monotonic() + timeout
        with self.changed:
            while not predicate():
                left = deadline - time.monotonic()
                assert left > 0, f'timed out waiting for {what}'
                # Some states (logs, counters) announce themselves by no event of ours.
                self.changed.wait(min(left, 0.1))

    def wait_for(self, topic: str, count: int = 1) -> list:
        self.wait_until(lambda: len(self.received[topic]) >= count, f'{count} on {topic}')
        return self.received[topic]

    def wait_diagnostic(self, text: str) -> None:
        """Wait until some diagnostic of the node says the text."""
        heard = self.received['/diagnostics']
        self.wait_until(lambda: any(text in said for said in heard), [text, heard])

    def close(self) -> None:
        self.in_executor(self.node.stop)
        self.executor.shutdown()
        self._spinner.join()
        self.node.destroy_node()
        self.tester.destroy_node()

    def _keep(self, topic: str, message) -> None:
        with self.changed:
            self.received[topic].append(message)
            self.changed.notify_all()

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name.startswith(self.node.get_namespace()):
                values = ' | '.join(f'{pair.key}={pair.value}' for pair in status.values)
                self._keep('/diagnostics', f'{status.message} | {values}')

    def _notify(self) -> None:
        with self.changed:
            self.changed.notify_all()


class Rig(NodeBench):
    """Publishes images to a node of its own namespace and keeps what comes back.

    Args:
        outputs: topics to subscribe to.
        model: the node's; None leaves its default.
        parameters: overrides of the node's other parameters.
        start: 'active', 'inactive' (configured) or 'unconfigured'.
        transport: 'raw' or 'compressed' images.
        image_qos: of the camera's image publishers.
        node_options: further arguments of the node.
    """

    node_class = StereoNode

    def __init__(
        self,
        outputs=('disparity',),
        model=bags.MODEL,
        parameters=None,
        start='active',
        transport='raw',
        image_qos=qos_profile_sensor_data,
        output_qos=None,
        namespace=None,
        remappings=(),
        **node_options,
    ) -> None:
        self.namespace = namespace or f'/test{next(_numbers)}'
        self.types = ros_message_types()
        parameters = {'image_transport': transport, **(parameters or {})}
        if model is not None:
            parameters['model'] = model
        node = self.node_class(
            namespace=self.namespace,
            cli_args=['--ros-args', *(word for rule in remappings for word in ('-r', rule))],
            parameter_overrides=[Parameter(name, value=v) for name, v in parameters.items()],
            **node_options,
        )
        super().__init__(node)
        image_type = CompressedImage if transport == 'compressed' else Image
        self.images = {
            side: self.publisher(image_type, node.image_topics[side], image_qos)
            for side in node.sides
        }
        self.infos = {}
        if not parameters.get('calibration'):
            self.infos = {
                side: self.publisher(CameraInfo, node.info_topics[side], qos_profile_sensor_data)
                for side in node.sides
            }
        self.subscriptions = {}
        for topic in outputs:
            self.subscribe(topic, output_qos)
        self.spin()
        try:
            if start != 'unconfigured':
                self.in_executor(self.node.trigger_configure)
            if start == 'active':
                self.in_executor(self.node.trigger_activate)
                self.wait_connected()
        except AssertionError:
            self.close()
            raise

    def subscribe(self, topic: str, qos=None) -> None:
        message_class = message_classes(self.node.pipeline.outputs)[topic]
        self.subscriptions[topic] = self.subscription(
            message_class, topic, qos or QoSProfile(depth=20)
        )

    def unsubscribe(self, topic: str) -> None:
        self.tester.destroy_subscription(self.subscriptions.pop(topic))

    def wait_connected(self) -> None:
        """Wait until the camera's and the node's ends have found each other."""

        def connected() -> bool:
            inputs = [*self.images.values(), *self.infos.values()]
            return (
                all(pub.get_subscription_count() for pub in inputs)
                and set(self.subscriptions) <= self.node.outputs.subscribed()
            )

        self.wait_until(connected, 'discovery')

    def set_parameters(self, **values):
        """Set parameters as the service does; return the first refusal's reason, '' if none."""
        changes = [Parameter(name.replace('__', '.'), value=v) for name, v in values.items()]
        results = self.in_executor(self.node.set_parameters, changes)
        return next((result.reason for result in results if not result.successful), '')

    def send_infos(self, *infos, stamp_ns: int = 0, **named) -> None:
        """Publish camera_info, the rig's own where none is given for a side."""
        given = {**dict(zip(self.node.sides, infos, strict=False)), **named}
        for side in self.node.sides:
            info = given.get(side) or camera_info(side)
            info.header.stamp = header(stamp_ns).stamp
            self.infos[side].publish(info)

    def send_image(self, side: str, stamp_ns: int, image: np.ndarray, encoding='rgb8') -> None:
        message = image_message(self.types, header(stamp_ns), image, encoding)
        self.images[side].publish(message)

    def send_compressed(self, side: str, stamp_ns: int, data: bytes, form='jpeg') -> None:
        message = CompressedImage(header=header(stamp_ns), format=form)
        message.data.frombytes(data)
        self.images[side].publish(message)

    def send_pair(self, stamp_ns: int, pair=None, infos: bool = True) -> None:
        if infos:
            self.send_infos(stamp_ns=stamp_ns)
        for side, image in zip(self.node.sides, pair or shifted_pair(), strict=True):
            self.send_image(side, stamp_ns, image)


class MonoRig(Rig):
    """The same around a mono node."""

    node_class = MonoNode

    def send(self, stamp_ns: int, image: np.ndarray, infos: bool = True) -> None:
        self.send_pair(stamp_ns, (image,), infos)


class Log:
    """Collects what a node logs at some levels, errors and warnings by default."""

    def __init__(self, rig, monkeypatch, levels=('error', 'warning')) -> None:
        self.said: list[str] = []
        self._rig = rig
        logger = rig.node.get_logger()
        for level in levels:
            monkeypatch.setattr(logger, level, self.said.append)
        monkeypatch.setattr(rig.node, 'get_logger', lambda: logger)

    def wait(self, text: str) -> None:
        self._rig.wait_until(lambda: any(text in said for said in self.said), [text, self.said])
