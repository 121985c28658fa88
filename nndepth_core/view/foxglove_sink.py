"""Shows frames in Foxglove through its SDK, where no ROS runs: live by a server, or in a file.

Topics and frames are named as those of the nodes. Foxglove's 3D panel stands upright, so
the optical frame hangs below one with x forward and z up (REP-103).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event
from typing import Any

import foxglove
import numpy as np
from foxglove import channels
from foxglove.messages import (
    CameraCalibration,
    CompressedImage,
    FrameTransform,
    FrameTransforms,
    PackedElementField,
    PackedElementFieldNumericType,
    PointCloud,
    Pose,
    Quaternion,
    RawImage,
    Timestamp,
    Vector3,
)
from foxglove.websocket import ChannelView, Client, ServerListener

from nndepth_core.camera import PinholeCamera
from nndepth_core.view.frame import Frame, jpeg
from nndepth_core.view.sink import UnwritableError

logging.getLogger('foxglove').setLevel(logging.CRITICAL)  # its errors are exceptions here

UPRIGHT, OPTICAL = 'camera', 'camera_optical'
BACKLOG = 16
"""Messages that wait for a slow viewer, a little more than a frame has; older ones are dropped."""
STATS_SCHEMA = {
    'title': 'nndepth.Stats',
    'type': 'object',
    'properties': {
        'density': {'type': 'number', 'description': 'share of pixels that are known, 0..1'},
        'milliseconds': {'type': 'object', 'additionalProperties': {'type': 'number'}},
    },
}
_FLOAT, _BYTE = PackedElementFieldNumericType.Float32, PackedElementFieldNumericType.Uint8
_FIELDS = [
    *(PackedElementField(name=name, offset=4 * at, type=_FLOAT) for at, name in enumerate('xyz')),
    *(
        PackedElementField(name=name, offset=12 + at, type=_BYTE)
        for at, name in enumerate(('red', 'green', 'blue', 'alpha'))
    ),
]
_STRIDE = 16


@contextmanager
def saved(path: Path) -> Iterator[FoxgloveSink]:
    """Write an MCAP file; an OSError says that it cannot be written."""
    context = foxglove.Context()
    writer = foxglove.open_mcap(path, context=context)
    try:
        yield _FileSink(context, writer)
    except BaseException:
        with suppress(RuntimeError):  # the error before is the one to tell
            writer.close()
        raise
    with _told_as_io():
        writer.close()


@contextmanager
def served(host: str, port: int, live: bool, say: Callable[[str], None]) -> Iterator[FoxgloveSink]:
    """Serve frames over WebSocket.

    Args:
        host: the address to listen at.
        port: the port; 0 takes a free one.
        live: whether frames are of now; others wait for a viewer and come at their recorded pace.
        say: takes where the server is.

    Raises:
        ValueError: the port cannot be used.
    """
    context, viewers = foxglove.Context(), _Viewers()
    try:
        server = foxglove.start_server(
            name='nndepth',
            host=host,
            port=port,
            context=context,
            server_listener=viewers,
            message_backlog_size=BACKLOG,
        )
    except (RuntimeError, OSError) as error:
        raise ValueError(
            f'{host}:{port} cannot be served ({error}); give another --port '
            '(0: a free one), or a --host that is an address of this machine'
        ) from error
    try:
        say(
            f'serving ws://{host}:{server.port}; open it in Foxglove, or see {server.app_url()}; '
            'Ctrl-C ends it'
        )
        yield FoxgloveSink(context) if live else _RecordedSink(context, viewers)
    finally:
        server.stop()


class FoxgloveSink:
    """Logs frames to the channels of a context; see `Sink`."""

    def __init__(self, context: foxglove.Context) -> None:
        self._context = context
        self._channels: dict[str, Any] = {}

    def show(self, frame: Frame) -> None:
        """Log all that is known of a frame, under its stamp or else the present time."""
        stamp = time.time_ns() if frame.stamp is None else frame.stamp
        logged = _logged(frame, Timestamp(*divmod(stamp, 1_000_000_000)))
        for topic, (make_channel, make_message) in logged.items():
            if topic not in self._channels:
                self._channels[topic] = make_channel(topic, context=self._context)
            channel = self._channels[topic]
            if channel.has_sinks():
                channel.log(make_message(), log_time=stamp)

    def stay(self) -> None:
        """Return at once: a file holds what it got, and a live view has ended."""


class _FileSink(FoxgloveSink):
    """Writes a file; the SDK tells only in `flush` what goes wrong."""

    def __init__(self, context: foxglove.Context, writer: foxglove.MCAPWriter) -> None:
        super().__init__(context)
        self._writer = writer

    def show(self, frame: Frame) -> None:
        super().show(frame)
        with _told_as_io():
            self._writer.flush()


class _Viewers(ServerListener):
    """Hears of viewers, in a thread of the server.

    Attributes:
        came: set when a viewer asks for a topic.
    """

    def __init__(self) -> None:
        self.came = Event()

    def on_subscribe(self, client: Client, channel: ChannelView) -> None:
        """Note that a viewer wants frames."""
        self.came.set()


class _RecordedSink(FoxgloveSink):
    """Serves frames that were recorded, at their pace, to somebody who looks."""

    def __init__(self, context: foxglove.Context, viewers: _Viewers) -> None:
        super().__init__(context)
        self._viewers = viewers
        self._last: Frame | None = None
        self._start: tuple[float, int] | None = None

    def show(self, frame: Frame) -> None:
        if self._last is None:
            super().show(frame)  # which tells viewers what there is to ask for
            self._viewers.came.wait()
        if frame.stamp is not None:
            self._wait_for(frame.stamp)
        self._last = frame
        super().show(frame)

    def stay(self) -> None:
        """Show the last frame to everybody who comes, until it is interrupted."""
        while self._last is not None:
            self._viewers.came.wait()
            self._viewers.came.clear()
            super().show(self._last)

    def _wait_for(self, stamp: int) -> None:
        """Wait until it is as long after the first frame as when it was recorded."""
        now = time.monotonic()
        since, first = self._start = self._start or (now, stamp)
        time.sleep(max(0.0, since + (stamp - first) * 1e-9 - now))


def _logged(frame: Frame, stamp: Timestamp) -> dict[str, tuple[Any, Callable[[], Any]]]:
    """What there is to log of a frame: topic -> the class of its channel, and its message.

    Messages are made only for those that somebody sees.
    """
    about: dict[str, Any] = {'timestamp': stamp, 'frame_id': OPTICAL}
    found: dict[str, tuple[Any, Callable[[], Any]]] = {
        '/tf': (channels.FrameTransformsChannel, lambda: _transforms(stamp)),
    }

    def add_picture(topic: str, picture: Callable[[], np.ndarray]) -> None:
        found[topic] = (
            channels.CompressedImageChannel,
            lambda: CompressedImage(data=jpeg(picture()), format='jpeg', **about),
        )

    def add_map(topic: str, values: np.ndarray | None) -> None:
        if values is not None:
            found[topic] = channels.RawImageChannel, lambda: _raw(values, about)

    def add_camera(topic: str, camera: PinholeCamera | None) -> None:
        if camera is not None:
            found[topic] = (
                channels.CameraCalibrationChannel,
                lambda: _calibration(camera, about),
            )

    side = '' if frame.right is None else '/left'
    add_picture(f'{side}/image_rect/compressed', lambda: frame.image)
    add_camera(f'{side}/camera_info', frame.camera)
    if (right := frame.right) is not None:
        add_picture('/right/image_rect/compressed', lambda: right)
        add_camera('/right/camera_info', frame.right_camera)
    if frame.values is not None:
        add_picture(f'/{frame.output}/image_color', frame.colored)
    add_map('/confidence', frame.confidence)
    add_map('/depth/image', frame.depth)
    if frame.depth is not None:
        add_camera('/depth/camera_info', frame.camera)
    if frame.has_points:
        found['/points2'] = channels.PointCloudChannel, lambda: _cloud(*frame.points, about)
    found['/stats'] = (
        _stats_channel,
        lambda: {'density': frame.density, 'milliseconds': dict(frame.milliseconds)},
    )
    return found


def _stats_channel(topic: str, context: foxglove.Context) -> foxglove.Channel:
    return foxglove.Channel(topic, schema=STATS_SCHEMA, context=context)


def _transforms(stamp: Timestamp) -> FrameTransforms:
    """The optical frame in the upright one."""
    half = 0.5
    transform = FrameTransform(
        timestamp=stamp,
        parent_frame_id=UPRIGHT,
        child_frame_id=OPTICAL,
        translation=Vector3(),
        rotation=Quaternion(x=-half, y=half, z=-half, w=half),
    )
    return FrameTransforms(transforms=[transform])


def _calibration(camera: PinholeCamera, about: dict[str, Any]) -> CameraCalibration:
    p = camera.projection()
    return CameraCalibration(
        width=camera.width,
        height=camera.height,
        distortion_model='plumb_bob',
        D=[0.0] * 5,
        K=[*p[0:3], *p[4:7], *p[8:11]],
        R=np.eye(3).ravel().tolist(),
        P=p,
        **about,
    )


def _raw(values: np.ndarray, about: dict[str, Any]) -> RawImage:
    height, width = values.shape
    data = np.ascontiguousarray(values, np.dtype('<f4')).tobytes()
    return RawImage(
        width=width, height=height, encoding='32FC1', step=4 * width, data=data, **about
    )


def _cloud(points: np.ndarray, colors: np.ndarray, about: dict[str, Any]) -> PointCloud:
    data = np.empty((len(points), _STRIDE), np.uint8)
    data[:, :12] = np.ascontiguousarray(points, np.dtype('<f4')).view(np.uint8)
    data[:, 12:15], data[:, 15] = colors, 255
    pose = Pose(position=Vector3(), orientation=Quaternion(w=1))
    return PointCloud(
        pose=pose, point_stride=_STRIDE, fields=_FIELDS, data=data.tobytes(), **about
    )


@contextmanager
def _told_as_io() -> Iterator[None]:
    """Let the SDK's errors of writing be those of the system."""
    try:
        yield
    except RuntimeError as error:
        raise UnwritableError(error) from error
