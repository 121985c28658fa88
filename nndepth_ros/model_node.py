"""A guarded node with a table of parameters and the model that they choose."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from rcl_interfaces.msg import SetParametersResult
from rclpy.parameter import Parameter as RclpyParameter

from nndepth_core.engines import check_names
from nndepth_ros.guarded_node import GuardedNode
from nndepth_ros.log import describe, printable
from nndepth_ros.parameters.declaration import declare
from nndepth_ros.parameters.table import Parameter

MODEL = 'model'
"""The kind of failures to change the model."""


class ModelNode(GuardedNode):
    """Declares the parameters, loads the model, and allows changing both while it runs.

    A new model is loaded in a thread while the old one continues to work. If it cannot be loaded,
    its parameters are set back.
    """

    estimator_class: Any
    """The class of the estimator, with a method `load` like `StereoEstimator`."""

    def __init__(self, name: str, table: tuple[Parameter, ...], **node_options: Any) -> None:
        super().__init__(name, **node_options)
        self._table = table
        declare(self, table)
        self.config = self.read_config(self._values())
        self.estimator: Any = None
        self._loaded: dict[str, Any] = {}
        self._loader: threading.Thread | None = None
        self._outcome: Any = None
        self._loader_done = self.create_guard_condition(self._finish_loading)
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
        check_names(model.model, model.engine, model.device, model.precision)

    def make_estimator(self, config: Any) -> Any:
        """Load the model of a config, and test it.

        Raises:
            ValueError, RuntimeError: it cannot be loaded, or computes something wrong.
        """
        model = config.model
        estimator = self.estimator_class.load(
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

    # --- the model in use ------------------------------------------------------------------------

    def load_model(self) -> None:
        """Load the model of the present parameters, and wait for it."""
        self.estimator = self.make_estimator(self.config)
        self._loaded = self._values()

    def describe(self) -> str:
        """Describe the model in use in one line."""
        engine = self.estimator.engine
        return f'{engine.spec.name} by {engine.name} on {engine.device}'

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
        if self.estimator is not None and self.config.model == self._loaded_model():
            self._loaded = self._values()
            self.passed(MODEL)
        self.on_config()
        self._start_loading()

    def _loaded_model(self) -> Any:
        return self.read_config(self._loaded).model

    # --- a new model is loaded while the old one works -------------------------------------------

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
        with suppress(RuntimeError):  # the node may have ended in the meantime
            self._loader_done.trigger()

    def _finish_loading(self) -> None:
        """Use the new model, or set back the parameters to those of the old one."""
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
        """Keep the old model, and set back the parameters that asked for the new one."""
        if self.config.model == self.read_config(values).model:  # no other model is asked for
            self.set_parameters(
                [
                    RclpyParameter(name, value=self._loaded[name])
                    for name, value in values.items()
                    if value == self.get_parameter(name).value != self._loaded[name]
                ]
            )
        self.fail(MODEL, f'{describe(error)}; {self.describe()} goes on', limited=False)
