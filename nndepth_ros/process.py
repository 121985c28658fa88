"""The life of a node's process: from start to a clean end."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor

from nndepth_ros.allocator import keep_freed_memory
from nndepth_ros.depth_node import DepthNode
from nndepth_ros.log import CoreLogHandler, describe, printable

LONGEST_GOODBYE = 1.0


def run_node(make_node: Callable[[], DepthNode], args: list[str] | None = None) -> int:
    """Run a node until it is asked to end; return the process's exit code."""
    keep_freed_memory()
    try:
        rclpy.init(args=args)
    except Exception as error:
        return _refuse(ValueError(f'these ROS arguments are not understood: {error}'))
    executor = SingleThreadedExecutor()
    node: DepthNode | None = None
    try:
        try:
            node = make_node()
        except Exception as error:
            return _refuse(error) if rclpy.ok() else 0  # a signal invalidates the context
        logging.getLogger('nndepth_core').addHandler(CoreLogHandler(node.log))
        executor.add_node(node)
        if node.config.inputs.autostart:
            node.autostart()
        else:
            node.get_logger().info('waiting to be configured (autostart is false)')
        executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except RuntimeError:
        # A signal invalidates the context under whatever call is on its way.
        if rclpy.ok():
            raise
    finally:
        # `ros2 launch` passes Ctrl-C on a second time; it must not break the clean-up.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        ended = node is None or node.stop(LONGEST_GOODBYE)
        executor.shutdown()
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()
    if not ended:
        # An engine cannot be interrupted in the middle of a run, and nobody waits for its result.
        os._exit(0)
    return 0


def _refuse(error: Exception) -> int:
    """Say what is wrong with how the node was started; return the exit code."""
    rclpy.logging.get_logger('nndepth').fatal(printable(describe(error)))
    return 1
