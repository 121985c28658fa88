"""Several depth nodes in one process, one for each rig, which share the engines of models."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.exceptions import InvalidNamespaceException, ParameterUninitializedException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.validate_namespace import validate_namespace

from nndepth_core.engines.shared import EnginePool
from nndepth_core.plausibility import Finding, Level
from nndepth_ros import diagnostics
from nndepth_ros.depth_node import DepthNode
from nndepth_ros.log import NodeLog, describe
from nndepth_ros.parameters.declaration import declare
from nndepth_ros.parameters.rigs import RIGS_PARAMETERS
from nndepth_ros.parameters.table import Parameter


class RigsNode(Node):
    """Runs a node in the namespace of each rig.

    Each has an executor and a thread of its own, so that none waits for another one that loads a
    model or has much to receive. A rig whose parameters are wrong is left out, logged, and told on
    /diagnostics.

    Args:
        name: the name of this node.
        rig_class: the class of the nodes of the rigs.
        rig_name: their name.
        node_options: for this node.

    Raises:
        ValueError: a parameter is not allowed, or all rigs are wrong.
    """

    def __init__(
        self, name: str, rig_class: Callable[..., DepthNode], rig_name: str, **node_options: Any
    ) -> None:
        super().__init__(name, **node_options)
        declare(self, RIGS_PARAMETERS)
        names, batch, window = (self._value(row) for row in RIGS_PARAMETERS)
        self.log = NodeLog(self.get_logger(), self.context.ok)
        self._pool = EnginePool(batch, window)
        self._wrong: list[Finding] = []
        full = namespaces(names, self.get_namespace())
        made = [self._make(rig_class, namespace, rig_name) for namespace in full]
        self.rigs = [rig for rig in made if rig is not None]
        if not self.rigs:
            raise ValueError('no rig can be started, see above')
        self._diagnostics = self.create_publisher(DiagnosticArray, '/diagnostics', 10)
        self.create_timer(1.0, self._report)

    def _value(self, row: Parameter) -> Any:
        try:
            return self.get_parameter(row.name).value
        except ParameterUninitializedException:  # an empty list has no type
            return row.default

    def _make(self, rig_class: Callable[..., DepthNode], namespace: str, name: str) -> Rig | None:
        # Arguments of the node itself precede those of the process, which name this node.
        rules = ['-r', f'__ns:={namespace}', '-r', f'__node:={name}']
        try:
            node = rig_class(
                make_engine=self._pool.take, cli_args=['--ros-args', *rules], context=self.context
            )
        except Exception as error:
            if not self.context.ok():  # a signal invalidates it
                raise
            finding = Finding(f'rig {namespace}', Level.ERROR, f'{namespace}: {describe(error)}')
            self._wrong.append(finding)
            self.log.say(finding.level, finding.code, finding.text)
            return None
        return Rig(node)

    def start(self) -> None:
        """Let each rig begin."""
        for rig in self.rigs:
            rig.thread.start()

    def stop(self, timeout: float | None = None) -> bool:
        """End all rigs; return whether they have ended within so many seconds."""
        until = None if timeout is None else time.monotonic() + timeout
        for rig in self.rigs:
            rig.tell_to_end()
        return all([rig.end(until) for rig in self.rigs])

    @property
    def loading(self) -> bool:
        """Whether a rig loads a model."""
        return any(rig.node.loading for rig in self.rigs)

    def destroy_node(self) -> None:
        """Destroy the nodes of the rigs that have ended, too."""
        for rig in self.rigs:
            if not rig.thread.is_alive():
                rig.node.destroy_node()
        super().destroy_node()

    def _report(self) -> None:
        name = self.get_fully_qualified_name()
        status = diagnostics.doctor_status(f'{name}: doctor', name, self._wrong)
        stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(diagnostics.array(stamp, [status]))


class Rig:
    """The node of a rig, and what spins it."""

    def __init__(self, node: DepthNode) -> None:
        self.node = node
        self.executor = SingleThreadedExecutor(context=node.context)
        self._ending = False
        self.thread = threading.Thread(target=self._run, name=node.get_namespace(), daemon=True)

    def _run(self) -> None:
        try:
            self.executor.add_node(self.node)
            self.node.start()
            self.executor.spin()
        except ExternalShutdownException:
            pass
        except Exception:
            # After a signal, context and executor are gone in any call that is still running.
            if self.node.context.ok() and not self._ending:
                raise

    def tell_to_end(self) -> None:
        """End the executor and the worker, without waiting for them."""
        self._ending = True
        self.executor.shutdown()
        self.node.mailbox.close()

    def end(self, until: float | None) -> bool:
        """Wait for thread and worker, until a time of `time.monotonic`; return if they ended."""

        def remaining() -> float | None:
            return None if until is None else max(0.0, until - time.monotonic())

        if self.thread.ident is not None:
            self.thread.join(remaining())
        return not self.thread.is_alive() and self.node.stop(remaining())


def namespaces(names: Iterable[str], parent: str = '/') -> list[str]:
    """Turn the names of rigs into their full namespaces.

    Args:
        names: names below the parent, or absolute ones, which begin with a slash.
        parent: the namespace of the process.

    Raises:
        ValueError: there is none, one is no valid namespace, or two are the same.
    """
    example = 'name them like rigs:="[front, rear]"'
    names = list(names)
    if not names or not all(names):
        raise ValueError(f'rigs {"has an empty name" if any(names) else "is empty"}; {example}')
    found: list[str] = []
    for name in names:
        full = name if name.startswith('/') else f'{parent.rstrip("/")}/{name}'
        try:
            validate_namespace(full)
        except InvalidNamespaceException as error:
            reason = str(error).split('\n')[0].removeprefix('Invalid namespace: ').rstrip(':')
            raise ValueError(
                f'the rig {name!r} is no namespace of ROS: {reason}; {example}'
            ) from error
        if full in found:
            raise ValueError(f'rigs names {full} twice; give each rig a name of its own')
        found.append(full)
    return found
