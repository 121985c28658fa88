"""Checks whether a processing size is possible, before the memory runs out."""

from __future__ import annotations

import math
import resource
from pathlib import Path

from nndepth_core.files.picture import MAX_PIXELS

# Beyond this the images hold no more information, so that larger sizes only cost time.
LARGEST_ENLARGEMENT = 4
ALWAYS_ALLOWED = 4_000_000
_SMALLEST = 64
"""The smallest side in pixels that is worth to be proposed."""

_MARGIN = 0.9
"""The share of the free memory that a proposed size needs."""
_PROC = Path('/proc')
_CGROUP = Path('/sys/fs/cgroup')


def check_processing_size(
    size: tuple[int, int], images: tuple[int, int], bytes_per_pixel: int
) -> None:
    """Refuse a size that would take far too long or need more memory than there is.

    Args:
        size: (width, height) at which the model would work.
        images: (width, height) of the images.
        bytes_per_pixel: the bytes that the model needs at least for each pixel of `size`.

    Raises:
        ValueError: the size is much larger than the images, or needs more than the free memory.
    """
    cure = 'set a smaller processing_size (0: that of the images)'
    pixels = size[0] * size[1]
    if pixels > max(LARGEST_ENLARGEMENT * images[0] * images[1], ALWAYS_ALLOWED):
        raise ValueError(
            f'processing size is {size[0]}x{size[1]} and the images are {images[0]}x{images[1]}; '
            f'more than {LARGEST_ENLARGEMENT} times their pixels only cost time and memory: {cure}'
        )
    _check_memory(size, bytes_per_pixel, cure)


def check_fixed_size(size: tuple[int, int], bytes_per_pixel: int) -> None:
    """Refuse a model whose only size is larger than any image or needs more than the memory.

    Args:
        size: (width, height) to which the model is fixed.
        bytes_per_pixel: the bytes that the model needs at least for each pixel of `size`.

    Raises:
        ValueError: the size is too large.
    """
    cure = 'export the model at a smaller or a free size'
    if size[0] * size[1] > MAX_PIXELS:
        raise ValueError(
            f'its input is fixed to {size[0]}x{size[1]}, more than the {MAX_PIXELS} pixels of the '
            f'largest image; {cure}'
        )
    _check_memory(size, bytes_per_pixel, cure)


def _check_memory(size: tuple[int, int], bytes_per_pixel: int, cure: str) -> None:
    needed, available = size[0] * size[1] * bytes_per_pixel, available_memory()
    if available is not None and needed > available:
        # what is free changes from one moment to the next
        width, height = largest_size(size, _MARGIN * available / bytes_per_pixel)
        enough = f', enough for {width}x{height}' if min(width, height) >= _SMALLEST else ''
        raise ValueError(
            f'processing at {size[0]}x{size[1]} takes at least {needed / 1e9:.1f} GB of memory '
            f'and {available / 1e9:.1f} GB are free{enough}; {cure}'
        )


def largest_size(size: tuple[int, int], pixels: float) -> tuple[int, int]:
    """The largest (width, height) with the aspect ratio of `size` and at most so many pixels."""
    scale = math.sqrt(max(0.0, pixels) / (size[0] * size[1]))
    return math.floor(size[0] * scale), math.floor(size[1] * scale)


def available_memory() -> int | None:
    """Bytes that this process may still allocate; None if the system does not tell.

    It is the least of what the system has free, what the control groups of this process (as
    containers and services have them) leave, and its own limit of address space (`ulimit -v`).
    """
    rooms = [_free_in_system(), _room_in_address_space()]
    for root, files, path in _control_groups():
        folders = [root.joinpath(*path[:depth]) for depth in range(len(path) + 1)]
        rooms += [_room_in_group(folder, files) for folder in folders]
    return min((room for room in rooms if room is not None), default=None)


def _free_in_system() -> int | None:
    return _kilobytes(_PROC / 'meminfo', 'MemAvailable')


def _room_in_address_space() -> int | None:
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    used = _kilobytes(_PROC / 'self/status', 'VmSize')
    return None if limit == resource.RLIM_INFINITY or used is None else limit - used


def _kilobytes(file: Path, name: str) -> int | None:
    """Read an entry such as 'MemAvailable:  2000 kB' of a file of the system, in bytes."""
    try:
        values = dict(line.split(':', 1) for line in file.read_text().splitlines())
        return 1024 * int(values[name].split()[0])
    except (OSError, ValueError, KeyError):
        return None


def _control_groups() -> list[tuple[Path, tuple[str, str, str], tuple[str, ...]]]:
    """Both kinds of control groups: the root, its files, and the path of this process in it.

    A container may see the path of its host, where no such folder exists: such folders are passed
    over, and the root, which is then the container's own, is always looked at.
    """
    paths: dict[str, tuple[str, ...]] = {}
    try:
        for line in (_PROC / 'self/cgroup').read_text().splitlines():
            _, controllers, path = line.split(':', 2)
            paths |= dict.fromkeys(controllers.split(','), tuple(path.strip('/').split('/')))
    except (OSError, ValueError):
        paths = {}
    return [
        (_CGROUP, ('memory.max', 'memory.current', 'inactive_file'), paths.get('', ())),
        (
            _CGROUP / 'memory',
            ('memory.limit_in_bytes', 'memory.usage_in_bytes', 'total_inactive_file'),
            paths.get('memory', ()),
        ),
    ]


def _room_in_group(folder: Path, files: tuple[str, str, str]) -> int | None:
    limit, used, freeable = files
    try:
        statistics = (folder / 'memory.stat').read_text().splitlines()
        cache = dict(line.split() for line in statistics).get(freeable, '0')
        room = int((folder / limit).read_text()) - int((folder / used).read_text())
    except (OSError, ValueError):  # there is no such control group, or it has no limit ('max')
        return None
    return room + int(cache)
