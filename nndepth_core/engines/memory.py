"""Checks whether a processing size is possible, before the memory runs out."""

from __future__ import annotations

from pathlib import Path

from nndepth_core.files.picture import MAX_PIXELS

# Beyond this the images hold no more information, so that larger sizes only cost time.
LARGEST_ENLARGEMENT = 4
ALWAYS_ALLOWED = 4_000_000

_MEMINFO = Path('/proc/meminfo')
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
    cure = 'set a smaller processing size (0: that of the images)'
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
        raise ValueError(
            f'processing at {size[0]}x{size[1]} takes at least {needed / 1e9:.1f} GB of memory '
            f'and {available / 1e9:.1f} GB are free; {cure}'
        )


def available_memory() -> int | None:
    """Bytes that this process may still allocate; None if the system does not tell."""
    try:
        lines = _MEMINFO.read_text().splitlines()
    except OSError:
        return None
    values = dict(line.split(':', 1) for line in lines)
    available = [1024 * int(values['MemAvailable'].split()[0])] if 'MemAvailable' in values else []
    for limit, used, freeable in (
        ('memory.max', 'memory.current', 'inactive_file'),
        (
            'memory/memory.limit_in_bytes',
            'memory/memory.usage_in_bytes',
            'total_inactive_file',
        ),
    ):
        try:
            statistics = (_CGROUP / limit).with_name('memory.stat').read_text().splitlines()
            cache = dict(line.split() for line in statistics).get(freeable, '0')
            room = int((_CGROUP / limit).read_text()) - int((_CGROUP / used).read_text())
        except (OSError, ValueError):  # there is no such control group, or it has no limit ('max')
            continue
        available.append(room + int(cache))
    return min(available, default=None)
