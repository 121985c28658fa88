"""Heights of points above the ground of another frame, by tf2 where that is installed."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from rclpy.time import Time

from nndepth_core.clouds import Plane

_PATIENCE = 0.1
"""Seconds to wait for a transform that has not come yet."""
_LOOK = 0.005


class FrameError(ValueError):
    """Where a frame lies is not known; the message says why."""


class Frames:
    """Listens to the transforms of a robot.

    Args:
        node: subscribes to them.
        patience: seconds to wait for one, by a clock that never stands still.
    """

    def __init__(self, node: Node, patience: float = _PATIENCE) -> None:
        from tf2_ros import Buffer, TransformException, TransformListener

        self._unknown: type[Exception] = TransformException
        self._buffer = Buffer()
        self._listener = TransformListener(self._buffer, node)
        self._patience = patience

    def plane(self, frame: str, header: Any) -> Plane:
        """Tell what a point in the frame of a header has to do with its height in another frame.

        Args:
            frame: the other frame; its z points up.
            header: of the points; the frames stand to each other as they did at its stamp.

        Returns:
            See `Plane`.

        Raises:
            FrameError: the transform does not come in time.
        """
        find: Callable[..., Any] = self._buffer.lookup_transform
        end = time.monotonic() + self._patience
        while True:
            try:
                found = find(frame, header.frame_id, Time.from_msg(header.stamp)).transform
                break
            except self._unknown as error:
                if time.monotonic() > end:
                    raise FrameError(
                        f'where {header.frame_id!r} stands in {frame!r}, the cloud.frame, is not '
                        f'known in time ({error})'
                    ) from error
            time.sleep(_LOOK)
        q = found.rotation
        return (
            2 * (q.x * q.z - q.w * q.y),
            2 * (q.y * q.z + q.w * q.x),
            1 - 2 * (q.x * q.x + q.y * q.y),
            found.translation.z,
        )
