"""Random and damaged messages for the functions that turn messages into images and cameras."""

from __future__ import annotations

import struct
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from nndepth_core.camera import CalibrationError
from nndepth_core.rectification.rectifier import Rectifier
from nndepth_core.testing.fuzzing import Target
from nndepth_ros.conversions import ConversionError, raw_camera, stereo_camera, to_rgb
from nndepth_ros.known_depths import depth_of_disparity, depth_of_image, points_of_cloud

_FIELDS = struct.Struct('<16sIIIB')
_DISPARITY = struct.Struct('<3f')
_CLOUD = struct.Struct('<IIIIB' + 3 * 'IB')
_CAMERA = struct.Struct('<II12dIIIIII')
_LENS = struct.Struct('<B26d')
_MODELS = ('plumb_bob', 'rational_polynomial', 'equidistant', 'fov')
_ENCODINGS = ('rgb8', 'mono8', 'mono16', 'bayer_rggb8', 'bayer_grbg16', 'yuv422_yuy2', '8UC4')


def conversion_target() -> Target:
    """Make images, camera_info, and depths of all kinds; only the fields of messages are used."""
    images = [
        b'i' + _FIELDS.pack(encoding.encode(), 4, 8, 64, 0) + bytes(64 * 4)
        for encoding in _ENCODINGS
    ]
    compressed = [b'c' + b'jpeg'.ljust(16, b'\0') + b'\xff\xd8' + bytes(64) + b'\xff\xd9']
    p = (500.0, 0.0, 320.0, 0.0, 0.0, 500.0, 240.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    cameras = [b'p' + _CAMERA.pack(640, 480, *p, 1, 1, 0, 0, 0, 0)]
    k, r, d = (*p[:3], *p[4:7], *p[8:11]), (1, 0, 0, 0, 1, 0, 0, 0, 1), (0.1, *[0.01] * 7)
    lenses = [b'l' + _LENS.pack(model, *k, *r, *d) + cameras[0][1:] for model in range(4)]
    depths = [
        b'd' + _FIELDS.pack(encoding.encode(), 4, 8, 32, 0) + bytes(32 * 4)
        for encoding in ('32FC1', '16UC1')
    ]
    disparities = [b's' + _DISPARITY.pack(500.0, 0.1, 1.0) + depths[0][1:]]
    clouds = [b'x' + _CLOUD.pack(2, 4, 16, 64, 0, 0, 7, 4, 7, 8, 7) + bytes(128)]
    seeds = [*images, *compressed, *cameras, *lenses, *depths, *disparities, *clouds]
    return Target(_read, seeds, (ConversionError, CalibrationError))


def _read(data: bytes, folder: Path) -> None:
    kind, rest = data[:1], data[1:]
    if kind == b'c':
        name = rest[:16].decode(errors='replace').strip('\0')
        to_rgb(SimpleNamespace(format=name, data=rest[16:]))
    elif kind == b'p' and len(rest) >= _CAMERA.size:
        _camera(rest)
    elif kind == b'l' and len(rest) >= _LENS.size + _CAMERA.size:
        _raw_camera(rest)
    elif kind == b'x' and len(rest) >= _CLOUD.size:
        points_of_cloud(_cloud(rest))
    elif kind == b's' and len(rest) >= _DISPARITY.size + _FIELDS.size:
        f, t, low = _DISPARITY.unpack_from(rest)
        image = _image(rest[_DISPARITY.size :])
        depth_of_disparity(SimpleNamespace(f=f, t=t, min_disparity=low, image=image))
    elif len(rest) >= _FIELDS.size:
        (depth_of_image if kind == b'd' else to_rgb)(_image(rest))


def _image(data: bytes) -> SimpleNamespace:
    name, height, width, step, big = _FIELDS.unpack_from(data)
    return SimpleNamespace(
        encoding=name.decode(errors='replace').strip('\0'),
        height=height,
        width=width,
        step=step,
        is_bigendian=big,
        data=data[_FIELDS.size :],
    )


def _cloud(data: bytes) -> SimpleNamespace:
    height, width, step, row, big, *layout = _CLOUD.unpack_from(data)
    fields = [
        SimpleNamespace(name=name, offset=offset, datatype=kind)
        for name, offset, kind in zip('xyz', layout[::2], layout[1::2], strict=True)
    ]
    return SimpleNamespace(
        height=height,
        width=width,
        point_step=step,
        row_step=row,
        is_bigendian=big,
        fields=fields,
        data=data[_CLOUD.size :],
    )


def _camera(data: bytes) -> None:
    left, p = _info(data), _info(data).p
    right = _info(data, p=[*p[:3], -60.0, *p[4:]])
    stereo_camera(left, right, left.width, left.height)


def _info(data: bytes, **changes: Any) -> SimpleNamespace:
    width, height, *values = _CAMERA.unpack_from(data)
    p, (bx, by, x, y, w, h) = values[:12], values[12:]
    roi = SimpleNamespace(x_offset=x, y_offset=y, width=w, height=h, do_rectify=False)
    fields = {'width': width, 'height': height, 'binning_x': bx, 'binning_y': by, 'roi': roi}
    return SimpleNamespace(**{**fields, 'p': p, 'k': [1.0] * 9, 'd': [], **changes})


def _raw_camera(data: bytes) -> None:
    model, *values = _LENS.unpack_from(data)
    name, counts = _MODELS[model % len(_MODELS)], (5, 8, 4, 4)
    d = values[18 : 18 + counts[model % len(counts)]]
    changes = {'distortion_model': name, 'k': values[:9], 'r': values[9:18], 'd': d}
    camera, _ = raw_camera(_info(data[_LENS.size :], **changes))
    Rectifier(camera)
