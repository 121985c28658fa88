"""Reading and writing files of images, disparities, depths and points."""

from __future__ import annotations

import functools
import glob
import logging
import math
import re
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np

from nndepth_core.camera import depth_in_millimetres
from nndepth_core.files import picture
from nndepth_core.files.picture import MAX_PIXELS
from nndepth_core.files.writing import write_at_once
from nndepth_core.plausibility import Once, UsedBits, stretch

_log = logging.getLogger(__name__)
_told = Once()

IMAGE_SUFFIXES = ('.png', '.jpg', '.jpeg', '.ppm', '.pgm', '.tif', '.tiff', '.bmp')
DISPARITY_SUFFIXES = ('.pfm', '.npy', '.png', '.pgm')
DEPTH_SUFFIXES = ('.pfm', '.npy', '.png', '.tif', '.tiff', '.pgm')

KITTI_SCALE = 256
UINT16_MAX = 65535

_PFM_HEADER = re.compile(
    rb'(P[Ff])\s+(\d{1,9})\s+(\d{1,9})\s+([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\r?\s'
)
_LONGEST_PFM_HEADER = 4096


def read_image(path: str | Path, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Read a picture as uint8 RGB (H, W, 3).

    Grey is repeated to three channels, 16-bit values lose their lower byte, alpha is dropped.
    Pixels come as they are stored, whatever orientation EXIF asks for: that is what a calibration
    describes.

    Args:
        path: a JPEG, PNG, TIFF, BMP or PNM.
        max_pixels: larger pictures are refused before they are decoded.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no such picture, a damaged or too large one.
    """
    return cv2.cvtColor(_decode(path, cv2.IMREAD_COLOR, max_pixels), cv2.COLOR_BGR2RGB)


def read_pair(
    left: str | Path, right: str | Path, max_pixels: int = MAX_PIXELS
) -> tuple[np.ndarray, np.ndarray]:
    """Read the left and the right picture, see `read_images`."""
    one, other = read_images(left, right, max_pixels=max_pixels)
    return one, other


def read_images(*paths: str | Path, max_pixels: int = MAX_PIXELS) -> list[np.ndarray]:
    """Read pictures of one scene as `read_image` does, but 16-bit values by the bits they use.

    Cameras of 10 or 12 bits leave the upper ones of 16 empty. All pictures are stretched alike.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a file is no such picture, a damaged or too large one.
    """
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH
    images = [_decode(path, flags, max_pixels) for path in paths]
    used = UsedBits()
    for path, image in zip(paths, images, strict=True):
        if image.dtype == np.uint16:
            used.see(int(image.max()))
        elif image.dtype != np.uint8:
            raise ValueError(f'{path} holds {image.dtype}; give pictures of 8 or 16 bits')
    for finding in _told(used.findings()):
        _log.warning(finding.text)
    return [
        cv2.cvtColor(
            image if image.dtype == np.uint8 else stretch(image, used.bits), cv2.COLOR_BGR2RGB
        )
        for image in images
    ]


def read_pixels(path: str | Path, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Read a picture as it is stored: 8 or 16 bits, (H, W) or (H, W, C) with colours as BGR(A).

    Args:
        path: a JPEG, PNG, TIFF, BMP or PNM.
        max_pixels: larger pictures are refused before they are decoded.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no such picture, a damaged or too large one.
    """
    return _decode(path, cv2.IMREAD_UNCHANGED, max_pixels)


def write_image(path: str | Path, image: np.ndarray) -> None:
    """Write uint8 RGB (H, W, 3) or grey (H, W) in the format of the suffix."""
    _encode(path, image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR))


def read_pfm(path: str | Path) -> np.ndarray:
    """Read a portable float map as float32, (H, W) or (H, W, 3); NaN and infinities are kept.

    The magnitude of the header's scale is ignored, as every publisher of disparities does; its
    sign gives the byte order. Source: http://www.pauldebevec.com/Research/HDR/PFM/

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no PFM, or one that is cut short.
    """
    data = Path(path).read_bytes()
    header = _PFM_HEADER.match(data[:_LONGEST_PFM_HEADER])
    if header is None:
        raise ValueError(f'{path} does not begin with the header of a PFM file')
    kind, width, height, scale = header.groups()
    shape = (int(height), int(width)) + ((3,) if kind == b'PF' else ())
    count = math.prod(shape)
    if count == 0:
        raise ValueError(f'{path} claims {shape[1]}x{shape[0]} pixels; the file is damaged')
    if len(data) - header.end() < 4 * count:
        raise ValueError(
            f'{path} holds {len(data) - header.end()} bytes of pixels, {4 * count} are due; '
            'the file is cut short'
        )
    values = np.frombuffer(data, '<f4' if float(scale) < 0 else '>f4', count, header.end())
    return values.reshape(shape)[::-1].astype(np.float32)


def write_pfm(path: str | Path, values: np.ndarray) -> None:
    """Write (H, W) or (H, W, 3) as a little-endian PFM, bottom row first."""
    kind = 'Pf' if values.ndim == 2 else 'PF'
    header = f'{kind}\n{values.shape[1]} {values.shape[0]}\n-1.0\n'.encode()
    write_at_once(path, header + values[::-1].astype('<f4').tobytes(), lasting=False)


def write_kitti(path: str | Path, disparity: np.ndarray) -> None:
    """Write disparity (H, W) as KITTI's 16-bit PNG: pixels * 256, 0 where unknown.

    Known disparities below 1/256 px are stored as 1/256 px, for 0 means unknown.

    Raises:
        ValueError: a disparity is larger than 255.996 px, which the format cannot hold.
    """
    known = np.isfinite(disparity)
    coded = np.rint(np.where(known, disparity, 0).astype(np.float64) * KITTI_SCALE)
    if coded.max(initial=0) > UINT16_MAX:
        raise ValueError(
            f'the largest disparity is {coded.max() / KITTI_SCALE:.3f} px and a KITTI PNG holds '
            'at most 255.996 px; write pfm or npy'
        )
    _encode(path, np.where(known, np.maximum(coded, 1), 0).astype(np.uint16))


def read_disparity(
    path: str | Path, scale: float | None = None, max_pixels: int = MAX_PIXELS
) -> np.ndarray:
    """Read a disparity map as float32 (H, W) pixels, NaN where unknown.

    Args:
        path: .pfm or .npy (not finite: unknown), or .png or .pgm (0: unknown).
        scale: stored value of one pixel of disparity; None takes 1 for .pfm and .npy and
            KITTI's 256 for 16-bit pictures. An 8-bit picture does not tell it.
        max_pixels: larger pictures are refused before they are decoded.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not a map of one channel, or an 8-bit picture without scale.
    """
    if scale is not None and not 0 < scale < math.inf:
        raise ValueError(f'disparity scale is {scale}; it must be positive and finite')
    suffix = Path(path).suffix.lower()
    if suffix == '.pfm':
        stored, default = read_pfm(path), 1
    elif suffix == '.npy':
        stored, default = _read_npy(path), 1
    elif suffix in DISPARITY_SUFFIXES:
        stored, default = _read_coded(path, scale, max_pixels)
    else:
        raise ValueError(f'{path} is no disparity map; give {", ".join(DISPARITY_SUFFIXES)}')
    if stored.ndim != 2:
        raise ValueError(f'{path} has the shape {stored.shape}; a disparity map has one channel')
    disparity = stored.astype(np.float32) / np.float32(scale or default)
    disparity[~np.isfinite(disparity)] = np.nan
    return disparity


def write_disparity(path: str | Path, disparity: np.ndarray) -> None:
    """Write disparity (H, W): .pfm and .npy as float32 with NaN, .png in KITTI's coding."""
    if Path(path).suffix.lower() == '.png':
        write_kitti(path, disparity)
    else:
        write_map(path, disparity)


def write_map(path: str | Path, values: np.ndarray) -> None:
    """Write a map (H, W) as it is, float32: .pfm or .npy."""
    suffix = Path(path).suffix.lower()
    if suffix == '.pfm':
        write_pfm(path, values)
    elif suffix == '.npy':
        file = BytesIO()
        np.save(file, values.astype(np.float32))
        write_at_once(path, file.getvalue(), lasting=False)
    else:
        raise ValueError(f'{path}: maps are written as .pfm, .npy or .png')


def read_depth(path: str | Path, scale: float = 1000) -> np.ndarray:
    """Read a depth map as float32 (H, W) metres, NaN where unknown: not finite or not positive.

    Args:
        path: .pfm or .npy in metres, or a picture: of 16 bits and one channel, or of four
            channels of 8 bits, which together are one float32 in metres (TartanAir 2).
        scale: stored value of one metre in a picture of 16 bits.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no depth map.
    """
    readers = {'.pfm': read_pfm, '.npy': _read_npy}
    stored = readers.get(Path(path).suffix.lower(), read_pixels)(path)
    if stored.dtype == np.uint8 and stored.shape[2:] == (4,):
        stored = np.ascontiguousarray(stored).view('<f4')[..., 0]
    elif stored.dtype == np.uint16:
        stored = stored / np.float32(scale)
    if stored.ndim != 2 or stored.dtype == np.uint8:
        raise ValueError(
            f'{path} holds {stored.dtype} of the shape {stored.shape}; a depth map has one '
            'channel of 16 bits or more'
        )
    depth = stored.astype(np.float32)
    return np.where(np.isfinite(depth) & (depth > 0), depth, np.float32(np.nan))


def write_depth(path: str | Path, depth: np.ndarray) -> None:
    """Write depth (H, W) in metres.

    .pfm and .npy keep float32 with the REP-117 values; .png holds 16-bit millimetres, where
    everything unknown, infinite or beyond 65.535 m is 0.
    """
    if Path(path).suffix.lower() == '.png':
        _encode(path, depth_in_millimetres(depth))
    else:
        write_map(path, depth)


def write_ply(path: str | Path, points: np.ndarray, rgb: np.ndarray) -> None:
    """Write points (..., 3) with their uint8 colours (..., 3) as binary PLY, the finite ones."""
    finite = np.isfinite(points).all(axis=-1)
    vertices = np.empty(int(finite.sum()), [('xyz', '<f4', 3), ('rgb', 'u1', 3)])
    vertices['xyz'], vertices['rgb'] = points[finite], rgb[finite]
    properties = [f'property float {name}' for name in 'xyz']
    properties += [f'property uchar {name}' for name in ('red', 'green', 'blue')]
    header = ['ply', 'format binary_little_endian 1.0', f'element vertex {len(vertices)}']
    text = '\n'.join([*header, *properties, 'end_header', ''])
    write_at_once(path, text.encode() + vertices.tobytes(), lasting=False)


def list_files(source: str, suffixes: Sequence[str] = IMAGE_SUFFIXES) -> list[Path]:
    """List what `source` names: one file, the files of a folder, or those of a glob, sorted.

    Raises:
        FileNotFoundError: nothing is found.
    """
    path = Path(source)
    if path.is_dir():
        found = [file for file in path.iterdir() if is_one_of(file, suffixes)]
    elif path.exists():
        found = [path]
    else:
        names = map(Path, glob.glob(source, recursive=True))
        found = [file for file in names if file.is_file()]
    if not found:
        wanted = f' of the kinds {", ".join(suffixes)}' if path.is_dir() else ''
        raise FileNotFoundError(f'{source}: no file{wanted} there; give a file, folder or glob')
    return sorted(found)


def is_one_of(path: Path, suffixes: Sequence[str]) -> bool:
    """Tell whether it is a file of the kinds; hidden files, which systems add, are none."""
    return path.suffix.lower() in suffixes and path.name[0] != '.' and path.is_file()


def match_files(*lists: Sequence[Path]) -> list[tuple[Path, ...]]:
    """Match the files of several lists: by name where they carry the same names, else by order.

    Raises:
        ValueError: the lists differ in length, or share only part of their names.
    """
    counts = [len(files) for files in lists]
    if len(set(counts)) > 1:
        raise ValueError(
            f'{" and ".join(str(count) for count in counts)} files cannot be matched one to one; '
            f'the first are {", ".join(str(files[0]) for files in lists)}'
        )
    by_name = [{file.stem: file for file in files} for files in lists]
    names = [set(files) for files in by_name]
    shared, every = set.intersection(*names), set.union(*names)
    if not shared or any(len(files) < counts[0] for files in by_name):
        return list(zip(*lists, strict=True))
    if shared != every:
        odd = ', '.join(sorted(every - shared)[:4])
        raise ValueError(f'only some of the files have partners of the same name; without: {odd}')
    return [tuple(files[name] for files in by_name) for name in by_name[0]]


def distinct_names(paths: Sequence[Path]) -> list[str]:
    """Name each path by its stem, with as many parent folders as tell them all apart.

    Where files differ only in their suffix, as a.png and a.jpg do, names have that too: a_png.

    Raises:
        ValueError: two paths are the same, or would be but for an underscore.
    """
    bare = [path.with_suffix('') for path in paths]
    if len(set(bare)) < len(bare):
        bare = [path.with_name(f'{path.stem}_{path.suffix[1:]}') for path in paths]
    parts = [path.parts for path in bare]
    for depth in range(1, max(map(len, parts), default=1) + 1):
        names = ['_'.join(part[-depth:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    owners: dict[str, Path] = {}
    for name, path in zip(names, paths, strict=True):
        if name in owners:
            raise ValueError(
                f'{owners[name]} and {path} would both be called {name}; rename one, or leave it '
                'out'
            )
        owners[name] = path
    return names


def _read_npy(path: str | Path) -> np.ndarray:
    try:
        # Mapped, a file is compared with the size its header claims before memory is taken.
        stored = np.load(path, mmap_mode='r')
        usable = isinstance(stored, np.ndarray) and stored.size and stored.dtype.kind in 'biuf'
    except OSError:
        raise
    except Exception as error:  # a damaged header breaks NumPy in many places
        raise ValueError(
            f'{path} is not an array written by numpy.save, or is cut short or damaged'
        ) from error
    if not usable:
        raise ValueError(f'{path} is not an array of numbers written by numpy.save')
    return np.squeeze(np.array(stored))


def _read_coded(path: str | Path, scale: float | None, max_pixels: int) -> tuple[np.ndarray, int]:
    stored = read_pixels(path, max_pixels)
    if stored.ndim == 3:
        if (stored != stored[..., :1]).any():
            raise ValueError(f'{path} is a colour picture; a disparity map has one channel')
        stored = stored[..., 0]
    if scale is None and stored.dtype == np.uint8:
        raise ValueError(
            f'{path} has 8 bits, which do not tell its scale; give the stored value of one pixel '
            'of disparity (Middlebury: 8 for 2001, 4 for quarter-size 2003, 3 for third-size 2006)'
        )
    return np.where(stored > 0, stored.astype(np.float32), np.nan), KITTI_SCALE


def _decode(path: str | Path, flags: int, max_pixels: int) -> np.ndarray:
    try:
        image, header = picture.decode(Path(path).read_bytes(), flags, max_pixels)
    except picture.PictureError as error:
        raise ValueError(f'{path} cannot be read as an image: it {error}') from error
    if header.orientation != 1:
        _tell_of_orientation()
    return image


@functools.cache
def _tell_of_orientation() -> None:
    """Warn once, since each file of a folder of photographs would cause the same warning."""
    _log.warning(
        'a picture asks by EXIF to be turned before it is shown; pixels are taken as they are '
        'stored, which is what a calibration describes (turn the files if they lie on the side)'
    )


def _encode(path: str | Path, image: np.ndarray) -> None:
    try:
        _, data = cv2.imencode(Path(path).suffix, image)
    except cv2.error as error:
        raise ValueError(f'{path}: OpenCV cannot write this format; use .png') from error
    write_at_once(path, data.tobytes(), lasting=False)
