"""A guarded node with a table of parameters and the model that they choose."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from rcl_interfaces.msg import SetParametersResult
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter as RclpyParameter

from nndepth_core.engines import Engine, check_names, create_engine
from nndepth_ros.guarded_node import GuardedNode
from nndepth_ros.log import describe, printable
from nndepth_ros.parameters.declaration import declare
from nndepth_ros.parameters.requests import in_any_order
from nndepth_ros.parameters.table import Parameter

MODEL = 'model'
"""The kind of failures to change the model."""
_PATIENCE = 0.1
"""Seconds between two looks whether the process is to end."""


class ModelNode(GuardedNode):
    """Declares the parameters, loads the model, and allows changing both while it runs.

    A new model is loaded in a thread while the old one continues to work. If it cannot be loaded,
    its parameters are set back.

    Args:
        name: the name of the node.
        table: its parameters.
        make_engine: makes the engine of a model; None takes `create_engine`.
        node_options: for the node of rclpy.

    Raises:
        ValueError: a parameter given at start is not allowed.
    """

    estimator_class: Any
    """The class of the estimator, such as `StereoEstimator`."""

    def __init__(
        self,
        name: str,
        table: tuple[Parameter, ...],
        make_engine: Callable[..., Engine] | None = None,
        **node_options: Any,
    ) -> None:
        super().__init__(name, **node_options)
        self._table = table
        self._make_engine = make_engine or create_engine
        try:
            declare(self, table)
            self.config = self.read_config(self._values())
        except ValueError:
            self.destroy_node()  # the process may go on with others
            raise
        self.estimator: Any = None
        self._loaded: dict[str, Any] = {}
        self._loads: list[_Load] = []
        self._loads_changed = self.create_guard_condition(self._finish_loading)
        for service in self.services:
            if service.srv_type is SetParameters:
                service.callback = in_any_order(service.callback)
        self.add_on_set_parameters_callback(self._check_parameters)
        self.add_post_set_parameters_callback(self._apply_parameters)

    # --- what a subclass defines or changes ------------------------------------------------------

    def read_config(self, values: Mapping[str, Any]) -> Any:
        """Turn parameter values into the frozen config; ValueError if one is not allowed."""
        raise NotImplementedError

    def on_config(self) -> None:
        """React to changed parameters; `config` already has the new ones."""

    def check_model(self, config: Any) -> None:
        """Refuse at once a model that cannot exist, which takes less time than loading it.

        Raises:
            ValueError, RuntimeError: a name is unknown.
        """
        model = config.model
        names = model.model, model.engine, model.device, model.precision
        check_names(*names, task=self.estimator_class.task)
        model.check_unused()

    def make_estimator(self, config: Any) -> Any:
        """Load the model of a config, and test it.

        Raises:
            ValueError, RuntimeError: it cannot be loaded, or computes something wrong.
        """
        self.check_model(config)
        model = config.model
        task, options = self.estimator_class.task, model.options()
        engine = self._make_engine(model.name, model.engine, model.device, task=task, **options)
        estimator = self.estimator_class(engine, **model.sizes())
        estimator.self_test()
        return estimator

    # --- the model in use ------------------------------------------------------------------------

    def load_model(self) -> None:
        """Load the model of the present parameters, and wait for it.

        Raises:
            ValueError, RuntimeError: it cannot be loaded, or the process is to end.
        """
        load = _Load(self.config, self._values())
        self._start(load)
        while load.thread.is_alive():
            load.thread.join(_PATIENCE)
            if not self.context.ok():
                raise RuntimeError('the process is to end while its model is loaded')
        self._loads.remove(load)
        if load.error is not None:
            raise load.error
        self.estimator, self._loaded = load.estimator, load.values

    @property
    def loading(self) -> bool:
        """Whether a model is being loaded, which cannot be interrupted."""
        return any(load.thread.is_alive() for load in self._loads)

    def describe(self) -> str:
        """Describe the model in use in one line."""
        engine = self.estimator.engine
        return f'{engine.spec.title} by {engine.name} on {engine.device}'

    # --- parameters ------------------------------------------------------------------------------

    def _values(self, changes: Iterable[RclpyParameter] = ()) -> dict[str, Any]:
        values = {row.name: self.get_parameter(row.name).value for row in self._table}
        values.update({change.name: change.value for change in changes if change.name in values})
        return values

    def _check_parameters(self, changes: list[RclpyParameter]) -> SetParametersResult:
        try:
            config = self.read_config(self._values(changes))
            if config.model != self.config.model:
                self.check_model(config)
                if self.estimator is not None and self._same_engine(config):
                    self._resized(config)
        except Exception as error:
            return SetParametersResult(successful=False, reason=printable(describe(error)))
        return SetParametersResult(successful=True)

    def _apply_parameters(self, _: list[RclpyParameter]) -> None:
        before, self.config = self.config.model, self.read_config(self._values())
        if self.estimator is not None and self._same_engine(self.config):
            if self.config.model != self._loaded_model():
                self.estimator = self._resized(self.config)
            self._loaded = self._values()
            self.passed(MODEL)
        elif self.estimator is not None and before.sizes() != self.config.model.sizes():
            self._resize_meanwhile()
        self.on_config()
        # Later: the parameters of one request are set, and come here, one by one.
        self._loads_changed.trigger()

    def _loaded_model(self) -> Any:
        return self.read_config(self._loaded).model

    def _same_engine(self, config: Any) -> bool:
        """Whether the engine in use serves a config too."""
        return config.model.of_engine() == self._loaded_model().of_engine()

    def _resized(self, config: Any) -> Any:
        """The engine in use with the sizes and the threshold of a config."""
        return self.estimator_class(self.estimator.engine, **config.model.sizes())

    # --- a new model is loaded while the old one works -------------------------------------------

    def _resize_meanwhile(self) -> None:
        """Let the old model take new sizes at once, if it can.

        Those that came in one request with the new model wait for it.
        """
        if not self._loads:
            return
        with suppress(ValueError):
            if self.estimator.engine.spec.fixed_size is None:
                self.estimator = self._resized(self.config)
                return
        name = self.config.model.name
        self.get_logger().info(f'{self.describe()} cannot take this; it waits for {name}')

    def _start_loading(self) -> None:
        """Load what the parameters ask for, if it is neither in use nor loaded already.

        A load that nobody waits for any more goes on beside the new one; there are two at most.
        """
        if self.estimator is None or self._same_engine(self.config):
            return
        wanted = self.config.model.of_engine()
        if len(self._loads) > 1 or any(x.config.model.of_engine() == wanted for x in self._loads):
            return
        self.get_logger().info(f'loading {self.config.model.name}; {self.describe()} goes on')
        self._start(_Load(self.config, self._values()))

    def _start(self, load: _Load) -> None:
        load.thread = threading.Thread(target=self._load, name='loader', args=(load,), daemon=True)
        self._loads.append(load)
        load.thread.start()

    def _load(self, load: _Load) -> None:
        try:
            load.estimator = self.make_estimator(load.config)
        except Exception as error:
            load.error = error
        with suppress(RuntimeError):  # the node may have ended in the meantime
            self._loads_changed.trigger()

    def _finish_loading(self) -> None:
        """Use the model that the parameters ask for, or set back these to those of the old one.

        A model that they no longer ask for is dropped.
        """
        for load in [load for load in self._loads if load.done]:
            load.thread.join()
            self._loads.remove(load)
            if self.estimator is None or self._same_engine(self.config):
                continue
            if load.config.model.of_engine() != self.config.model.of_engine():
                continue
            if load.error is not None:
                self._refuse(load.values, load.error)
                continue
            self.estimator = load.estimator
            if self.config.model != load.config.model:
                self.estimator = self._resized(self.config)
            self._loaded = self._values()
            self.passed(MODEL)
            self.get_logger().info(f'now: {self.describe()}')
        self._start_loading()

    def _refuse(self, values: dict[str, Any], error: Exception) -> None:
        """Keep the old model, and set back the parameters that asked for the new one."""
        self.set_parameters(
            [
                RclpyParameter(name, value=self._loaded[name])
                for name, value in values.items()
                if value == self.get_parameter(name).value != self._loaded[name]
            ]
        )
        self.fail(MODEL, f'{describe(error)}; {self.describe()} goes on', limited=False)


@dataclass(eq=False)
class _Load:
    """A model that is being loaded, and what came of it."""

    config: Any
    values: dict[str, Any]
    thread: threading.Thread = field(init=False)
    estimator: Any = None
    error: Exception | None = None

    @property
    def done(self) -> bool:
        """Whether there is an estimator, or the reason why there is none."""
        return self.estimator is not None or self.error is not None
