"""The process of a node, from its start to a clean end."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.signals import uninstall_signal_handlers

from nndepth_ros.allocator import keep_freed_memory
from nndepth_ros.guarded_node import GuardedNode
from nndepth_ros.log import CoreLogHandler, describe, printable
from nndepth_ros.rigs_node import RigsNode

LONGEST_GOODBYE = 1.0
SENT_BY_A_THREAD = ('RMW_FASTRTPS_PUBLICATION_MODE', 'ASYNCHRONOUS')
"""Lets a thread of Fast DDS send what was published, while the next output is computed."""


def run_node(
    make_node: Callable[[], GuardedNode | RigsNode], args: list[str] | None = None
) -> int:
    """Run a node until it is asked to end; return the exit code of the process."""
    try:
        return _run_node(make_node, args)
    except KeyboardInterrupt:
        # The second Ctrl-C of `ros2 launch` can come before the first is dealt with.
        os._exit(0)


def _run_node(make_node: Callable[[], GuardedNode | RigsNode], args: list[str] | None) -> int:
    keep_freed_memory()
    os.environ.setdefault(*SENT_BY_A_THREAD)
    try:
        rclpy.init(args=args)
    except Exception as error:
        return _refuse(ValueError(f'these ROS arguments are not understood: {error}'))
    executor = SingleThreadedExecutor()
    node: GuardedNode | RigsNode | None = None
    try:
        try:
            node = make_node()
        except Exception as error:
            return _refuse(error) if rclpy.ok() else 0  # a signal invalidates the context
        logging.getLogger('nndepth_core').addHandler(CoreLogHandler(node.log))
        executor.add_node(node)
        node.start()
        executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except RuntimeError:
        # After a signal the context is invalid in any call that is still running.
        if rclpy.ok():
            raise
    finally:
        # First, for the thread that handles signals must not wake an executor that is destroyed.
        uninstall_signal_handlers()
        # `ros2 launch` sends Ctrl-C a second time, which must not interrupt the clean-up.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        ended = node is None or (node.stop(LONGEST_GOODBYE) and not node.loading)
        executor.shutdown()
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()
    if not ended:
        # Neither a run of an engine nor a load can be interrupted, and nobody needs the result.
        os._exit(0)
    return 0


def _refuse(error: Exception) -> int:
    """Say what is wrong with the start of the node; return the exit code."""
    rclpy.logging.get_logger('nndepth').fatal(printable(describe(error)))
    return 1
