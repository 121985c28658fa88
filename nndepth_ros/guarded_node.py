"""A lifecycle node that survives failing callbacks, and logs and publishes their failures."""

from __future__ import annotations

import functools
import threading
import traceback
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.srv import ChangeState
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from nndepth_core.plausibility import Finding, Level
from nndepth_ros import diagnostics
from nndepth_ros.findings import Doctor, Failures
from nndepth_ros.log import NodeLog, as_parameters, describe

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
ERROR = TransitionCallbackReturn.ERROR


class GuardedNode(LifecycleNode):
    """Keeps findings, publishes them every second, and continues after any exception.

    rclpy ends the process when a callback raises, does not answer a service request whose callback
    raised, and does not report an exception in a transition. A subclass implements `configure`,
    `activate`, `deactivate` and `cleanup`, which may raise, and `statuses`.
    """

    def __init__(self, name: str, **node_options: Any) -> None:
        self._doctor, self._failures = Doctor(), Failures()
        self._doctor_lock = threading.Lock()
        super().__init__(name, **node_options)
        self.log = NodeLog(self.get_logger(), self.context.ok)
        for service in self.services:
            service.callback = self._answering(service)
        self._diagnostics = self.create_publisher(DiagnosticArray, '/diagnostics', 10)
        self.create_timer(1.0, self._on_timer, clock=Clock(clock_type=ClockType.STEADY_TIME))

    # --- what a subclass defines -----------------------------------------------------------------

    def configure(self) -> None:
        """Acquire what the node needs; with an exception the transition fails and says why."""

    def activate(self) -> None:
        """Start to work; with an exception the transition fails and says why."""

    def deactivate(self) -> None:
        """Stop to work; has no effect if the node is inactive."""

    def cleanup(self) -> None:
        """Release what `configure` acquired; has no effect if there is nothing."""

    def stop(self, timeout: float | None = None) -> bool:
        """End the work, and return whether it has ended; `timeout` are the seconds to wait."""
        return True

    @property
    def loading(self) -> bool:
        """Whether something is being loaded that cannot be interrupted."""
        return False

    def statuses(self) -> list[DiagnosticStatus]:
        """Return what the subclass reports on /diagnostics; called every second."""
        raise NotImplementedError

    # --- lifecycle -------------------------------------------------------------------------------

    def start(self) -> None:
        """Configure and activate, unless the parameter autostart leaves this to the user."""
        if self.get_parameter('autostart').value:
            self.autostart()
        else:
            self.get_logger().info('waiting to be configured (autostart is false)')

    def autostart(self) -> None:
        """Configure and activate; after a failure the node waits for another try."""
        if self.trigger_configure() is SUCCESS:
            self.trigger_activate()

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Configure; if this fails, nothing of the configuration is kept."""
        if self._attempt('configure', self.configure):
            return super().on_configure(state)
        self._attempt('clean up', self.cleanup)
        return FAILURE

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Activate; if this fails, the node stays inactive."""
        result = super().on_activate(state)
        if result is SUCCESS and not self._attempt('activate', self.activate):
            self._attempt('deactivate', self.deactivate)
            super().on_deactivate(state)
            return FAILURE
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop to work."""
        stopped = self._attempt('deactivate', self.deactivate)
        result = super().on_deactivate(state)
        return result if stopped else ERROR

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release everything."""
        return SUCCESS if self._attempt('clean up', self.cleanup) else ERROR

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """End, from any state."""
        self._attempt('deactivate', self.deactivate)
        self._attempt('clean up', self.cleanup)
        return SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Return to unconfigured, from where one can try again."""
        return self.on_shutdown(state)

    def _attempt(self, what: str, step: Callable[[], None]) -> bool:
        try:
            step()
        except Exception as error:
            text = f'cannot {what}: {describe(error)}'
            self._trace()
            self.record(what, [Finding(f'cannot {what}', Level.ERROR, text)])
            return False
        self.record(what, [])
        return True

    # --- callbacks -------------------------------------------------------------------------------

    def create_subscription(
        self, msg_type: Any, topic: str, callback: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Any:
        """Subscribe with a guarded callback; see `rclpy.node.Node`."""
        guarded = self.guarded(f'subscription {topic}', callback)
        return super().create_subscription(msg_type, topic, guarded, *args, **kwargs)

    def create_timer(
        self, timer_period_sec: float, callback: Callable[[], Any], *args: Any, **kwargs: Any
    ) -> Any:
        """Start a timer with a guarded callback; see `rclpy.node.Node`."""
        guarded = self.guarded(f'timer {_name_of(callback)}', callback)
        return super().create_timer(timer_period_sec, guarded, *args, **kwargs)

    def create_guard_condition(
        self, callback: Callable[[], Any], *args: Any, **kwargs: Any
    ) -> Any:
        """Make a guard condition with a guarded callback; see `rclpy.node.Node`."""
        guarded = self.guarded(f'event {_name_of(callback)}', callback)
        return super().create_guard_condition(guarded, *args, **kwargs)

    def guarded(self, name: str, callback: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap a callback so that its exceptions become a finding with this name."""

        # rclpy looks at the signature to see whether a callback takes information on the message.
        @functools.wraps(callback)
        def guard(*args: Any) -> Any:
            try:
                result = callback(*args)
            except Exception as error:
                self._report(name, error)
                return None
            self.passed(name)
            return result

        return guard

    def _answering(self, service: Any) -> Callable[[Any, Any], Any]:
        """Make a service callback that always answers; an empty response means no success."""
        name, callback = service.srv_name, service.callback
        guarded = self.guarded(f'service {name}', callback)

        def answer(request: Any, response: Any) -> Any:
            if service.srv_type is ChangeState and not self._is_possible(request.transition):
                wanted = request.transition.label or request.transition.id
                text = f'transition {wanted} is refused: it is not possible in the present state'
                self.log.say(Level.WARN, 'transition', text)
                return response
            answered = guarded(request, response)
            return response if answered is None else answered

        return answer

    def _is_possible(self, transition: Any) -> bool:
        """Whether the present state has this transition, which is named by label or number."""
        available = self._state_machine.available_transitions
        wanted = transition.label or transition.id
        return any(wanted in (number, label) for number, label, *_ in available)

    def _report(self, name: str, error: Exception) -> None:
        # After a signal the context is invalid in any call that is still running.
        if self.context.ok():
            self._trace()
            self.fail(name, f'{name}: {describe(error)}')

    def _trace(self) -> None:
        self.get_logger().debug(traceback.format_exc())

    # --- findings --------------------------------------------------------------------------------

    def fail(self, kind: str, text: str, limited: bool = True) -> None:
        """Log a failure, and keep it as a finding until something of its kind succeeds.

        Args:
            kind: the kind of the failure; there must be few kinds.
            text: what failed, and the cure.
            limited: whether the log is limited, for failures at the rate of the inputs; not for
                failures of what a user asked for.
        """
        with self._doctor_lock:
            self._failures.failed(kind, text)
        self.log.say(Level.ERROR, kind if limited else f'{kind} {text}', text)

    def passed(self, kind: str) -> None:
        """Note that something of a kind that failed before succeeds."""
        if self._failures:
            with self._doctor_lock:
                self._failures.passed(kind)

    def record(self, exam: str, found: Iterable[Finding], log: bool = True) -> None:
        """Keep the findings of one examination, and log which are new and which are cured."""
        named = [replace(finding, text=as_parameters(finding.text)) for finding in found]
        with self._doctor_lock:
            appeared, cured = self._doctor.record(exam, named)
        for finding in appeared if log else ():
            self.log.say(finding.level, finding.code, finding.text)
        for finding in cured:
            self.log.say(Level.INFO, f'{finding.code} cured', f'no longer true: {finding.text}')

    def examine(self) -> None:
        """Examine what depends on time; called every second, before `statuses`."""

    def _on_timer(self) -> None:
        try:
            self.examine()
            statuses = self.statuses()
        except Exception as error:  # findings so far are still published
            self._report('diagnostics', error)
            statuses = []
        with self._doctor_lock:
            failing = self._failures.findings()
        self.record('failures', failing, log=False)
        with self._doctor_lock:
            findings = self._doctor.findings
        name = self.get_fully_qualified_name()
        statuses.append(diagnostics.doctor_status(f'{name}: doctor', name, findings))
        stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(diagnostics.array(stamp, statuses))


def _name_of(callback: Callable[..., Any]) -> str:
    return getattr(callback, '__name__', 'callback').lstrip('_')
