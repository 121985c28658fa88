"""What is to be shown: image files, a video or a camera, in the shape that the model takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nndepth_core.data.image_files import ImagePairs, SingleImages
from nndepth_core.files.picture import MAX_PIXELS
from nndepth_core.spec import Task
from nndepth_core.view.capture import halves, is_live, pictures

SIDES = ('left', 'right')
"""The folders of a folder of pairs."""


@dataclass(frozen=True)
class Shot:
    """The images of one moment, which are not read yet.

    Attributes:
        name: what it is called in messages.
        read: reads a pair or a single image, uint8 RGB (H, W, 3) each.
        stamp: its time in nanoseconds; None if it has none.
    """

    name: str
    read: Callable[[], tuple[np.ndarray, ...]]
    stamp: int | None = None


@dataclass(frozen=True)
class Source:
    """The images to show.

    Attributes:
        total: how many there are; None if nobody knows.
        live: whether a camera takes them now.
        open: gives them one after the other.
    """

    total: int | None
    live: bool
    open: Callable[[], AbstractContextManager[Iterator[Shot]]]


def of_files(
    names: list[str], task: Task, title: str, split: bool, max_pixels: int = MAX_PIXELS
) -> Source:
    """List image files.

    Args:
        names: left and right images, or one source: files, folders or globs. A folder that holds
            the folders left and right is one of pairs, of which single images are the left.
        task: that of the model.
        title: of the model.
        split: whether left and right stand side by side in each image.
        max_pixels: larger files are refused before they are decoded.

    Raises:
        ValueError, FileNotFoundError: nothing is there, or it does not fit the model.
    """
    if len(names) == 1 and all((Path(names[0]) / side).is_dir() for side in SIDES):
        names = [str(Path(names[0]) / side) for side in SIDES]
        names = names if task == 'stereo' else names[:1]
    if len(names) == 2:
        if split:
            raise ValueError('--split is for one image of both cameras; give one, or leave it out')
        if task != 'stereo':
            raise ValueError(
                f'{title} takes single images and a pair is given; give one IMAGE (a folder or a '
                'quoted glob stands for several), or choose a stereo model by --model'
            )
        pairs = ImagePairs(names[0], names[1], max_pixels=max_pixels)
        return _of_list(pairs.names, lambda index: (pairs[index].left, pairs[index].right))
    pair = 'LEFT and RIGHT, a folder with left/ and right/, or '
    _check_single(task, title, split, 'one image is given', pair)
    images = SingleImages(names[0], max_pixels=max_pixels)
    return _of_list(images.names, lambda index: _parts(images[index].image, task, split))


def of_camera(name: str, task: Task, title: str, split: bool) -> Source:
    """Take the pictures of a camera or a video file; see `capture.pictures` and `of_files`."""
    _check_single(task, title, split, 'a camera gives one image at a time')

    @contextmanager
    def opened() -> Iterator[Iterator[Shot]]:
        with pictures(name) as taken:
            yield (
                Shot(
                    f'{number} of {name}',
                    lambda rgb=picture.rgb: _parts(rgb, task, split),  # type: ignore[misc]
                    picture.stamp,
                )
                for number, picture in enumerate(taken)
            )

    return Source(None, is_live(name), opened)


def _of_list(names: list[str], read: Callable[[int], tuple[np.ndarray, ...]]) -> Source:
    @contextmanager
    def opened() -> Iterator[Iterator[Shot]]:
        yield (
            Shot(name, lambda at=index: read(at))  # type: ignore[misc]
            for index, name in enumerate(names)
        )

    return Source(len(names), False, opened)


def _parts(image: np.ndarray, task: Task, split: bool) -> tuple[np.ndarray, ...]:
    """What the model takes of an image."""
    if not split:
        return (image,)
    parts = halves(image)
    return parts if task == 'stereo' else parts[:1]


def _check_single(task: Task, title: str, split: bool, given: str, pair: str = '') -> None:
    if task == 'stereo' and not split:
        raise ValueError(
            f'{title} takes pairs and {given}; give {pair}--split where left and right stand '
            'side by side in each image, or choose a model of single images by --model'
        )
