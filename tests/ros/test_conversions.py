"""Messages to numpy and back, with rclpy's classes and with those of the rosbags library."""

from __future__ import annotations

from typing import Any

import bags
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nndepth_core.camera import CalibrationError, PinholeCamera, StereoCamera
from nndepth_core.estimator import StereoResult
from nndepth_core.spec import ModelSpec
from nndepth_ros.conversions import (
    cloud_message,
    depth_camera_info,
    disparity_message,
    effective_camera,
    image_message,
    stamp_ns,
    stereo_camera,
    to_rgb,
)
from nndepth_ros.outputs import STEREO_OUTPUTS, OutputSettings
from nndepth_ros.stereo_pipeline import StereoInput, StereoPipeline

F = 500.0
P_LEFT = np.array([F, 0, 320, 0, 0, F, 240, 0, 0, 0, 1, 0], np.float64)
P_RIGHT = np.array([F, 0, 310, -60, 0, F, 240, 0, 0, 0, 1, 0], np.float64)


# --- calibration in ------------------------------------------------------------------------------


@given(
    focal=st.tuples(st.floats(50, 2000), st.floats(50, 2000)),
    centre=st.tuples(st.floats(-50, 900), st.floats(-50, 900)),
    offset=st.tuples(st.integers(0, 200), st.integers(0, 200)),
    binning=st.tuples(st.integers(0, 4), st.integers(0, 4)),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    whole=st.booleans(),
    point=st.tuples(st.floats(-5, 5), st.floats(-5, 5), st.floats(0.5, 50)),
)
@settings(max_examples=60, deadline=None)
def test_roi_and_binning_move_projections_as_they_move_pixels(
    library, focal, centre, offset, binning, size, whole, point
):
    (fx, fy), (cx, cy), (x, y, z) = focal, centre, point
    p = [fx, 0, cx, 0, 0, fy, cy, 0, 0, 0, 1, 0]
    factor = [max(1, value) for value in binning]
    width, height = size[0] * factor[0], size[1] * factor[1]
    if whole:
        offset = (0, 0)
        info = library.info(p, (height, width), binning=binning)
    else:
        info = library.info(p, (1000, 1000), roi=(*offset, width, height), binning=binning)
    camera = effective_camera(info, *size)
    u, v = fx * x / z + cx, fy * y / z + cy
    assert (camera.width, camera.height) == size
    assert camera.fx * x / z + camera.cx == pytest.approx((u - offset[0]) / factor[0], abs=1e-6)
    assert camera.fy * y / z + camera.cy == pytest.approx((v - offset[1]) / factor[1], abs=1e-6)


def test_stereo_camera_of_p(library):
    rig = stereo_camera(library.info(P_LEFT), library.info(P_RIGHT), 640, 480)
    assert rig == StereoCamera(PinholeCamera(640, 480, F, F, 320, 240), 0.12, 310)


@given(
    origin=st.floats(-1, 1),
    baseline=st.floats(0.05, 1),
    centres=st.tuples(st.floats(250, 390), st.floats(250, 390)),
    windows=st.tuples(st.integers(0, 50), st.integers(0, 50)),
    binning=st.integers(1, 4),
    point=st.tuples(st.floats(-2, 2), st.floats(-2, 2), st.floats(1, 20)),
)
@settings(max_examples=60, deadline=None)
def test_points_come_back_from_their_projections_by_both_infos(
    library, origin, baseline, centres, windows, binning, point
):
    """Wherever the frame's origin is, with any cx, ROI and binning of each side."""
    x, y, z = point
    infos, columns = [], []
    for at, cx, window in zip((origin, origin + baseline), centres, windows, strict=True):
        p = [F, 0, cx, -F * at, 0, F, 240, 0, 0, 0, 1, 0]
        infos.append(library.info(p, roi=(window, 20, 400, 400), binning=(binning, binning)))
        columns.append(((np.reshape(p, (3, 4)) @ (x, y, z, 1))[0] / z - window) / binning)
    rig = stereo_camera(*infos, 400 // binning, 400 // binning)
    assert rig.baseline == pytest.approx(baseline)
    disparity = np.array([[columns[0] - columns[1]]], np.float32)
    depth = float(rig.disparity_to_depth(disparity)[0, 0])
    assert depth == pytest.approx(z, rel=1e-2 if z > 5 * F * baseline / binning else 2e-3)
    seen = (columns[0] - rig.left.cx) / rig.left.fx * z + rig.left.position[0]
    assert seen == pytest.approx(x, abs=1e-9)


def test_k_is_never_used(library):
    k = [999, 0, 1, 0, 999, 1, 0, 0, 1]
    assert effective_camera(library.info(P_LEFT, k=k), 640, 480).fx == F


def _changed(p: np.ndarray, **entries: float) -> np.ndarray:
    changed = p.copy()
    for name, value in entries.items():
        changed[int(name[1:])] = value
    return changed


@pytest.mark.parametrize(
    ('left', 'right', 'says'),
    [
        (_changed(P_LEFT, p0=np.nan), P_RIGHT, 'left camera_info: fx is nan'),
        (P_LEFT, _changed(P_RIGHT, p2=np.inf), 'right camera_info: cx is inf'),
        (_changed(P_LEFT, p0=0), P_RIGHT, 'left camera_info: focal lengths are fx=0.0'),
        (P_LEFT, _changed(P_RIGHT, p5=-F), 'right camera_info: focal lengths are .* fy=-500.0'),
        (np.zeros(12), P_RIGHT, 'left camera_info: P is all zeros while K is given'),
        (P_LEFT, _changed(P_RIGHT, p3=0), r'baseline is 0 because P\[3\] puts both'),
        (P_LEFT, _changed(P_RIGHT, p3=60), r'baseline is -0.12 m: by P\[3\] .* swapped'),
        (P_LEFT, _changed(P_RIGHT, p3=np.nan), r'right camera_info: P\[3\] puts .* at nan m'),
        (
            P_LEFT,
            _changed(P_RIGHT, p3=0, p7=-60),
            'vertical pair: by P.7. the right .* 0.12 m bel',
        ),
    ],
)
def test_calibrations_that_cannot_be_are_refused(library, left, right, says):
    k = [F, 0, 320, 0, F, 240, 0, 0, 1]
    with pytest.raises(CalibrationError, match=says):
        stereo_camera(library.info(left, k=k), library.info(right), 640, 480)


def test_an_uncalibrated_camera_is_refused(library):
    with pytest.raises(CalibrationError, match='P is all zeros; the camera is not calibrated'):
        effective_camera(library.info(np.zeros(12)), 640, 480)


@pytest.mark.parametrize('options', [{}, {'binning': (2, 2)}, {'roi': (10, 10, 320, 240)}])
def test_images_of_another_size_than_described_are_refused(library, options):
    described = (320, 240) if options else (640, 480)
    with pytest.raises(CalibrationError, match='images of {}x{} but they are'.format(*described)):
        effective_camera(library.info(P_LEFT, **options), 641, 480)


# --- messages out --------------------------------------------------------------------------------

RIG = StereoCamera(PinholeCamera(6, 4, 50.0, 60.0, 2.5, 1.5), 0.2, 1.0)  # cx_offset 1.5


def _floats(message: Any) -> np.ndarray:
    return np.frombuffer(message.data, '<f4').reshape(message.height, -1)


def test_images_go_out_and_come_back(library):
    rgb = bags.shifted_pair()[0]
    header = library.header(7)
    message = image_message(library.types, header, rgb, 'rgb8')
    assert message.header is header
    assert (message.height, message.width, message.step) == (64, 96, 288)
    assert message.is_bigendian == 0
    np.testing.assert_array_equal(to_rgb(message), rgb)


def test_a_cut_out_of_an_array_goes_out_without_the_rest(library):
    values = np.arange(40, dtype=np.float32).reshape(5, 8)[:4, :6]
    message = image_message(library.types, library.header(0), values, '32FC1')
    assert message.step == 24
    np.testing.assert_array_equal(_floats(message), values)


def test_disparity_image_follows_stereo_image_proc(library):
    disparity = np.linspace(2, 25, 24, dtype=np.float32).reshape(4, 6)
    disparity[1, 2] = np.nan
    header = library.header(5_000_000_006)
    message = disparity_message(library.types, header, disparity, RIG, (1.0, 32.0), 0.0625)
    assert stamp_ns(message.header.stamp) == stamp_ns(message.image.header.stamp) == 5_000_000_006
    assert message.header.frame_id == bags.FRAME
    assert (message.f, message.t) == (50.0, pytest.approx(0.2))
    assert (message.min_disparity, message.max_disparity) == (-0.5, 30.5)
    assert message.delta_d == 0.0625
    window = message.valid_window
    assert (window.x_offset, window.y_offset, window.width, window.height) == (0, 0, 6, 4)
    assert message.image.encoding == '32FC1'
    values = _floats(message.image)
    assert values[1, 2] == message.min_disparity - 1
    known = np.isfinite(disparity)
    np.testing.assert_allclose(values[known], disparity[known] - 1.5, rtol=1e-6)
    depth = RIG.disparity_to_depth(disparity)
    np.testing.assert_allclose(message.f * message.t / values[known], depth[known], rtol=1e-6)
    assert np.isnan(disparity[1, 2]), 'the estimate itself must not change'


def test_cloud_layout_and_colours(library):
    rgb = np.zeros((4, 6, 3), np.uint8)
    rgb[2, 3] = (10, 20, 30)
    depth = np.full((4, 6), 2.0, np.float32)
    depth[0, 0], depth[0, 1], depth[0, 2] = np.nan, np.inf, -np.inf
    points = RIG.left.colored_points(depth, rgb)
    cloud = cloud_message(library.types, library.header(1), points)
    assert [(f.name, f.offset, f.datatype, f.count) for f in cloud.fields] == [
        ('x', 0, 7, 1),
        ('y', 4, 7, 1),
        ('z', 8, 7, 1),
        ('rgb', 12, 7, 1),
    ]
    assert (cloud.height, cloud.width, cloud.point_step, cloud.row_step) == (4, 6, 16, 96)
    assert not cloud.is_dense
    assert not cloud.is_bigendian
    data = np.frombuffer(cloud.data, np.uint8).reshape(4, 6, 16)
    assert data[2, 3, 12:15].tolist() == [30, 20, 10]  # B, G, R
    xyz = data.reshape(4, -1).view('<f4').reshape(4, 6, 4)[..., :3]
    np.testing.assert_allclose(xyz[2, 3], [2 * 0.5 / 50, 2 * 0.5 / 60, 2], rtol=1e-6)
    assert np.isnan(xyz[0, :3]).all()
    assert np.isfinite(xyz[1:]).all()


def test_depth_camera_info_at_the_images_size_is_the_left_one(library):
    info = library.info(P_LEFT, (480, 640), roi=(20, 10, 400, 300), binning=(2, 2))
    camera = effective_camera(info, 200, 150)
    header = library.header(9)
    out = depth_camera_info(library.types, header, info, camera, 200, 150)
    assert out.header is header
    for name in ('width', 'height', 'binning_x', 'binning_y', 'roi', 'distortion_model'):
        assert getattr(out, name) == getattr(info, name), name
    for name in ('d', 'k', 'r', 'p'):
        np.testing.assert_array_equal(getattr(out, name), getattr(info, name))
    assert effective_camera(out, 200, 150) == camera


@given(
    size=st.tuples(st.integers(20, 400), st.integers(20, 400)),
    shift=st.floats(-80, 80),
    delivered=st.booleans(),
    point=st.tuples(st.floats(-5, 5), st.floats(-5, 5), st.floats(0.5, 50)),
)
@settings(max_examples=40, deadline=None)
def test_depth_camera_info_at_another_size_is_scaled(library, size, shift, delivered, point):
    options = {'roi': (20, 10, 400, 300), 'binning': (2, 2)} if delivered else {}
    p = _changed(P_LEFT, p3=shift)
    k = [F + 3, 0, 322, 0, F - 3, 238, 0, 0, 1]
    info = library.info(p, k=k, **options)
    camera = effective_camera(info, *((200, 150) if delivered else (640, 480)))
    width, height = size
    if (width, height) == (camera.width, camera.height):
        return
    out = depth_camera_info(library.types, library.header(0), info, camera, width, height)
    assert (out.width, out.height, out.binning_x, out.binning_y) == (width, height, 0, 0)
    assert (out.roi.width, out.roi.height) == (0, 0)
    offset, binning = ((20, 10), 2) if delivered else ((0, 0), 1)
    scale = np.array([width / camera.width, height / camera.height])

    def moved(pixel: np.ndarray) -> np.ndarray:
        """Where a pixel of the full image lies in the map, by pixel centres."""
        return ((pixel - offset) / binning + 0.5) * scale - 0.5

    x, y, z = point
    for before, after, where in (
        (np.reshape(p, (3, 4)), np.reshape(out.p, (3, 4)), (x, y, z, 1)),
        (np.reshape(k, (3, 3)), np.reshape(out.k, (3, 3)), (x, y, z)),
    ):
        full, mapped = before @ where, after @ where
        np.testing.assert_allclose(mapped[:2] / z, moved(full[:2] / z), atol=1e-6)


@pytest.mark.parametrize(
    ('size', 'processed'), [((6, 4), (6, 4)), ((3, 2), (3, 2)), ((6, 4), (3, 2))]
)
def test_all_outputs_of_a_pair_agree(library, size, processed):
    """Disparity, depth, cloud and camera_info tell the same, whatever size they have."""
    width, height = size
    p_left = [50.0, 0, 2.5, 0, 0, 60, 1.5, 0, 0, 0, 1, 0]
    p_right = [50.0, 0, 1.0, -10.0, 0, 60, 1.5, 0, 0, 0, 1, 0]
    header = library.header(3_000_000_004)
    messages = [
        image_message(library.types, header, np.full((4, 6, 3), value, np.uint8), 'rgb8')
        for value in (50, 60)
    ]
    infos = library.info(p_left, (4, 6)), library.info(p_right, (4, 6))
    pair = StereoInput.from_messages(*messages, *infos)
    disparity = np.linspace(2, 25, width * height, dtype=np.float32).reshape(height, width)
    disparity[0, 0] = np.nan
    result = StereoResult(disparity, np.full_like(disparity, 0.5), processed)
    spec = ModelSpec('any', value_range=(0.0, 15.0), confidence='head', resolution=0.5)
    limits = OutputSettings(min_depth=0.5, max_depth=3.0)
    pipeline = StereoPipeline(library.types, lambda *_: None)
    out = pipeline.messages(STEREO_OUTPUTS, pair, result, spec, limits)
    assert set(out) == set(STEREO_OUTPUTS)
    for message in out.values():
        assert stamp_ns(message.header.stamp) == 3_000_000_004
    image, info = out['disparity'], out['depth/camera_info']
    assert image.f == pytest.approx(info.p[0]) == pytest.approx(50 * width / 6)
    assert image.max_disparity - image.min_disparity == pytest.approx(15 * width / processed[0])
    assert image.delta_d == pytest.approx(0.5 * width / processed[0])
    z = image.f * image.t / _floats(image.image)
    depth = _floats(out['depth/image'])
    known = np.isfinite(depth)
    np.testing.assert_allclose(depth[known], z[known], rtol=1e-5)
    assert ((z[known] >= 0.5) & (z[known] <= 3)).all()
    assert np.isnan(depth[0, 0])
    assert (depth[np.isfinite(disparity) & (z > 3)] == np.inf).all()
    assert (depth[np.isfinite(disparity) & (z < 0.5)] == -np.inf).all()
    points = np.frombuffer(out['points2'].data, '<f4').reshape(height, width, 4)
    np.testing.assert_array_equal(np.isfinite(points[..., 2]), known)
    rows, columns = np.nonzero(known)
    projected = np.reshape(info.p, (3, 4))[:, :3] @ points[known][:, :3].T
    np.testing.assert_allclose(projected[:2] / projected[2], [columns, rows], atol=1e-4)
    assert out['disparity/image_color'].encoding == 'bgr8'
    assert (_floats(out['confidence']) == 0.5).all()
    # 1.5 pixels of the processed image at a confidence of a half
    per_pixel = z**2 / (image.f * image.t)
    sigma = np.where(known, 1.5 * width / processed[0] * per_pixel, np.nan)
    np.testing.assert_allclose(_floats(out['depth/sigma']), sigma, rtol=1e-4)
