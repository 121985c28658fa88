"""A lifecycle node that no callback can end, and whose failures are logged and in /diagnostics."""

from __future__ import annotations

import functools
import threading
import traceback
from collections.abc import Callable, Iterable
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.srv import ChangeState
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from nndepth_core.plausibility import Finding, Level
from nndepth_ros import diagnostics
from nndepth_ros.findings import Doctor, Failures
from nndepth_ros.log import NodeLog, describe

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
ERROR = TransitionCallbackReturn.ERROR


class GuardedNode(LifecycleNode):
    """Keeps findings, publishes them every second, and goes on after any exception.

    rclpy ends the process when a callback raises, answers no service request whose callback
    raised, and says nothing of an exception in a transition. A subclass fills in `configure`,
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

    # --- what a subclass gives -------------------------------------------------------------------

    def configure(self) -> None:
        """Acquire what the node needs; an exception fails the transition and says why."""

    def activate(self) -> None:
        """Start to work; an exception fails the transition and says why."""

    def deactivate(self) -> None:
        """Stop to work; harmless when inactive."""

    def cleanup(self) -> None:
        """Give back what `configure` acquired; harmless when there is nothing."""

    def statuses(self) -> list[DiagnosticStatus]:
        """What the subclass says on /diagnostics; called every second."""
        raise NotImplementedError

    # --- lifecycle -------------------------------------------------------------------------------

    def autostart(self) -> None:
        """Configure and activate; a failure leaves the node waiting for another try."""
        if self.trigger_configure() is SUCCESS:
            self.trigger_activate()

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Fail cleanly: nothing is kept of a half-made configuration."""
        if self._attempt('configure', self.configure):
            return super().on_configure(state)
        self._attempt('clean up', self.cleanup)
        return FAILURE

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Fail cleanly: the node is inactive as before."""
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
        """Give everything back."""
        return SUCCESS if self._attempt('clean up', self.cleanup) else ERROR

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """End from any state."""
        self._attempt('deactivate', self.deactivate)
        self._attempt('clean up', self.cleanup)
        return SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Return to unconfigured, from where a new try can start."""
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
        """The callback, of which an exception becomes a finding under this name."""

        # rclpy looks at the signature to tell who wants to know more about a message.
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
        """A service's callback that answers in any case: a fresh response says no success."""
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
        """Whether the state machine has this transition now; by its label where that is given."""
        available = self._state_machine.available_transitions
        wanted = transition.label or transition.id
        return any(wanted in (number, label) for number, label, *_ in available)

    def _report(self, name: str, error: Exception) -> None:
        # A signal invalidates the context under whatever call is on its way.
        if self.context.ok():
            self._trace()
            self.fail(name, f'{name}: {describe(error)}')

    def _trace(self) -> None:
        self.get_logger().debug(traceback.format_exc())

    # --- findings --------------------------------------------------------------------------------

    def fail(self, kind: str, text: str, limited: bool = True) -> None:
        """Log a failure, and keep it as a finding until things of its kind pass again.

        Args:
            kind: few.
            text: what failed, and the cure.
            limited: whether it may come at the rate of the inputs; what a user asked for may not.
        """
        with self._doctor_lock:
            self._failures.failed(kind, text)
        self.log.say(Level.ERROR, kind if limited else f'{kind} {text}', text)

    def passed(self, kind: str) -> None:
        """Note that what failed before under this kind succeeds."""
        if self._failures:
            with self._doctor_lock:
                self._failures.passed(kind)

    def record(self, exam: str, found: Iterable[Finding], log: bool = True) -> None:
        """Keep the findings of one examination and log what is new or cured."""
        with self._doctor_lock:
            appeared, cured = self._doctor.record(exam, found)
        for finding in appeared if log else ():
            self.log.say(finding.level, finding.code, finding.text)
        for finding in cured:
            self.log.say(Level.INFO, f'{finding.code} cured', f'no longer so: {finding.text}')

    def examine(self) -> None:
        """Look at what is judged by time; called every second, before `statuses`."""

    def _on_timer(self) -> None:
        try:
            self.examine()
            statuses = self.statuses()
        except Exception as error:  # what is known already is still published
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
