"""Subscriptions to cameras, with the durability that is offered; they notice silence and loss."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from rcl_interfaces.msg import ParameterDescriptor, SetParametersResult
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.qos import (
    QoSDurabilityPolicy,
    QoSPolicyKind,
    QoSProfile,
    QoSReliabilityPolicy,
    qos_policy_name_from_kind,
    qos_profile_sensor_data,
)
from rclpy.qos_overriding_options import QoSOverridingOptions

from nndepth_core.plausibility import Finding, Level
from nndepth_ros.doctor import InputState
from nndepth_ros.guarded_node import GuardedNode

VOLATILE, LATCHED = QoSDurabilityPolicy.VOLATILE, QoSDurabilityPolicy.TRANSIENT_LOCAL
CHOICES: dict[str, tuple[Any, ...]] = {
    'durability': (VOLATILE, LATCHED),
    'reliability': (QoSReliabilityPolicy.BEST_EFFORT, QoSReliabilityPolicy.RELIABLE),
}
AS_OFFERED = 'auto'
LARGEST_DEPTH = 10_000


@dataclass
class _Input:
    message_type: type
    callback: Callable[[Any], None]
    state: InputState
    durability: QoSDurabilityPolicy
    subscription: Any = None


class Inputs:
    """The input topics of a node.

    Args:
        node: the node, which subscribes and keeps the findings.
    """

    def __init__(self, node: GuardedNode) -> None:
        self._node = node
        self._inputs: dict[str, _Input] = {}

    def __contains__(self, topic: str) -> bool:
        return topic in self._inputs

    def open(self, topic: str, message_type: type, callback: Callable[[Any], None]) -> None:
        """Subscribe to a topic, given by its full name."""
        chosen = self._chosen(topic, 'durability')
        state = InputState(topic, time.monotonic())
        entry = _Input(message_type, callback, state, chosen or self._offered(topic) or VOLATILE)
        self._subscribe(entry)
        self._inputs[topic] = entry

    def close(self, topic: str) -> None:
        """Unsubscribe from a topic."""
        self._node.destroy_subscription(self._inputs.pop(topic).subscription)
        for exam in ('qos', 'loss'):
            self._node.record(f'{exam} {topic}', [])

    def close_all(self) -> None:
        """Unsubscribe from all topics."""
        for topic in list(self._inputs):
            self.close(topic)

    def states(self) -> list[InputState]:
        """What is known of each input; also adapts to publishers that came or went."""
        for topic, entry in self._inputs.items():
            self._follow(topic, entry)
        return [entry.state for entry in self._inputs.values()]

    def _follow(self, topic: str, entry: _Input) -> None:
        offered = self._offered(topic)
        if offered and offered != entry.durability and not self._chosen(topic, 'durability'):
            self._node.destroy_subscription(entry.subscription)
            entry.durability = offered
            self._subscribe(entry)
        count, state = self._node.count_publishers(topic), entry.state
        entry.state = replace(
            state,
            latched=entry.durability is LATCHED,
            publishers=count,
            offered_since=(state.offered_since or time.monotonic()) if count else None,
        )

    def _subscribe(self, entry: _Input) -> None:
        topic = entry.state.topic

        def heard(message: Any) -> None:
            entry.state = replace(entry.state, heard=time.monotonic())
            entry.callback(message)

        # Only reliable subscriptions get what was published before.
        reliability = (
            self._chosen(topic, 'reliability')
            or CHOICES['reliability'][entry.durability is LATCHED]
        )
        entry.subscription = self._node.create_subscription(
            entry.message_type,
            topic,
            heard,
            QoSProfile(
                depth=qos_profile_sensor_data.depth,
                reliability=reliability,
                durability=entry.durability,
            ),
            event_callbacks=SubscriptionEventCallbacks(
                incompatible_qos=self._node.guarded(
                    f'qos {topic}', lambda event: self._report_qos(topic, event)
                ),
                message_lost=self._node.guarded(
                    f'loss {topic}', lambda event: self._report_loss(topic, event)
                ),
            ),
            qos_overriding_options=QoSOverridingOptions(
                (QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH), callback=check_depth
            ),
        )

    def _offered(self, topic: str) -> QoSDurabilityPolicy | None:
        """The durability that all publishers offer; None if there are none."""
        publishers = self._node.get_publishers_info_by_topic(topic)
        if not publishers:
            return None
        latched = all(publisher.qos_profile.durability is LATCHED for publisher in publishers)
        return LATCHED if latched else VOLATILE

    def _chosen(self, topic: str, policy: str) -> Any | None:
        """The user's choice, by a parameter whose name is like those of rclpy for other policies.

        A parameter of rclpy would keep its first value, while this one can follow the publisher.
        """
        name = f'qos_overrides.{topic}.subscription.{policy}'
        if not self._node.has_parameter(name):
            description = f'{policy} of {topic}; {AS_OFFERED}: by what the publishers offer'
            descriptor = ParameterDescriptor(description=description, read_only=True)
            self._node.declare_parameter(name, AS_OFFERED, descriptor)
        value = self._node.get_parameter(name).value
        choices = {kind.name.lower(): kind for kind in CHOICES[policy]}
        if value != AS_OFFERED and value not in choices:
            raise ValueError(
                f'{name} is {value!r}; choose one of {", ".join((AS_OFFERED, *choices))}'
            )
        return choices.get(value)

    def _report_qos(self, topic: str, event: Any) -> None:
        kind = event.last_policy_kind
        policy = qos_policy_name_from_kind(kind)
        if policy == 'DURABILITY' and self._chosen(topic, 'durability') is None:
            return  # the subscription adapts to the publisher within a second
        self._node.record(f'qos {topic}', [qos_finding(topic, policy)])

    def _report_loss(self, topic: str, event: Any) -> None:
        text = (
            f'{topic} lost messages on the way ({event.total_count} so far): give the sender '
            "larger buffers (nndepth's config/fastdds.xml in FASTRTPS_DEFAULT_PROFILES_FILE)"
        )
        self._node.record(f'loss {topic}', [Finding(f'loss {topic}', Level.WARN, text)])


def check_depth(profile: QoSProfile) -> SetParametersResult:
    """Refuse a queue depth with which rclpy would fail without naming it."""
    allowed = 1 <= profile.depth <= LARGEST_DEPTH
    reason = f'depth is {profile.depth}; give 1 to {LARGEST_DEPTH}'
    return SetParametersResult(successful=allowed, reason='' if allowed else reason)


def qos_finding(topic: str, policy: str) -> Finding:
    """Make the finding for two ends of a topic whose policies do not fit."""
    text = (
        f'{topic}: the other side asks for another {policy}; '
        'nothing passes: change it there, or here by the parameter qos_overrides'
    )
    return Finding(f'qos {topic}', Level.ERROR, text)
