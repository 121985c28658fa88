"""Cameras and video files, as cv2.VideoCapture opens both.

A camera goes on while a picture is worked on. A thread reads it, so that no picture waits in the
driver, and only the newest waits here: what is shown is never older than one estimate takes.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from nndepth_core.pacing import Mailbox
from nndepth_core.view.sink import SourceLostError

os.environ.setdefault('OPENCV_FFMPEG_LOGLEVEL', '-8')  # quiet: the errors here say it

_UNREADABLE = 'give a video that OpenCV can read, for instance MP4 with H.264'


class Picture(NamedTuple):
    """A picture of a camera or video: uint8 RGB (H, W, 3), and its time in nanoseconds."""

    rgb: np.ndarray
    stamp: int


def is_live(source: str) -> bool:
    """Whether a source is a camera: its number, its device or a URL, and no video file."""
    return not Path(source).is_file()


@contextmanager
def pictures(source: str) -> Iterator[Iterator[Picture]]:
    """Give the pictures of a camera, always the newest, or all those of a video file.

    Args:
        source: the number, device or URL of a camera, or a video file.

    Raises:
        ValueError: it cannot be opened.
        SourceLostError: while pictures are taken: the camera gives no more.
    """
    capture = _open(source)
    if not is_live(source):
        try:
            yield _of_video(capture, source)
        finally:
            capture.release()
        return
    reader = _Reader(capture, source)
    try:
        yield iter(reader)
    finally:
        reader.close()


def _open(source: str) -> cv2.VideoCapture:
    before = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # the error below says it
    try:
        capture = cv2.VideoCapture(int(source) if source.isdecimal() else source)
    finally:
        cv2.utils.logging.setLogLevel(before)
    if not capture.isOpened():
        cure = (
            'give the number of a camera that is plugged in and that no other program uses '
            '(`ls /dev/video*` lists them), its device or URL, or a video file'
        )
        if not is_live(source):
            cure = _UNREADABLE
        raise ValueError(f'camera {source} cannot be opened; {cure}')
    return capture


def _of_video(capture: cv2.VideoCapture, source: str) -> Iterator[Picture]:
    known, bgr = capture.read()
    if not known:
        raise ValueError(f'{source} holds no picture that can be read; {_UNREADABLE}')
    while known:
        yield Picture(_rgb(bgr), round(capture.get(cv2.CAP_PROP_POS_MSEC) * 1e6))
        known, bgr = capture.read()


class _Reader:
    """Reads a camera in a thread and keeps the newest picture."""

    def __init__(self, capture: cv2.VideoCapture, source: str) -> None:
        self._capture, self._source = capture, source
        self._mailbox: Mailbox[tuple[int, np.ndarray]] = Mailbox()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._read, name='camera', daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[Picture]:
        while (delivery := self._mailbox.get()) is not None:
            stamp, bgr = delivery[1]
            yield Picture(_rgb(bgr), stamp)
        raise SourceLostError(
            f'camera {self._source} gives no more pictures; see whether it is still connected'
        )

    def close(self) -> None:
        """Stop reading and let others use the camera."""
        self._closing.set()
        self._mailbox.close()
        self._thread.join()

    def _read(self) -> None:
        while not self._closing.is_set():
            known, bgr = self._capture.read()
            if not known:
                break
            self._mailbox.put((time.time_ns(), bgr))
        self._mailbox.close()
        self._capture.release()


def _rgb(bgr: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(bgr, cv2.COLOR_GRAY2RGB if bgr.ndim == 2 else cv2.COLOR_BGR2RGB)


def halves(wide: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cut the picture of a side-by-side camera (H, W, 3) into left and right (H, W / 2, 3).

    Raises:
        ValueError: the width is odd.
    """
    width = wide.shape[1]
    if width % 2 or width < 2:
        raise ValueError(
            f'the picture is {width} pixels wide, which cannot be halved; leave --split out '
            'unless left and right stand side by side'
        )
    left, right = np.split(wide, 2, axis=1)
    return np.ascontiguousarray(left), np.ascontiguousarray(right)
