import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nndepth_core import PinholeCamera, StereoCamera
from nndepth_core.data.synthetic import (
    Light,
    Scene,
    SceneObject,
    StereoRenderer,
    drive_through,
    make_yard,
    render,
    render_sequence,
)
from nndepth_core.data.synthetic.geometry import Box, Cylinder, Pose, Rectangle, Sphere
from nndepth_core.data.synthetic.textures import SIZE, Texture, fractal, plain

RIG = StereoCamera(PinholeCamera(160, 120, 125.0, 125.0, 79.5, 59.5), 0.12, 75.5)
LIGHT = Light(
    np.array([0, 0, 1.0]), sun=np.full(3, 0.5, np.float32), sky=np.full(3, 0.5, np.float32)
)
OPTICAL = Pose(np.zeros(3), np.eye(3))
SHAPES = [Box(0.6, 1.0, 1.4), Cylinder(0.4, 1.2), Sphere(0.7)]


@pytest.fixture(scope='module')
def texture():
    return plain(np.random.default_rng(0), (0.5, 0.5, 0.5), stains=0.1, grain=0.1, metres=1)


@pytest.fixture(scope='module')
def yard():
    return make_yard(3)


def scene_of(texture, *placed):
    objects = tuple(SceneObject(shape, pose, texture) for shape, pose in placed)
    return Scene(objects, LIGHT, texture, np.zeros(3), 5.0)


def facing(z):
    """Pose in the optical frame, z metres ahead, for a surface that faces the camera."""
    return Pose(np.array([0, 0, z]), np.eye(3))


def test_plane_has_closed_form_disparity(texture):
    tilt = 0.5
    rotation = np.array(
        [[np.cos(tilt), 0, np.sin(tilt)], [0, 1, 0], [-np.sin(tilt), 0, np.cos(tilt)]]
    )
    scene = scene_of(texture, (Rectangle(100, 100), Pose(np.array([0, 0, 3.0]), rotation)))
    picture = StereoRenderer(scene, 64).render(RIG, OPTICAL)
    x = (np.arange(160) - 79.5) / 125
    depth = 3 / (1 + x * np.tan(tilt))
    expected = np.broadcast_to(125 * 0.12 / depth + 4, (120, 160))
    np.testing.assert_allclose(picture.disparity, expected, rtol=1e-5)


def test_sky_has_the_disparity_of_infinity_and_is_seen_by_both(texture):
    scene = scene_of(texture, (Sphere(0.1), facing(-2.0)))
    picture = StereoRenderer(scene, 64).render(RIG, OPTICAL)
    assert np.all(picture.disparity == RIG.cx_offset)
    assert not picture.occluded[:, 4:].any()
    assert picture.occluded[:, :4].all()


def test_box_before_wall_hides_as_many_columns_as_the_disparity_steps(texture):
    scene = scene_of(texture, (Rectangle(9, 9), facing(4.0)), (Box(0.4, 0.4, 0.2), facing(1.1)))
    picture = StereoRenderer(scene, 64).render(RIG, OPTICAL)
    step = 125 * 0.12 * (1 / 1.0 - 1 / 4.0)
    row = picture.occluded[60]
    edge = int(np.ceil(79.5 - 125 * 0.2))  # first column of the box
    assert picture.disparity[60, edge] == pytest.approx(4 + 15, rel=1e-5)
    assert abs(row[20:edge].sum() - step) <= 1
    assert row[edge - 10 : edge].all()
    assert not row[edge:].any()


def test_right_image_warped_by_the_truth_is_the_left_image(yard):
    picture = StereoRenderer(yard, 512).render(RIG, drive_through(2.0))
    x, y = np.meshgrid(np.arange(160, dtype=np.float32), np.arange(120, dtype=np.float32))
    warped = cv2.remap(picture.right, x - picture.disparity, y, cv2.INTER_LINEAR)
    difference = np.abs(warped - picture.left).mean(axis=2)
    assert np.median(difference[~picture.occluded]) < 1
    assert np.mean(difference[~picture.occluded]) < 3
    assert np.mean(difference[picture.occluded]) > 10
    assert 0.02 < picture.occluded.mean() < 0.3


def test_culling_changes_nothing(yard, monkeypatch):
    pose = drive_through(3.0)
    x, y = RIG.left.rays()
    slanted = x + 0.1 * np.sin(np.arange(120, dtype=np.float32))[:, None]
    for parallel in (False, True):
        culled = render.cast(yard.objects, pose, slanted, y[:, None], parallel)
        with monkeypatch.context() as patch:
            patch.setattr(render, '_window', lambda *_: (slice(None), slice(None)))
            full = render.cast(yard.objects, pose, slanted, y[:, None], parallel)
        np.testing.assert_array_equal(culled[1], full[1])
        np.testing.assert_array_equal(culled[0], full[0])


@settings(max_examples=30, deadline=None)
@given(
    shape=st.sampled_from(SHAPES),
    start=st.tuples(*[st.floats(-4, 4)] * 3).filter(lambda p: max(map(abs, p)) > 1),
    aim=st.tuples(*[st.floats(-0.25, 0.25)] * 3),
)
def test_solids_are_met_on_their_surface_from_outside(shape, start, aim):
    origin = np.array(start, np.float32)
    direction = np.array(aim, np.float32) - origin
    t = shape.intersect(tuple(origin), tuple(direction))
    assert 0 < t < 1  # the aim lies inside every one of the shapes
    point = (origin + t * direction)[None]
    distance = {
        Box: lambda p: np.max(np.abs(p) - shape.half_size),
        Cylinder: lambda p: max(
            np.hypot(*p[:2]) - shape.half_size[0], abs(p[2]) - shape.half_size[2]
        ),
        Sphere: lambda p: np.linalg.norm(p) - shape.half_size[0],
    }[type(shape)]
    assert distance(point[0]) == pytest.approx(0, abs=1e-5)
    surface = shape.surface(point)
    assert np.linalg.norm(surface.normal[0]) == pytest.approx(1, abs=1e-4)
    assert surface.normal[0] @ direction < 0


def test_rays_beside_and_behind_meet_nothing():
    for shape in (*SHAPES, Rectangle(1, 1)):
        assert np.isinf(shape.intersect((0, 2, -5), (np.zeros(1), np.zeros(1), np.ones(1))))
        assert np.isinf(shape.intersect((0, 0, 5), (np.zeros(1), np.zeros(1), np.ones(1))))


def test_shadow_falls_below_an_object(texture):
    ground = (Rectangle(8, 8), Pose.upright(0, 0, 0))
    ball = (Sphere(0.4), Pose.upright(0, 0, 1.5))
    pose = Pose.looking(np.array([-3.0, 0, 1.0]), np.array([3.0, 0, -1.0]))
    open_air, shaded = (
        StereoRenderer(scene_of(texture, *things), 512).render(RIG, pose).left.mean(axis=2)
        for things in ((ground,), (ground, ball))
    )
    assert shaded[60, 80] == pytest.approx(open_air[60, 80] / 2, rel=0.02)
    np.testing.assert_allclose(shaded[110], open_air[110], rtol=1e-5)


def test_texture_repeats_and_blurs_to_its_mean(texture):
    rng = np.random.default_rng(1)
    uv = rng.uniform(0, 1, (500, 2)).astype(np.float32)
    sharp, blurred = np.full(500, 1e-4, np.float32), np.full(500, 2.0, np.float32)
    here, there = texture.sample(uv, sharp), texture.sample(uv + np.float32([3, -2]), sharp)
    np.testing.assert_allclose(here, there, atol=2)
    np.testing.assert_allclose(texture.sample(uv, blurred), texture.tile.mean(), atol=2)


def test_texture_is_read_at_texel_centres():
    tile = np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3)
    v, u = np.mgrid[0:16, 0:16]
    uv = np.stack([u, v], axis=-1).reshape(-1, 2).astype(np.float32) / 8 + np.float32(1 / 16)
    values = Texture(tile, 2.0).sample(uv, np.zeros(256, np.float32))
    np.testing.assert_array_equal(values, tile.reshape(-1, 3))


def test_noise_has_no_seam():
    noise = fractal(np.random.default_rng(0), 4, 64, stretch=4)
    assert noise.shape == (SIZE, SIZE)
    for axis in (0, 1):
        steps = np.abs(np.diff(noise, axis=axis, append=noise.take([0], axis=axis)))
        profile = steps.mean(axis=1 - axis)
        assert profile[-1] < 1.05 * profile[:-1].max()


def test_sequence_is_determined_by_its_arguments():
    samples = [list(render_sequence(5, 2, RIG, 10)) for _ in range(2)]
    for first, second in zip(*samples, strict=True):
        np.testing.assert_array_equal(first.left, second.left)
        np.testing.assert_array_equal(first.right, second.right)
        np.testing.assert_array_equal(first.disparity, second.disparity)
    assert [sample.stamp for sample in samples[0]] == [0, 100_000_000]
    sample = samples[0][0]
    assert sample.left.dtype == np.uint8
    assert sample.left.shape == (120, 160, 3)
    assert sample.left.flags.c_contiguous
    assert sample.disparity.dtype == np.float32
    assert np.isfinite(sample.disparity).all()
    assert (samples[0][0].left != samples[0][1].left).any()


def test_camera_never_comes_close_to_anything():
    x, y = RIG.left.rays()
    for seed in range(3):
        objects = make_yard(seed).objects
        for time in np.linspace(0, 30, 100):
            depth, _ = render.cast(objects, drive_through(time), x[None, ::4], y[::4, None])
            assert depth.min() > 0.3
