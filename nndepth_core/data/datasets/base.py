"""What all data sets on disk have in common: finding files, reading them, naming missing ones."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol, TypeVar

import numpy as np

from nndepth_core import calibration, io
from nndepth_core.camera import PinholeCamera, StereoCamera
from nndepth_core.data.sample import MonoSample, Sample, StereoSample

SampleT = TypeVar('SampleT', bound=Sample, covariant=True)

_FIELD = re.compile(r'\{(\w+)\}')


class DatasetError(ValueError):
    """A data set lacks files, or one of its files cannot be used; the message names the file."""


@dataclass(frozen=True)
class Entry:
    """The files of one sample.

    Attributes:
        name: a name that is unique in its data set and can be part of a file name.
        files: the path of each kind of file.
        fields: the values of the layout's fields in its paths, such as the scene and the frame.
    """

    name: str
    files: Mapping[str, Path]
    fields: Mapping[str, str]

    def __getitem__(self, kind: str) -> Path:
        return self.files[kind]


class Source(Protocol[SampleT]):
    """Any map-style data set: one of this package, or a class of your own with these members.

    Classes that derive from this one can be named without their module in settings. Reading a
    damaged sample raises DatasetError.
    """

    name: str

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> SampleT: ...


StereoSource = Source[StereoSample]
MonoSource = Source[MonoSample]


class Dataset(Source[SampleT], ABC):
    """A map-style data set over files in the layout of their publisher.

    A subclass sets `name` and `source`, finds its `entries` in its constructor, and defines how
    one of them is read.

    Attributes:
        name: the name of the data set in messages.
        source: where users can get it.
        root: its folder.
        entries: its samples.
    """

    name: str = ''
    source: str = ''

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root).expanduser()
        self.entries: list[Entry] = []
        if not self.root.is_dir():
            raise DatasetError(
                f'{self.name}: there is no folder {self.root}; get the data set from '
                f'{self.source} and give its folder as root'
            )

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> SampleT:
        """Read one sample.

        Raises:
            DatasetError: one of its files is missing or damaged, or its arrays differ in size.
        """
        entry = self.entries[index]
        try:
            return self.read(entry)
        except (ValueError, OSError) as error:
            raise DatasetError(f'{self.name}, sample {entry.name}: {error}') from error

    def files(self, index: int) -> Mapping[str, Path]:
        """Return the path of each kind of file of one sample."""
        return self.entries[index].files

    @abstractmethod
    def read(self, entry: Entry) -> SampleT:
        """Read the files of one sample."""

    def find(
        self,
        layout: Mapping[str, str],
        optional: Collection[str] = (),
        **fields: str | Sequence[str],
    ) -> list[Entry]:
        """Find the samples whose files have the paths of a layout.

        Args:
            layout: the path below the root for each kind of file, in which '{field}' stands for
                a name or a part of one. The files of the first kind are searched for; their
                fields give the paths of the others.
            optional: the kinds that a sample may lack.
            fields: the value of a field, or the values to keep; an empty list keeps all.

        Returns:
            The samples in the order of their paths; their names hold the fields that vary.

        Raises:
            DatasetError: nothing is found, or a file is missing.
        """
        fixed = {key: value for key, value in fields.items() if isinstance(value, str)}
        kept = {key: value for key, value in fields.items() if value and key not in fixed}
        templates = {kind: _fill(path, fixed) for kind, path in layout.items()}
        first = next(iter(templates.values()))
        pattern, regex = _pattern(first), _regex(first)
        matches = (
            regex.fullmatch(path.relative_to(self.root).as_posix())
            for path in sorted(self.root.glob(pattern))
            if path.name[0] != '.'  # macOS puts such files beside all others on foreign disks
        )
        found = [match.groupdict() for match in matches if match]
        if not found:
            raise DatasetError(
                f'{self.name}: there is nothing at {self.root / pattern}; get the data set from '
                f'{self.source} and unpack it as published'
            )
        for key, values in kept.items():
            there = sorted({match[key] for match in found})
            for value in values:
                if value not in there:
                    raise DatasetError(
                        f'{self.name}: {key} {value!r} is not in {self.root}; there are '
                        f'{_some(there)}; get others from {self.source}'
                    )
        found = [match for match in found if all(match[key] in kept[key] for key in kept)]
        entries = [
            Entry(
                '_'.join(match.values()),
                {kind: self.root / _fill(path, match) for kind, path in templates.items()},
                fixed | match,
            )
            for match in found
        ]
        return self.complete(entries, optional)

    def fitting(self, *layouts: Mapping[str, str]) -> Mapping[str, str]:
        """Return the first of several layouts that matches files in the folder, or the last."""
        for layout in layouts[:-1]:
            if any(self.root.glob(_pattern(next(iter(layout.values()))))):
                return layout
        return layouts[-1]

    def complete(self, entries: Sequence[Entry], optional: Collection[str] = ()) -> list[Entry]:
        """Check that the files of all samples exist; optional files that are missing are left out.

        Raises:
            DatasetError: a file is missing.
        """
        folders = {path.parent for entry in entries for path in entry.files.values()}
        there = {path for folder in folders if folder.is_dir() for path in folder.iterdir()}
        missing = [
            (kind, path)
            for entry in entries
            for kind, path in entry.files.items()
            if kind not in optional and path not in there
        ]
        if missing:
            kind, path = missing[0]
            more = f', and {len(missing) - 1} more files are' if missing[1:] else ', is'
            raise DatasetError(
                f'{self.name}: {path}, a file of the kind {kind}{more} missing; get the data set '
                f'from {self.source} and unpack all of it below {self.root}'
            )
        return [
            replace(
                entry, files={kind: path for kind, path in entry.files.items() if path in there}
            )
            for entry in entries
        ]


class StereoDataset(Dataset[StereoSample]):
    """Rectified pairs with disparity: the files 'left', 'right' and 'disparity'.

    A subclass overrides what cannot be read from a picture or a plain disparity map.
    """

    def read(self, entry: Entry) -> StereoSample:
        """Read the files of one sample.

        Raises:
            ValueError: a file is damaged, or the arrays differ in size.
        """
        left, right = self.read_images(entry)
        disparity = self.read_disparity(entry)
        occluded = self.read_occluded(entry, disparity)
        height, width = left.shape[:2]
        _check_size(entry['left'], left, right=right, disparity=disparity, occluded=occluded)
        camera = self.read_camera(entry, width, height)
        return StereoSample(left, right, disparity, occluded, camera, entry.name)

    def read_images(self, entry: Entry) -> tuple[np.ndarray, np.ndarray]:
        """Read left and right, uint8 RGB (H, W, 3)."""
        return io.read_pair(entry['left'], entry['right'])

    def read_disparity(self, entry: Entry) -> np.ndarray:
        """Read the disparity, float32 (H, W) in pixels, NaN where unknown."""
        return io.read_disparity(entry['disparity'])

    def read_occluded(self, entry: Entry, disparity: np.ndarray) -> np.ndarray | None:
        """Read where the right image does not show the surface: bool (H, W); None: not known."""
        if 'right_disparity' not in entry.files:
            return None
        return occluded_by(disparity, io.read_disparity(entry['right_disparity']))

    def read_camera(self, entry: Entry, width: int, height: int) -> StereoCamera | None:
        """Read the stereo camera from the file 'calibration'; None if there is none."""
        if 'calibration' not in entry.files:
            return None
        return calibration.read(entry['calibration'], (width, height))


class StereoDepthDataset(StereoDataset):
    """Rectified pairs with depth, from which the camera gives the disparity."""

    @abstractmethod
    def read_depth(self, entry: Entry) -> np.ndarray:
        """Read the left image's depth along Z, float32 (H, W) in metres, NaN where unknown."""

    @abstractmethod
    def read_camera(self, entry: Entry, width: int, height: int) -> StereoCamera:
        """Read the stereo camera."""

    def read_disparity(self, entry: Entry) -> np.ndarray:
        """Compute the disparity, float32 (H, W) in pixels, NaN where unknown."""
        depth = self.read_depth(entry)
        height, width = depth.shape
        return self.read_camera(entry, width, height).depth_to_disparity(depth)


class MonoDataset(Dataset[MonoSample]):
    """Images with depth: the file 'image' and the files that `read_depth` reads.

    Attributes:
        meaning: what the depth of its samples means.
    """

    meaning: Literal['metric', 'relative_inverse'] = 'metric'

    def read(self, entry: Entry) -> MonoSample:
        """Read the files of one sample.

        Raises:
            ValueError: a file is damaged, or the arrays differ in size.
        """
        image, depth = self.read_image(entry), self.read_depth(entry)
        _check_size(entry['image'], image, depth=depth)
        height, width = depth.shape
        camera = self.read_camera(entry, width, height)
        return MonoSample(image, depth, self.meaning, entry.name, camera)

    def read_image(self, entry: Entry) -> np.ndarray:
        """Read the image, uint8 RGB (H, W, 3)."""
        return io.read_image(entry['image'])

    @abstractmethod
    def read_depth(self, entry: Entry) -> np.ndarray:
        """Read the depth, float32 (H, W) with the meaning of the data set, NaN where unknown."""

    def read_camera(self, entry: Entry, width: int, height: int) -> PinholeCamera | None:
        """Make the camera of images of width x height; None where the data set does not say."""
        return None


def ideal_camera(
    width: int,
    height: int,
    focal: float,
    baseline: float,
    centre: tuple[float, float] | None = None,
) -> StereoCamera:
    """Make two equal cameras with square pixels, whose axes go through the centre of the image.

    Args:
        width: of the image, in pixels.
        height: of the image, in pixels.
        focal: the focal length in pixels.
        baseline: in metres.
        centre: the principal point of both cameras in pixels, if it is not the image's centre.
    """
    cx, cy = centre or ((width - 1) / 2, (height - 1) / 2)
    return StereoCamera(PinholeCamera(width, height, focal, focal, cx, cy), baseline, cx)


def occluded_by(disparity: np.ndarray, right_disparity: np.ndarray) -> np.ndarray:
    """Find left pixels whose match is outside the right image or behind a surface in front of it.

    Args:
        disparity: float32 (H, W) in pixels, of the left image, NaN where unknown.
        right_disparity: the same for the right image.

    Raises:
        ValueError: they differ in size.
    """
    if right_disparity.shape != disparity.shape:
        raise ValueError(
            f'the disparities are of {disparity.shape} pixels on the left and of '
            f'{right_disparity.shape} on the right; both must have one size'
        )
    height, width = disparity.shape
    known = np.isfinite(disparity)
    target = np.rint(np.arange(width) - np.where(known, disparity, 0)).astype(int)
    inside = (target >= 0) & (target < width)
    seen = right_disparity[np.arange(height)[:, None], target.clip(0, width - 1)]
    return known & (~inside | (seen > disparity + 1))


def _check_size(path: Path, image: np.ndarray, **others: np.ndarray | None) -> None:
    height, width = image.shape[:2]
    for what, array in others.items():
        if array is not None and array.shape[:2] != (height, width):
            raise ValueError(
                f'{path} has {width}x{height} pixels and its {what} '
                f'{array.shape[1]}x{array.shape[0]}; both must have one size'
            )


def _fill(template: str, fields: Mapping[str, str]) -> str:
    return _FIELD.sub(lambda match: fields.get(match[1], match[0]), template)


def _pattern(template: str) -> str:
    return _FIELD.sub('*', template)


def _regex(template: str) -> re.Pattern[str]:
    """Turn a template into a regular expression; a field matches inside one path component."""
    seen: set[str] = set()

    def group(field: str) -> str:
        again = field in seen
        seen.add(field)
        return f'(?P={field})' if again else f'(?P<{field}>[^/]+)'

    parts = _FIELD.split(template)
    return re.compile(
        ''.join(group(part) if i % 2 else re.escape(part) for i, part in enumerate(parts))
    )


def _some(names: Sequence[str], most: int = 8) -> str:
    return ', '.join(names[:most]) + (', ...' if names[most:] else '')
