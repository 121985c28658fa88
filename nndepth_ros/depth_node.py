"""The shell of every depth node: parameters, model, inputs, outputs and the worker."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus
from rcl_interfaces.msg import SetParametersResult
from rclpy.event_handler import PublisherEventCallbacks
from rclpy.parameter import Parameter as RclpyParameter
from rclpy.qos import QoSProfile, QoSReliabilityPolicy, qos_policy_name_from_kind
from rclpy.qos_overriding_options import QoSOverridingOptions

from nndepth_ros import doctor
from nndepth_ros.declaration import declare
from nndepth_ros.guarded_node import GuardedNode
from nndepth_ros.inputs import Inputs, check_depth, qos_finding
from nndepth_ros.log import describe, printable
from nndepth_ros.mailbox import Mailbox
from nndepth_ros.parameters import Parameter

OUTPUT_QOS = QoSProfile(depth=2, reliability=QoSReliabilityPolicy.RELIABLE)
PAIRS = 'pair'
"""Kind of the failures of single deposits."""
MODEL = 'model'
"""Kind of the failures to change the model."""


class DepthNode(GuardedNode):
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
        self.inputs = Inputs(self)
        self.failed = 0
        self._worker: threading.Thread | None = None
        self._busy_since: float | None = None
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

    def configure(self) -> None:
        """Load and test the model, create the publishers."""
        self.estimator = self.make_estimator(self.config)
        self._loaded = self._values()
        for name, message_type in self._output_types.items():
            self._outputs[name] = self.create_lifecycle_publisher(
                message_type,
                name,
                OUTPUT_QOS,
                event_callbacks=PublisherEventCallbacks(
                    matched=self.guarded(f'matched {name}', lambda _: self._update_inputs()),
                    incompatible_qos=self.guarded(f'qos {name}', self._qos_reporter(name)),
                ),
                qos_overriding_options=QoSOverridingOptions.with_default_policies(
                    callback=check_depth
                ),
            )

    def activate(self) -> None:
        """Start the worker and listen."""
        self.mailbox = Mailbox(self.config.max_age)
        self.failed = 0
        self._worker = threading.Thread(
            target=self._work, args=(self.mailbox,), name='estimator', daemon=True
        )
        self._worker.start()
        self._update_inputs()
        self.get_logger().info(f'active: {self.describe()}')

    def deactivate(self) -> None:
        """Stop listening; a pair that takes too long is left behind, its result unused."""
        if not self.stop(doctor.LONG_PAIR):
            self.get_logger().warning('the pair in work goes on without its result being used')

    def cleanup(self) -> None:
        """Give back model and publishers."""
        for publisher in self._outputs.values():
            self.destroy_lifecycle_publisher(publisher)
        self._outputs.clear()
        self.estimator = None

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
        worker = self._worker
        if worker is not None:
            worker.join(timeout)
        self._worker = self._busy_since = None
        self.inputs.close_all()
        return worker is None or not worker.is_alive()

    # --- outputs ---------------------------------------------------------------------------------

    def wanted(self) -> set[str]:
        """Names of the outputs that somebody subscribes to."""
        return {name for name, out in self._outputs.items() if out.get_subscription_count()}

    def publish(self, name: str, message: Any) -> None:
        """Publish one output, unless the pair in work was left behind."""
        if self._in_use():
            self._outputs[name].publish(message)

    def _update_inputs(self) -> None:
        if self.active:
            self.update_inputs()

    def _qos_reporter(self, name: str) -> Any:
        def report(event: Any) -> None:
            policy = qos_policy_name_from_kind(event.last_policy_kind)
            topic = self.resolve_topic_name(name)
            self.record(f'qos {name}', [qos_finding(topic, policy)])

        return report

    # --- worker ----------------------------------------------------------------------------------

    def _work(self, mailbox: Mailbox[Any]) -> None:
        while (delivery := mailbox.get()) is not None:
            self._busy_since = time.monotonic()
            try:
                self.process(*delivery)
                self.passed(PAIRS)
            except Exception as error:
                # One broken message must not end the stream. On the way out publishers and
                # context may be gone, which is no failure of the pair.
                if self._in_use() and self.context.ok():
                    self.failed += 1
                    self._trace()
                    self.fail(PAIRS, describe(error))
            finally:
                if self._in_use():
                    self._busy_since = None

    def _in_use(self) -> bool:
        """Whether this thread is the worker, and not one that was left behind."""
        return self._worker is threading.current_thread()

    # --- diagnostics -----------------------------------------------------------------------------

    def examine(self) -> None:
        """Look at the inputs, at who else publishes, and at the pair in work."""
        self._update_inputs()
        now, busy = time.monotonic(), self._busy_since
        timeout = self.config.input_timeout
        self.record('silence', doctor.examine_silence(self.inputs.states(), timeout, now))
        self.record('work', doctor.examine_work(None if busy is None else now - busy))
        publishers = {
            topic: [
                f'{end.node_namespace.rstrip("/")}/{end.node_name}'
                for end in self.get_publishers_info_by_topic(topic)
                if not end.node_name.startswith('_NODE_NAME_UNKNOWN')  # not discovered yet
            ]
            for topic in map(self.resolve_topic_name, self._outputs)
        }
        self.record('twins', doctor.examine_twins(self.get_fully_qualified_name(), publishers))

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
        except Exception as error:
            return SetParametersResult(successful=False, reason=printable(describe(error)))
        return SetParametersResult(successful=True)

    def _apply_parameters(self, _: list[RclpyParameter]) -> None:
        self.config = self.read_config(self._values())
        self.mailbox.max_age = self.config.max_age
        if self.estimator is not None and self.config.model == self._loaded_model():
            self._loaded = self._values()
            self.passed(MODEL)
        self.on_config()
        self._start_loading()

    def _loaded_model(self) -> Any:
        return self.read_config(self._loaded).model

    # --- a changed model loads beside the old one ------------------------------------------------

    def _start_loading(self) -> None:
        if self.estimator is None or self._loader is not None:
            return
        if self.config.model != self._loaded_model():
            arguments = self.config, self._values()
            self._loader = threading.Thread(
                target=self._load, name='loader', args=arguments, daemon=True
            )
            self._loader.start()

    def _load(self, config: Any, values: dict[str, Any]) -> None:
        try:
            self._outcome = values, self.make_estimator(config)
        except Exception as error:
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
        if isinstance(outcome, Exception):
            self._refuse(values, outcome)
        else:
            self.estimator, self._loaded = outcome, values
            self.passed(MODEL)
            self.get_logger().info(f'now: {self.describe()}')
        self._start_loading()

    def _refuse(self, values: dict[str, Any], error: Exception) -> None:
        """Keep the old model, and take back what asked for the new one."""
        if self.config.model == self.read_config(values).model:  # and no other one is asked for
            self.set_parameters(
                [
                    RclpyParameter(name, value=self._loaded[name])
                    for name, value in values.items()
                    if value == self.get_parameter(name).value != self._loaded[name]
                ]
            )
        self.fail(MODEL, f'{describe(error)}; {self.describe()} goes on', limited=False)
