"""Rectification against OpenCV, the formulas of the lenses, and a rig whose images are known."""

from __future__ import annotations

import functools
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nndepth_core import CalibrationError
from nndepth_core.camera import PinholeCamera
from nndepth_core.rectification.extrinsics import Lens, rectify_pair
from nndepth_core.rectification.raw_camera import RawCamera
from nndepth_core.rectification.rectifier import (
    Rectifier,
    clear_uncovered,
    rectified,
    rectifier_of,
)
from nndepth_core.testing.raw_rig import LENSES, RawRig, distort, rotation, undistort

MODELS = tuple(LENSES)
LARGEST_ERROR = 0.05  # of a pixel


@functools.cache
def rig_of(model: str) -> RawRig:
    return RawRig.of(model, 240, 180)


@functools.cache
def images_of(model: str) -> tuple[np.ndarray, ...]:
    """Raw left and right, and those rectified."""
    rig = rig_of(model)
    raw = rig.raw_images()
    return *raw, *rectified([Rectifier(camera) for camera in rig.cameras], raw)


def sources(camera: RawCamera) -> np.ndarray:
    """Where a rectifier takes each pixel from (H, W, 2): it is told by images of coordinates."""
    height, width = camera.intrinsics.height, camera.intrinsics.width
    y, x = np.mgrid[:height, :width].astype(np.float32)
    return np.stack([Rectifier(camera)(x), Rectifier(camera)(y)], axis=-1)


def formula(camera: RawCamera) -> np.ndarray:
    """The same by the definition of K, D, R and P."""
    seen, raw = camera.rectified, camera.intrinsics
    y, x = np.mgrid[: seen.height, : seen.width]
    rays = np.stack([(x - seen.cx) / seen.fx, (y - seen.cy) / seen.fy, np.ones(x.shape)], -1)
    rays = rays @ np.reshape(camera.r, (3, 3))  # of its transpose, since vectors are rows
    there = distort(camera.model, np.array(camera.d), rays[..., :2] / rays[..., 2:])
    return there * (raw.fx, raw.fy) + (raw.cx, raw.cy)


def shift(image: np.ndarray, other: np.ndarray, block: int = 30) -> np.ndarray:
    """(x, y) by which blocks of the other image stand farther right and lower, by gradients."""
    image, other = (i[..., 0].astype(np.float64) for i in (image, other))
    dy, dx = np.gradient((image + other) / 2)
    found = []
    for top in range(12, image.shape[0] - block - 12, block):
        for left in range(12, image.shape[1] - block - 12, block):
            window = np.s_[top : top + block, left : left + block]
            slopes = np.stack([dx[window].ravel(), dy[window].ravel()], axis=1)
            found.append(np.linalg.lstsq(slopes, (image - other)[window].ravel(), rcond=None)[0])
    return np.array(found)


# --- maps ----------------------------------------------------------------------------------------


@pytest.mark.parametrize('model', MODELS)
def test_pixels_come_from_where_the_formulas_say(model):
    for camera in rig_of(model).cameras:
        inner = np.s_[6:-6, 6:-6]
        off = np.abs(sources(camera) - formula(camera))[inner]
        assert off.max() < 1 / 64 + 1e-3  # the steps of the maps are 1/32


@pytest.mark.parametrize('model', MODELS)
def test_images_are_those_of_opencv(model):
    camera, raw = rig_of(model).left, images_of(model)[0]
    k, p = (
        np.array([[view.fx, 0, view.cx], [0, view.fy, view.cy], [0, 0, 1]])
        for view in (camera.intrinsics, camera.rectified)
    )
    module = cv2.fisheye if model == 'equidistant' else cv2
    r, size = np.reshape(camera.r, (3, 3)), (raw.shape[1], raw.shape[0])
    maps = module.initUndistortRectifyMap(k, np.array(camera.d), r, p, size, cv2.CV_32FC1)
    expected = cv2.remap(raw, *maps, cv2.INTER_LINEAR)
    off = np.abs(images_of(model)[2].astype(int) - expected)
    assert off.max() <= 2


@given(
    model=st.sampled_from(MODELS),
    x=st.floats(-0.7, 0.7),
    y=st.floats(-0.7, 0.7),
    strength=st.floats(-1, 1),
)
@settings(max_examples=100, deadline=None)
def test_a_lens_and_its_inverse_cancel(model, x, y, strength):
    """The lens of the test rig is that of OpenCV, and so is what follows from it."""
    d, ray = strength * np.array(LENSES[model]), np.array([[x, y]])
    there = distort(model, d, ray)
    np.testing.assert_allclose(undistort(model, d, there), ray, atol=1e-9)
    if model == 'equidistant':
        found = cv2.fisheye.distortPoints(ray[None], np.eye(3), d)[0]
    else:
        point, nothing = np.array([[[x, y, 1.0]]]), np.zeros(3)
        found = cv2.projectPoints(point, nothing, nothing, np.eye(3), d)[0][0]
    np.testing.assert_allclose(found, there, atol=1e-9)


# --- a rig whose images are known ----------------------------------------------------------------


@pytest.mark.parametrize('model', MODELS)
def test_rectified_images_are_what_pinhole_cameras_see(model):
    for found, expected in zip(
        images_of(model)[2:], rig_of(model).rectified_images(), strict=True
    ):
        assert np.abs(shift(expected, found)).max() < LARGEST_ERROR


@pytest.mark.parametrize('model', MODELS)
def test_true_disparity_joins_the_rectified_images(model):
    rig, (left, right) = rig_of(model), images_of(model)[2:]
    height, width = left.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    joined = cv2.remap(right, x - rig.disparity(), y, cv2.INTER_CUBIC)
    assert np.abs(shift(left, joined)[8:]).max() < LARGEST_ERROR  # the first see no right image


@pytest.mark.parametrize('model', MODELS)
def test_extrinsics_of_a_pair_are_enough(model):
    """The rig that cv2.stereoRectify finds has other views; rows agree and depth is true."""
    rig = rig_of(model)
    size = rig.left.intrinsics.width, rig.left.intrinsics.height
    lenses = [Lens(k_of(camera), camera.model, camera.d) for camera in rig.cameras]
    turn, apart = rig.pose
    found = rectify_pair(*lenses, size, tuple(turn.reshape(-1)), tuple(apart))
    cameras = [
        RawCamera.from_matrices(lens.k, lens.model, lens.d, r, p, size)
        for lens, (r, p) in zip(lenses, found, strict=True)
    ]
    # The plane in the frame of the new left camera, which stands where the old one does.
    turned = np.reshape(cameras[0].r, (3, 3)) @ np.reshape(rig.left.r, (3, 3)).T
    a, b, c = turned @ (-rig.slope, -rig.tilt, 1.0)
    other = RawRig(*cameras, rig.distance / c, -a / c, -b / c)
    assert other.camera.baseline == pytest.approx(0.12)
    assert other.camera.cx_offset == 0
    left, right = rectified([Rectifier(camera) for camera in cameras], images_of(model)[:2])
    y, x = np.mgrid[: size[1], : size[0]].astype(np.float32)
    joined = cv2.remap(right, x - other.disparity(), y, cv2.INTER_CUBIC)
    assert np.abs(shift(left, joined)[8:]).max() < LARGEST_ERROR


def k_of(camera: RawCamera) -> tuple[float, ...]:
    raw = camera.intrinsics
    return raw.fx, 0.0, raw.cx, 0.0, raw.fy, raw.cy, 0.0, 0.0, 1.0


@pytest.mark.parametrize('binning', [1, 2])
def test_a_window_is_the_same_part_of_the_whole(binning):
    """Rectifying a window gives what the whole shows there, also with joined pixels."""
    rig = rig_of('plumb_bob')
    window = rig.cut(40, 30, 160, 120, binning)
    whole, part = formula(rig.left), formula(window.left)
    expected = (whole[30:150, 40:200] - (40, 30))[::binning, ::binning] / binning
    np.testing.assert_allclose(part, expected, atol=1e-9)
    off = np.abs(sources(window.left) - part)[8:-8, 8:-8]
    assert off.max() < 1 / 64 + 1e-3


def test_a_camera_without_distortion_and_rotation_changes_nothing():
    camera = PinholeCamera(64, 48, 50.0, 50.0, 31.5, 23.5)
    raw = RawCamera(camera, 'plumb_bob', (0.0,) * 5, (1, 0, 0, 0, 1, 0, 0, 0, 1), camera)
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    np.testing.assert_array_equal(Rectifier(raw)(image), image)
    assert Rectifier(raw).covered is None


def test_maps_of_a_camera_are_computed_once(monkeypatch):
    camera = rig_of('plumb_bob').left
    first = rectifier_of(camera)
    monkeypatch.setattr(cv2, 'initUndistortRectifyMap', None)
    assert rectifier_of(replace(camera)) is first


def test_what_the_raw_image_does_not_show_is_unknown():
    camera = rig_of('equidistant').left
    wide = replace(camera, rectified=replace(camera.rectified, fx=120.0, fy=120.0))
    rectifier = Rectifier(wide)
    seen = formula(wide)
    inside = ((seen >= 0) & (seen <= (239, 179))).all(axis=-1)
    assert 0.3 < inside.mean() < 0.9
    assert (rectifier.covered == inside).mean() > 0.99
    for shape in ((180, 240), (90, 120)):
        values = np.ones(shape, np.float32)
        clear_uncovered(values, (rectifier,))
        step = 180 // shape[0]
        assert (np.isnan(values) == ~rectifier.covered[::step, ::step]).all()
    values = np.ones((2, 2), np.float32)
    clear_uncovered(values, ())
    assert np.isfinite(values).all()


# --- what cannot be rectified --------------------------------------------------------------------


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'d': ()}, 'the distortion D is missing, and rectification needs it'),
        ({'model': 'fov'}, "the distortion model is 'fov'; known are plumb_bob, rational_poly"),
        (
            {'d': (0.0,) * 8},
            'D has 8 entries, and plumb_bob has 4 or 5; is rational_polynomial meant',
        ),
        ({'d': (0.0, 0.0, 0.0, float('nan'))}, 'D is .* every entry must be a finite number'),
        ({'r': (0.0,) * 9}, 'R is all zeros, and rectification needs it'),
        ({'r': (1.0, 0.5, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)}, 'is no rotation'),
        ({'r': (1.0,)}, 'nine finite numbers'),
        ({'k': (0.0,) * 9}, 'K has fx=0.0, fy=0.0, .*is the camera calibrated'),
        ({'k': (1.0,)}, 'K has 1 entries'),
        ({'p': (0.0,) * 12}, r'P\[0\] and P\[5\] must be positive'),
        ({'size': (40000, 48)}, 'images of 40000x48 cannot be rectified'),
        ({'size': (30000, 30000)}, 'images of 30000x30000 cannot be rectified'),
    ],
)
def test_cameras_that_cannot_be_rectified(changes, message):
    matrices = {
        'k': (50.0, 0.0, 32.0, 0.0, 50.0, 24.0, 0.0, 0.0, 1.0),
        'model': 'plumb_bob',
        'd': (0.1, 0.0, 0.0, 0.0),
        'r': (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0),
        'p': (50.0, 0.0, 32.0, 0.0, 0.0, 50.0, 24.0, 0.0, 0.0, 0.0, 1.0, 0.0),
        'size': (64, 48),
    }
    assert RawCamera.from_matrices(**matrices).model == 'plumb_bob'
    with pytest.raises(CalibrationError, match=message):
        RawCamera.from_matrices(**{**matrices, **changes})


def test_images_of_another_size_are_refused():
    with pytest.raises(CalibrationError, match='raw images of 240x180 and these are 64x48'):
        rectifier_of(rig_of('plumb_bob').left)(np.zeros((48, 64, 3), np.uint8))


@pytest.mark.parametrize(
    ('right', 'turn', 'apart', 'message'),
    [
        ('equidistant', np.eye(3), (-0.1, 0, 0), 'left lens is plumb_bob and the right one equid'),
        ('plumb_bob', np.eye(3), (0, 0, 0), 'T between the cameras is 0'),
        ('plumb_bob', np.eye(2), (-0.1, 0, 0), 'have 4 and 3 entries'),
    ],
)
def test_pairs_that_cannot_be_rectified(right, turn, apart, message):
    k = k_of(rig_of('plumb_bob').left)
    lenses = [Lens(k, model, LENSES[model]) for model in ('plumb_bob', right)]
    with pytest.raises(CalibrationError, match=message):
        rectify_pair(*lenses, (240, 180), tuple(np.ravel(turn)), apart)


def test_vertical_pairs_are_refused_in_one_sentence():
    k = k_of(rig_of('plumb_bob').left)
    lens = Lens(k, 'plumb_bob', LENSES['plumb_bob'])
    turn = rotation(0.01, 0.0, 0.0)
    found = rectify_pair(lens, lens, (240, 180), tuple(turn.reshape(-1)), (0.0, -0.12, 0.0))
    cameras = [RawCamera.from_matrices(k, lens.model, lens.d, r, p, (240, 180)) for r, p in found]
    with pytest.raises(CalibrationError, match=r'this is a vertical pair: .* turn both images by'):
        _ = RawRig(*cameras).camera
