"""The lifecycle shell of every depth node: parameters, publishers, worker, diagnostics."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter as RclpyParameter
from rclpy.qos import (
    QoSProfile,
    QoSReliabilityPolicy,
    qos_policy_name_from_kind,
    qos_profile_sensor_data,
)
from rclpy.qos_overriding_options import QoSOverridingOptions

from nndepth_ros import diagnostics
from nndepth_ros.declaration import declare
from nndepth_ros.doctor import Doctor, Finding, Level
from nndepth_ros.mailbox import Mailbox
from nndepth_ros.parameters import Parameter

OUTPUT_QOS = QoSProfile(depth=2, reliability=QoSReliabilityPolicy.RELIABLE)
REPEAT_FAILURE_AFTER = 10.0


class DepthNode(LifecycleNode):
    """What is common to stereo and monocular nodes.

    The executor's thread only deposits inputs into the mailbox; one worker thread takes the
    newest, estimates and publishes. A subclass gives the parameter table and output types, and
    says how a config is read, how inputs are subscribed and how one deposit is processed.
    """

    def __init__(
        self,
        name: str,
        table: tuple[Parameter, ...],
        outputs: Mapping[str, type],
        **node_options: Any,
    ) -> None:
        super().__init__(name, **node_options)
        self._table = table
        self._output_types = outputs
        self._outputs: dict[str, Any] = {}
        self._inputs: dict[str, Any] = {}
        self._last_heard: dict[str, float] = {}
        self._doctor = Doctor()
        self._doctor_lock = threading.Lock()
        self.failed = 0
        self._failure: tuple[str, float] = ('', 0.0)
        self._worker: threading.Thread | None = None
        self.mailbox: Mailbox[Any] = Mailbox()
        declare(self, table)
        self.config = self.read_config(self._values())
        self.estimator: Any = None
        self._loaded: dict[str, Any] = {}
        self._loader: threading.Thread | None = None
        self._outcome: Any = None
        self._loader_done = self.create_guard_condition(self._finish_loading)
        self.add_on_set_parameters_callback(self._check_parameters)
        self.add_post_set_parameters_callback(self._apply_parameters)
        self._diagnostics = self.create_publisher(DiagnosticArray, '/diagnostics', 10)
        self.create_timer(1.0, self._on_timer, clock=Clock(clock_type=ClockType.STEADY_TIME))

    # --- what a subclass gives -------------------------------------------------------------------

    def read_config(self, values: Mapping[str, Any]) -> Any:
        """Turn parameter values into the frozen config; ValueError says what is not allowed."""
        raise NotImplementedError

    def check_model(self, config: Any) -> None:
        """Refuse quickly, by ValueError or RuntimeError, a model that cannot be loaded."""

    def make_estimator(self, config: Any) -> Any:
        """Load, warm up and self-test the estimator of a config; ValueError or RuntimeError."""
        raise NotImplementedError

    def describe(self) -> str:
        """One line on the model in use."""
        engine = self.estimator.engine
        return f'{engine.spec.name} by {engine.name} on {engine.device}'

    def update_inputs(self) -> None:
        """Subscribe to what is needed now and unsubscribe the rest; called while active."""
        raise NotImplementedError

    def process(self, deposited: float, item: Any) -> None:
        """Handle one deposit in the worker thread.

        Args:
            deposited: time.monotonic() of the deposit.
            item: what was put into the mailbox.

        Raises:
            ValueError, RuntimeError: this item fails, the stream goes on.
        """
        raise NotImplementedError

    def statuses(self) -> list[DiagnosticStatus]:
        """What the subclass says on /diagnostics; called every second."""
        raise NotImplementedError

    def on_config(self) -> None:
        """React to changed parameters; `config` is the new one."""

    # --- lifecycle -------------------------------------------------------------------------------

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load and test the model, create the publishers."""
        try:
            self.estimator = self.make_estimator(self.config)
        except (ValueError, RuntimeError, OSError) as error:
            self.get_logger().error(f'cannot configure: {error}')
            return TransitionCallbackReturn.FAILURE
        self._loaded = self._values()
        for name, message_type in self._output_types.items():
            self._outputs[name] = self.create_lifecycle_publisher(
                message_type,
                name,
                OUTPUT_QOS,
                event_callbacks=PublisherEventCallbacks(
                    matched=lambda _: self._update_inputs(),
                    incompatible_qos=self._qos_reporter(name),
                ),
                qos_overriding_options=QoSOverridingOptions.with_default_policies(),
            )
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start the worker and listen."""
        result = super().on_activate(state)
        self.mailbox = Mailbox(self.config.max_age)
        self.failed = 0
        self._worker = threading.Thread(target=self._work, name='estimator', daemon=True)
        self._worker.start()
        self._update_inputs()
        self.get_logger().info(f'active: {self.describe()}')
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop listening and let the worker end."""
        self.stop()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Give back model and publishers."""
        self._release()
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """End from any state."""
        self.stop()
        self._release()
        return TransitionCallbackReturn.SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Return to unconfigured, from where a new try can start."""
        self.stop()
        self._release()
        return TransitionCallbackReturn.SUCCESS

    @property
    def active(self) -> bool:
        """Whether the node is between activation and deactivation."""
        return self._worker is not None

    def stop(self, timeout: float | None = None) -> bool:
        """Unsubscribe and end the worker; harmless when inactive.

        Args:
            timeout: seconds to wait for the pair in work; None: as long as it takes.

        Returns:
            Whether the worker has ended.
        """
        self.mailbox.close()
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.join(timeout)
        self._close_inputs()
        return worker is None or not worker.is_alive()

    def _release(self) -> None:
        for publisher in self._outputs.values():
            self.destroy_lifecycle_publisher(publisher)
        self._outputs.clear()
        self.estimator = None

    # --- inputs and outputs ----------------------------------------------------------------------

    def wanted(self) -> set[str]:
        """Names of the outputs that somebody subscribes to."""
        return {name for name, out in self._outputs.items() if out.get_subscription_count()}

    def publish(self, name: str, message: Any) -> None:
        """Publish one output."""
        self._outputs[name].publish(message)

    def subscribe(self, topic: str, message_type: type, callback: Callable[[Any], None]) -> None:
        """Subscribe to an input; its silence, losses and QoS mismatches are reported."""

        def heard(message: Any) -> None:
            self._last_heard[topic] = time.monotonic()
            callback(message)

        self._last_heard[topic] = time.monotonic()
        self._inputs[topic] = self.create_subscription(
            message_type,
            topic,
            heard,
            qos_profile_sensor_data,
            event_callbacks=SubscriptionEventCallbacks(
                incompatible_qos=self._qos_reporter(topic),
                message_lost=lambda info: self._report_loss(topic, info),
            ),
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )

    def subscribed(self, topic: str) -> bool:
        """Whether an input is listened to."""
        return topic in self._inputs

    def unsubscribe(self, topic: str) -> None:
        """Stop listening to one input."""
        self.destroy_subscription(self._inputs.pop(topic))
        self._last_heard.pop(topic)

    def silence(self) -> dict[str, float]:
        """Seconds since the last message, by input topic."""
        now = time.monotonic()
        return {topic: now - heard for topic, heard in self._last_heard.items()}

    def _update_inputs(self) -> None:
        if self.active:
            self.update_inputs()

    def _close_inputs(self) -> None:
        for topic in list(self._inputs):
            self.unsubscribe(topic)

    # --- worker ----------------------------------------------------------------------------------

    def _work(self) -> None:
        while (delivery := self.mailbox.get()) is not None:
            try:
                self.process(*delivery)
            except (ValueError, RuntimeError) as error:
                if self.context.ok():
                    self.fail(str(error))
            except Exception as error:
                # One broken message must not end the stream.
                self.fail(f'{type(error).__name__}: {error}')

    def fail(self, text: str) -> None:
        """Count and log an input that could not be processed; repetitions are logged rarely."""
        self.failed += 1
        last, when = self._failure
        now = time.monotonic()
        if text != last or now - when > REPEAT_FAILURE_AFTER:
            self.get_logger().error(text)
            self._failure = text, now

    # --- diagnostics -----------------------------------------------------------------------------

    def record(self, exam: str, found: Iterable[Finding]) -> None:
        """Keep the findings of one examination and log what is new or cured."""
        with self._doctor_lock:
            appeared, cured = self._doctor.record(exam, found)
        for finding in appeared:
            log = self.get_logger()
            (log.error if finding.level is Level.ERROR else log.warning)(finding.text)
        for finding in cured:
            self.get_logger().info(f'no longer so: {finding.text}')

    def _qos_reporter(self, topic: str) -> Callable[[Any], None]:
        def report(event: Any) -> None:
            policy = qos_policy_name_from_kind(event.last_policy_kind)
            text = (
                f'{self.resolve_topic_name(topic)}: the other side asks for another {policy}; '
                'nothing passes: change it there, or here by the parameter qos_overrides'
            )
            self.record(f'qos {topic}', [Finding(f'qos {topic}', Level.ERROR, text)])

        return report

    def _report_loss(self, topic: str, event: Any) -> None:
        text = (
            f'{topic} lost messages on the way ({event.total_count} so far): give the sender '
            "larger buffers (nndepth's config/fastdds.xml in FASTRTPS_DEFAULT_PROFILES_FILE)"
        )
        self.record(f'loss {topic}', [Finding(f'loss {topic}', Level.WARN, text)])

    def _on_timer(self) -> None:
        self._update_inputs()
        statuses = self.statuses()
        with self._doctor_lock:
            findings = self._doctor.findings
        name = self.get_fully_qualified_name()
        statuses.append(diagnostics.doctor_status(f'{name}: doctor', name, findings))
        stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(diagnostics.array(stamp, statuses))

    # --- parameters ------------------------------------------------------------------------------

    def _values(self, changes: Iterable[RclpyParameter] = ()) -> dict[str, Any]:
        values = {row.name: self.get_parameter(row.name).value for row in self._table}
        values.update({change.name: change.value for change in changes if change.name in values})
        return values

    def _check_parameters(self, changes: list[RclpyParameter]) -> SetParametersResult:
        try:
            config = self.read_config(self._values(changes))
            if self.estimator is not None and config.model != self.config.model:
                self.check_model(config)
        except (ValueError, RuntimeError, OSError) as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _apply_parameters(self, _: list[RclpyParameter]) -> None:
        self.config = self.read_config(self._values())
        self.mailbox.max_age = self.config.max_age
        self.on_config()
        self._start_loading()

    # --- a changed model loads beside the old one ------------------------------------------------

    def _start_loading(self) -> None:
        if self.estimator is None or self._loader is not None:
            return
        if self.config.model != self.read_config(self._loaded).model:
            arguments = self.config, self._values()
            self._loader = threading.Thread(
                target=self._load, name='loader', args=arguments, daemon=True
            )
            self._loader.start()

    def _load(self, config: Any, values: dict[str, Any]) -> None:
        try:
            self._outcome = values, self.make_estimator(config)
        except (ValueError, RuntimeError, OSError) as error:
            self._outcome = values, error
        with suppress(RuntimeError):  # the node may have ended meanwhile
            self._loader_done.trigger()

    def _finish_loading(self) -> None:
        """Take the new model into use, or go back to the parameters of the old one."""
        if self._loader is None:
            return
        self._loader.join()
        self._loader = None
        if self.estimator is None:
            return
        values, outcome = self._outcome
        if not isinstance(outcome, Exception):
            self.estimator, self._loaded = outcome, values
            self.get_logger().info(f'now: {self.describe()}')
        elif values == self._values():
            self.get_logger().error(f'{outcome}; {self.describe()} goes on')
            self.set_parameters(
                [
                    RclpyParameter(name, value=self._loaded[name])
                    for name, value in values.items()
                    if value != self._loaded[name]
                ]
            )
        self._start_loading()
