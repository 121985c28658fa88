"""Shows frames in the rerun viewer, or writes them to a file for it.

The world is the frame from which the cameras project: x right, y down, z forward (REP-103 for
optical frames). Depth lies under the pinhole of its camera, so that the viewer puts each pixel
where it is.
"""

from __future__ import annotations

import os
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

import numpy as np

os.environ.setdefault('RUST_LOG', 'off')  # of rerun, whose errors are exceptions here

import rerun as rr
import rerun.blueprint as rrb

from nndepth_core.camera import PinholeCamera
from nndepth_core.view.frame import Frame, gray, jpeg
from nndepth_core.view.sink import UnwritableError, ViewerClosedError

APPLICATION = 'nndepth'
STAMP, NUMBER = 'stamp', 'frame'
"""The timelines: of stamps, and of frames without one."""
IMAGE, RIGHT, POINTS, STATS = 'world/camera', 'world/right', 'world/points', 'stats'
DEPTH, CONFIDENCE, COLORED = f'{IMAGE}/depth', f'{IMAGE}/confidence', f'{IMAGE}/colors'
_RADIUS = -1.5
"""Of points; by the viewer's rule, a negative number is in pixels of the screen."""
_BLOCK = 1 << 20
_PLANE = 0.25
"""Metres at which the viewer draws the image before its camera."""


@contextmanager
def saved(path: Path) -> Iterator[RerunSink]:
    """Write a recording; an OSError says that it cannot be written.

    The thread in which rerun writes a file tells nobody of a full disk, and hangs then. So it
    writes to a pipe, and what comes out is written here.
    """
    with TemporaryDirectory() as folder:
        pipe = Path(folder) / path.name
        os.mkfifo(pipe)
        writer = _Writer(pipe, path)
        recording = rr.RecordingStream(APPLICATION)
        recording.save(pipe)
        try:
            yield _FileSink(recording, writer)
        finally:
            recording.disconnect()
            writer.join()
        writer.check()


@contextmanager
def connected(url: str) -> Iterator[RerunSink]:
    """Show frames in a viewer that runs; a ValueError says that it does not answer."""
    try:
        place = urlsplit(url)
        socket.create_connection((place.hostname or '', place.port or 9876), timeout=5).close()
        recording = rr.RecordingStream(APPLICATION)
        recording.connect_grpc(url)
    except (OSError, ValueError, RuntimeError) as error:
        raise ValueError(
            f'no rerun viewer answers at {url}: {error}; start one there by `rerun`, and give '
            'the URL that it prints, such as rerun+http://127.0.0.1:9876/proxy'
        ) from error
    yield from _showing(recording, f'the viewer at {url}')


@contextmanager
def spawned(memory_limit: str) -> Iterator[RerunSink]:
    """Open a viewer, or show frames in the one that is open; it stays open afterwards."""
    recording = rr.RecordingStream(APPLICATION)
    try:
        recording.spawn(memory_limit=memory_limit)
    except (RuntimeError, ValueError) as error:
        raise ValueError(
            f'the rerun viewer cannot be started: {error}; give --save FILE.rrd'
        ) from error
    yield from _showing(recording, 'the rerun viewer')


def _showing(recording: Any, viewer: str) -> Iterator[RerunSink]:
    try:
        yield RerunSink(recording, viewer)
    finally:
        recording.disconnect()


class RerunSink:
    """Logs frames to a recording; see `Sink`.

    Args:
        recording: takes the frames.
        viewer: what shows them, as it is called in messages.
    """

    def __init__(self, recording: rr.RecordingStream, viewer: str) -> None:
        self._recording, self._viewer = recording, viewer
        self._count = 0

    def show(self, frame: Frame) -> None:
        """Log all that is known of a frame, under its stamp or else its number."""
        log = self._recording.log
        if not self._count:
            log('world', rr.ViewCoordinates.RDF, static=True)
            self._recording.send_blueprint(layout(frame))
        if frame.stamp is None:
            self._recording.set_time(NUMBER, sequence=self._count)
        else:
            self._recording.set_time(STAMP, timestamp=np.datetime64(frame.stamp, 'ns'))
        self._count += 1
        self._log_camera(IMAGE, frame.image, frame.camera)
        if frame.right is not None:
            self._log_camera(RIGHT, frame.right, frame.right_camera)
        if frame.values is not None:
            log(COLORED, rr.EncodedImage(contents=jpeg(frame.colored()), media_type='image/jpeg'))
        if frame.depth is not None:
            log(DEPTH, rr.DepthImage(frame.depth, meter=1.0, depth_range=frame.depth_range))
        if frame.confidence is not None:
            log(CONFIDENCE, rr.Image(gray(frame.confidence)))
        if frame.has_points:
            points, colors = frame.points
            log(POINTS, rr.Points3D(points, colors=colors, radii=_RADIUS))
        for stage, milliseconds in frame.milliseconds.items():
            log(f'{STATS}/milliseconds/{stage}', rr.Scalars(milliseconds))
        log(f'{STATS}/density', rr.Scalars(frame.density))
        self._sent()

    def stay(self) -> None:
        """Return at once: viewer and file hold what they got."""

    def _sent(self) -> None:
        """Wait until the viewer has the frame, so that none pile up before a slow one."""
        try:
            self._recording.flush()
        except RuntimeError as error:
            raise ViewerClosedError(
                f'{self._viewer} is gone, and the frames from here on were not shown ({error}); '
                'if nobody closed it, see what it printed, or give --save FILE.rrd'
            ) from error

    def _log_camera(self, path: str, image: np.ndarray, camera: PinholeCamera | None) -> None:
        if camera is not None:
            p = np.reshape(camera.projection(), (3, 4))
            self._recording.log(path, rr.Transform3D(translation=camera.position))
            self._recording.log(
                path,
                rr.Pinhole(
                    image_from_camera=p[:, :3],
                    resolution=(camera.width, camera.height),
                    camera_xyz=rr.ViewCoordinates.RDF,
                    image_plane_distance=_PLANE,
                ),
            )
        encoded = rr.EncodedImage(contents=jpeg(image), media_type='image/jpeg')
        self._recording.log(f'{path}/image', encoded)


class _FileSink(RerunSink):
    """Writes a file."""

    def __init__(self, recording: rr.RecordingStream, writer: _Writer) -> None:
        super().__init__(recording, 'the recording')
        self._writer = writer

    def show(self, frame: Frame) -> None:
        """Log a frame; an OSError says that one of those before could not be written."""
        self._writer.check()
        super().show(frame)


class _Writer(threading.Thread):
    """Copies a pipe to a file to its end, and keeps what goes wrong."""

    def __init__(self, pipe: Path, path: Path) -> None:
        super().__init__(name='recording', daemon=True)
        self._pipe, self._path = pipe, path
        self._error: OSError | None = None
        self.start()

    def run(self) -> None:
        """Read all there is, also after an error, so that the other end never waits."""
        with self._pipe.open('rb') as source:
            try:
                with self._path.open('wb') as target:
                    shutil.copyfileobj(source, target)
            except OSError as error:
                self._error = error
                while source.read(_BLOCK):
                    pass

    def check(self) -> None:
        """Raise the error that came, if one did."""
        if self._error is not None:
            raise UnwritableError(self._error.strerror) from self._error


def layout(frame: Frame) -> rrb.Blueprint:
    """Lay out what a frame holds: pictures at the left, the world at the right."""
    pictures = [rrb.Spatial2DView(origin=f'{IMAGE}/image', name='image')]
    if frame.right is not None:
        pictures.append(rrb.Spatial2DView(origin=f'{RIGHT}/image', name='right image'))
    if frame.values is not None:
        name = frame.output.replace('_', ' ')
        pictures.append(rrb.Spatial2DView(origin=COLORED, name=name))
    if frame.depth is not None:
        pictures.append(rrb.Spatial2DView(origin=DEPTH, name='depth'))
    if frame.confidence is not None:
        pictures.append(rrb.Spatial2DView(origin=CONFIDENCE, name='confidence'))
    plots = rrb.Horizontal(
        rrb.TimeSeriesView(origin=f'{STATS}/milliseconds', name='milliseconds'),
        rrb.TimeSeriesView(origin=f'{STATS}/density', name='density'),
    )
    left = rrb.Vertical(rrb.Grid(*pictures, grid_columns=2), plots, row_shares=[3, 1])
    if frame.camera is None or not frame.has_points:
        return rrb.Blueprint(left, collapse_panels=True)
    eye = _eye(frame.camera, frame.depth_range[1])
    worlds = [
        rrb.Spatial3DView(
            origin='world',
            contents=[f'+ {shown}', f'+ {IMAGE}', f'+ {IMAGE}/image'],
            name=name,
            eye_controls=eye,
        )
        for name, shown in (('points', POINTS), ('depth image', DEPTH))
    ]
    right = rrb.Tabs(*worlds, active_tab=0)
    return rrb.Blueprint(rrb.Horizontal(left, right, column_shares=[2, 3]), collapse_panels=True)


def _eye(camera: PinholeCamera, far: float) -> rrb.EyeControls3D:
    """Look from above and behind the camera at what it sees."""
    x, y, z = camera.position
    return rrb.EyeControls3D(
        position=(x + 0.2 * far, y - 0.25 * far, z - 0.3 * far),
        look_target=(x, y, z + 0.4 * far),
        eye_up=(0, -1, 0),
    )
