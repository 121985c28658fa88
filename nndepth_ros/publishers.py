"""The output topics of a node: their subscribers, and publishing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from nndepth.msg import InferenceStats
from rclpy.event_handler import PublisherEventCallbacks
from rclpy.qos import (
    QoSPolicyKind,
    QoSProfile,
    QoSReliabilityPolicy,
    qos_policy_name_from_kind,
)
from rclpy.qos_overriding_options import QoSOverridingOptions

from nndepth_ros.conversions import ros_message_types
from nndepth_ros.guarded_node import GuardedNode
from nndepth_ros.outputs import STATS
from nndepth_ros.subscriptions import check_depth, qos_finding

OVERRIDABLE = (
    QoSPolicyKind.HISTORY,
    QoSPolicyKind.DEPTH,
    QoSPolicyKind.RELIABILITY,
    QoSPolicyKind.DURABILITY,
)
OUTPUT_QOS = QoSProfile(depth=2, reliability=QoSReliabilityPolicy.RELIABLE)


def message_classes(outputs: Mapping[str, str]) -> dict[str, Any]:
    """The message classes by topic, for a table like STEREO_OUTPUTS and for the statistics."""
    types = ros_message_types()
    return {
        **{topic: getattr(types, kind) for topic, kind in outputs.items()},
        STATS: InferenceStats,
    }


class Outputs:
    """The output topics of a node.

    Args:
        node: the node, which publishes and keeps the findings.
        on_match: called when a subscriber came or went.
    """

    def __init__(self, node: GuardedNode, on_match: Callable[[], None]) -> None:
        self._node = node
        self._on_match = on_match
        self._publishers: dict[str, Any] = {}

    def open(self, outputs: Mapping[str, str]) -> None:
        """Create the publishers for a table like STEREO_OUTPUTS, and for the statistics."""
        for topic, message_type in message_classes(outputs).items():
            self._publishers[topic] = self._node.create_lifecycle_publisher(
                message_type,
                topic,
                OUTPUT_QOS,
                event_callbacks=PublisherEventCallbacks(
                    matched=self._node.guarded(f'matched {topic}', lambda _: self._on_match()),
                    incompatible_qos=self._node.guarded(f'qos {topic}', self._reporter(topic)),
                ),
                qos_overriding_options=QoSOverridingOptions(OVERRIDABLE, callback=check_depth),
            )

    def close(self) -> None:
        """Destroy all publishers."""
        for publisher in self._publishers.values():
            self._node.destroy_lifecycle_publisher(publisher)
        self._publishers.clear()

    def topics(self) -> list[str]:
        """The full names of the topics."""
        return [self._node.resolve_topic_name(topic) for topic in self._publishers]

    def subscribed(self) -> set[str]:
        """The topics that somebody subscribes to."""
        return {topic for topic, out in self._publishers.items() if out.get_subscription_count()}

    def publish(self, topic: str, message: Any) -> None:
        """Publish one message."""
        self._publishers[topic].publish(message)

    def _reporter(self, name: str) -> Callable[[Any], None]:
        def report(event: Any) -> None:
            policy = qos_policy_name_from_kind(event.last_policy_kind)
            finding = qos_finding(self._node.resolve_topic_name(name), policy)
            self._node.record(f'qos {name}', [finding])

        return report
