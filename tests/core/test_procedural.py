"""Rendered training pairs: the truth is exact, hidden is hidden, equal seeds give equal pairs."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nndepth_core.camera import PinholeCamera, StereoCamera
from nndepth_core.data.synthetic import procedural
from nndepth_core.data.synthetic.layouts import room
from nndepth_core.data.synthetic.ledges import ledges
from nndepth_core.data.synthetic.materials import TILE, MaterialBank, power_noise
from nndepth_core.data.synthetic.mipmap import Texture
from nndepth_core.data.synthetic.patches import (
    Patch,
    Reflection,
    draw,
    draw_pair,
    normal,
    occlusion,
)
from nndepth_core.data.synthetic.procedural import ProceduralMono, ProceduralStereo
from nndepth_core.data.synthetic.sensor import Camera, CameraPair
from nndepth_core.data.synthetic.stage import Stage
from nndepth_core.data.synthetic.streets import paint_road, street
from nndepth_core.evaluation.regions import edge_bands

RIG = StereoCamera(PinholeCamera(160, 120, 140.0, 140.0, 79.5, 59.5), 0.1, 79.5)
SMALL = {'size': (96, 160), 'largest_disparity': 64.0}


@pytest.fixture(scope='module')
def perfect():
    return ProceduralStereo(**SMALL, seed=5, effects=False)


def texture(seed=0, side=64):
    rng = np.random.default_rng(seed)
    colour = cv2.resize(rng.integers(0, 256, (16, 16, 3)).astype(np.uint8), (side, side))
    return Texture(np.dstack((colour, np.full((side, side), 255, np.uint8))))


def wall(depth, width=10.0, seed=0, **settings):
    """A square that faces the camera."""
    corner = np.array([-width / 2, -width / 2, depth])
    return Patch(
        corner, np.array([width, 0, 0]), np.array([0, width, 0]), texture(seed), **settings
    )


def warped(sample):
    height, width = sample.disparity.shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    return cv2.remap(sample.right, x - sample.disparity, y, cv2.INTER_LINEAR)


@given(depth=st.floats(0.3, 50.0))
@settings(max_examples=20, deadline=None)
def test_a_wall_that_faces_the_camera_has_one_disparity(depth):
    left, _ = draw_pair([wall(depth, width=6 * depth)], RIG)
    np.testing.assert_allclose(left.disparity, RIG.focal_baseline / depth, rtol=1e-5)


@given(yaw=st.floats(-0.9, 0.9), pitch=st.floats(-0.9, 0.9))
@settings(max_examples=20, deadline=None)
def test_a_slanted_wall_lies_in_its_plane(yaw, pitch):
    along = np.array([np.cos(yaw), 0, np.sin(yaw)])
    down = np.array([0, np.cos(pitch), np.sin(pitch)])
    patch = Patch(np.array([0, 0, 2.0]) - (along + down) / 2, along, down, texture())
    left, _ = draw_pair([patch], RIG)
    seen = left.patch == 0
    points = back_projected(left.disparity, seen)
    offset = (points - [0, 0, 2.0]) @ np.cross(along, down)
    np.testing.assert_allclose(offset, 0, atol=1e-4)


@given(height=st.floats(0.2, 3.0), pitch=st.floats(-0.2, 0.2))
@settings(max_examples=20, deadline=None)
def test_an_endless_ground_reaches_the_horizon(height, pitch):
    ahead = np.array([0, np.sin(pitch), np.cos(pitch)])
    origin = np.array([0.3, height, 0.7])
    patch = Patch(origin, np.array([0.5, 0, 0]), 0.5 * ahead, texture(), endless=True)
    left, _ = draw_pair([patch], RIG)
    normal_down = np.cross(ahead, [1, 0, 0])
    y, x = np.mgrid[: RIG.left.height, : RIG.left.width]
    rays = np.stack(((x - 79.5) / 140, (y - 59.5) / 140, np.ones_like(x, float)), -1)
    disparity = RIG.focal_baseline * (rays @ normal_down) / (origin @ normal_down)
    np.testing.assert_array_equal(left.patch == 0, disparity > 0)
    np.testing.assert_allclose(left.disparity, disparity.clip(0), atol=1e-4)


def test_both_views_of_an_endless_ground_agree():
    along, ahead = np.array([0.5, 0, 0]), np.array([0, 0, 0.5])
    ground = Patch(np.array([0.3, 0.5, 0.7]), along, ahead, texture(), endless=True)
    left, right = draw_pair([ground], RIG)
    y, x = np.mgrid[: RIG.left.height, : RIG.left.width].astype(np.float32)
    near = (left.disparity > 2) & ~occlusion(left, right)

    def difference(error):
        seen = cv2.remap(right.image, x - left.disparity - error, y, cv2.INTER_LINEAR)
        return np.abs(seen.astype(float) - left.image)[near, :3].mean()

    assert difference(0) < 0.5 * min(difference(-1), difference(1))


def back_projected(disparity, seen):
    y, x = np.nonzero(seen)
    z = RIG.focal_baseline / disparity[seen]
    camera = RIG.left
    return np.stack(((x - camera.cx) / camera.fx * z, (y - camera.cy) / camera.fy * z, z), -1)


@pytest.mark.parametrize('round_v', [True, False])
def test_a_bulge_rises_as_the_formula_says(round_v):
    patch = wall(1.0, width=0.7, bulge=0.12, round_v=round_v)
    left, _ = draw_pair([patch], RIG)
    seen = left.patch == 0
    points = back_projected(left.disparity, seen) - patch.origin
    u, v = points[:, 0] / 0.7, points[:, 1] / 0.7
    lift = 0.12 * 4 * u * (1 - u) * (4 * v * (1 - v) if round_v else 1)
    np.testing.assert_array_equal(normal(patch), [0, 0, -1])
    np.testing.assert_allclose(-points[:, 2], lift, atol=5e-4)


def test_what_stands_before_a_wall_hides_as_much_as_the_disparities_differ():
    near, far = 1.0, 4.0
    left, right = draw_pair([wall(far, 20, seed=1), wall(near, 0.4, seed=2)], RIG)
    hidden = occlusion(left, right)
    row = 60
    band = np.flatnonzero(hidden[row, 14:] & (left.patch[row, 14:] == 0))
    assert len(band) == pytest.approx(RIG.focal_baseline * (1 / near - 1 / far), abs=1)
    assert (left.patch[row, band[-1] + 15 :][:3] == 1).all()  # it lies to the left of the object
    outside = np.flatnonzero(hidden[row, :14])
    assert len(outside) == pytest.approx(RIG.focal_baseline / far, abs=1)


@pytest.mark.parametrize('bulge', [0.0, 1e-6])
def test_what_is_mirrored_has_another_disparity_than_the_mirror(bulge):
    spot = np.zeros((64, 64, 4), np.uint8)
    spot[..., 3] = 255
    spot[28:36, 40:48, :3] = 200
    black = Texture(np.dstack((np.zeros((64, 64, 3), np.uint8), np.full((64, 64), 255, np.uint8))))
    side, shift = 0.8, 0.05
    patch = Patch(
        np.array([-0.4, -0.4, 1.0]),
        np.array([side, 0, 0]),
        np.array([0, side, 0]),
        black,
        bulge,
        reflection=Reflection(Texture(spot), shift, 0.5),
    )
    left, right = draw_pair([patch], RIG)
    columns = [
        np.average(np.arange(160), weights=view.image[..., 0].sum(0, dtype=float))
        for view in (left, right)
    ]
    pixels_wide = side * RIG.left.fx
    expected = RIG.focal_baseline - shift * pixels_wide
    assert columns[0] - columns[1] == pytest.approx(expected, abs=0.05)
    assert left.image[..., 0].max() == 100
    np.testing.assert_allclose(left.disparity[left.patch == 0], RIG.focal_baseline, atol=1e-3)


@pytest.mark.parametrize('bulge', [0.0, 1e-6])
def test_edges_mix_the_colours_at_both_sides(bulge):
    grey = np.full((32, 32, 4), 255, np.uint8)
    grey[..., :3] = 120
    corner, side = np.array([-0.31, -0.27, 1.0]), 0.6
    tilted = np.array([side, 0.05, 0]), np.array([-0.05, side, 0])
    patch = Patch(corner, *tilted, Texture(grey), bulge)
    behind = replace(wall(4.0), texture=Texture(grey))
    left, _ = draw_pair([behind, patch], RIG)
    assert (left.patch == 1).any()
    np.testing.assert_allclose(left.image[..., :3], 120, atol=2)


def test_patches_behind_the_camera_are_not_seen():
    left, right = draw_pair([wall(-2.0)], RIG)
    assert (left.patch == -1).all()
    assert (right.patch == -1).all()


def test_warping_the_right_image_gives_the_left_one(perfect):
    shares = []
    for index in range(24):
        sample = perfect[index]
        steps = cv2.morphologyEx(sample.disparity, cv2.MORPH_GRADIENT, np.ones((5, 5)))
        known = np.isfinite(sample.disparity)
        # at edges pixels hold a mixture of two surfaces
        inside = known & ~sample.occluded & (steps < 2)
        difference = np.abs(warped(sample).astype(float) - sample.left).mean(-1)[inside]
        assert np.median(difference) < 4
        shares.append((difference > 16).mean())
    assert np.mean(shares) < 0.035


def test_a_wrong_truth_would_be_noticed(perfect):
    right, wrong = [], []
    for index in range(24):
        sample = perfect[index]
        known = ~sample.occluded & np.isfinite(sample.disparity)
        for shift, errors in ((0, right), (1.5, wrong)):
            moved = ProceduralStereo.__getitem__(perfect, index)
            moved.disparity[:] += shift
            errors.append(np.abs(warped(moved).astype(float) - sample.left).mean(-1)[known].mean())
    assert np.mean(wrong) > 2 * np.mean(right)


def test_samples_depend_on_seed_and_index_alone():
    first, second = (ProceduralStereo(**SMALL, seed=7) for _ in range(2))
    second[1]  # the order in which samples are taken has no influence
    for name in ('left', 'right', 'disparity', 'occluded'):
        np.testing.assert_array_equal(getattr(first[3], name), getattr(second[3], name))
    assert not np.array_equal(first[3].left, first[4].left)
    assert not np.array_equal(first[3].left, ProceduralStereo(**SMALL, seed=8)[3].left)


def test_samples_are_what_the_contract_says():
    data = ProceduralStereo(**SMALL, seed=1)
    for index in range(12):
        sample = data[index]
        for image in (sample.left, sample.right):
            assert image.shape == (96, 160, 3)
            assert image.dtype == np.uint8
        assert sample.disparity.dtype == np.float32
        known = sample.disparity[np.isfinite(sample.disparity)]
        assert known.size > 0.5 * sample.disparity.size
        assert known.min() > 0
        assert known.max() <= 64
        assert sample.camera is not None
        assert sample.camera.left.width == 160
    with pytest.raises(IndexError, match='sample 5 of 5'):
        ProceduralStereo(length=5)[5]


def test_disparities_fill_the_range():
    data = ProceduralStereo(size=(96, 320), largest_disparity=128.0, seed=2)
    values = np.concatenate([data[index].disparity[::8, ::8].ravel() for index in range(40)])
    values = values[np.isfinite(values)]
    shares = np.histogram(values, [0, 2, 8, 32, 64, 128])[0] / len(values)
    assert (shares > 0.02).all()


def test_a_perfect_pair_of_cameras_changes_nothing():
    picture = texture().pixels[..., :3]
    rng = np.random.default_rng(0)
    for image in CameraPair().expose(picture, picture, rng):
        np.testing.assert_array_equal(image, picture)


def test_camera_flaws():
    rng = np.random.default_rng(0)
    grey = np.full((200, 200, 3), 100, np.uint8)
    np.testing.assert_array_equal(
        Camera(gain=(1.2, 1.0, 0.5)).expose(grey, rng)[0, 0], (120, 100, 50)
    )
    assert Camera(gamma=2.0).expose(grey, rng)[0, 0, 0] == round(255 * (100 / 255) ** 2)
    noisy = Camera(noise=5.0).expose(grey, rng).astype(float)
    assert noisy.std() == pytest.approx(5.0, rel=0.05)
    assert noisy.mean() == pytest.approx(100, abs=0.1)
    dark = Camera(vignette=0.3).expose(grey, rng)
    assert dark[0, 0, 0] == pytest.approx(70, abs=1)
    assert dark[100, 100, 0] == 100


def test_gain_and_noise_of_a_pair():
    grey = np.full((100, 100, 3), 100, np.uint8)
    pair = CameraPair(Camera(noise=2.0), Camera(gain=(1.1, 1.1, 1.1), noise=2.0))
    left, right = pair.expose(grey, grey, np.random.default_rng(0))
    assert left.mean() == pytest.approx(100, abs=0.1)
    assert right.mean() == pytest.approx(110, abs=0.1)
    assert left.std() == pytest.approx(2, rel=0.05)


def test_rows_are_misaligned_mostly_little_seldom_by_pixels():
    corners = np.array([[0, 0, 1], [159, 0, 1], [0, 95, 1], [159, 95, 1.0]])
    middle, most = [], []
    for seed in range(1000):
        pair = CameraPair.random(np.random.default_rng(seed), (96, 160))
        moved = corners @ pair.misalignment.T - corners
        np.testing.assert_array_equal(moved[:, [0, 2]], 0)  # columns stay
        middle.append(np.abs(moved[:, 1].mean()))
        most.append(np.abs(moved[:, 1]).max())
    assert np.mean(np.array(most) == 0) == pytest.approx(0.35, abs=0.05)
    assert np.mean(np.array(middle) < 0.1) > 0.5
    assert 0.1 < np.mean(np.array(middle) > 0.5) < 0.3
    assert 0.04 < np.mean(np.array(middle) > 1.0) < 0.15
    assert max(most) < 1.6 * 2 * (1 + 0.7 + 0.4) * (1 + 1e-9)


@given(shift=st.floats(-2, 2), turn=st.floats(-0.02, 0.02), stretch=st.floats(-0.02, 0.02))
@settings(max_examples=20, deadline=None)
def test_misaligned_rows_show_what_the_others_do_elsewhere(shift, turn, stretch):
    moved = np.array([[1, 0, 0], [turn, 1 + stretch, shift], [0, 0, 1]])
    _, straight = draw_pair([wall(4.0, 20)], RIG)
    left, right = draw_pair([wall(4.0, 20)], RIG, moved)
    np.testing.assert_allclose(left.disparity, RIG.focal_baseline / 4, rtol=1e-5)
    x, y = np.meshgrid(np.arange(160, dtype=np.float32), np.arange(120, dtype=np.float32))
    at = turn * x + (1 + stretch) * y + shift
    found = cv2.remap(right.image, x, at.astype(np.float32), cv2.INTER_LINEAR)
    inside = (at >= 0) & (at <= 119)
    difference = np.abs(found.astype(float) - straight.image)[inside, :3]
    assert difference.mean() < 2


def test_noise_has_the_spectrum_asked_for():
    noise = power_noise(np.random.default_rng(0), 1.0)
    assert noise.shape == (TILE, TILE)
    power = np.abs(np.fft.rfft2(noise)[1:200, 0]) ** 2
    slope = np.polyfit(np.log(np.arange(1, 200)), np.log(power), 1)[0]
    assert slope == pytest.approx(-2.0, abs=0.4)


def test_textures_range_from_plain_to_rich():
    bank, rng = MaterialBank(0, size=12), np.random.default_rng(0)
    contrasts = [bank.bake(rng, 64, 64).std(axis=(0, 1)).mean() for _ in range(60)]
    assert np.percentile(contrasts, 10) < 8
    assert np.percentile(contrasts, 90) > 35


def test_surfaces_of_one_colour_are_almost_plain():
    bank, rng = MaterialBank(0, size=12), np.random.default_rng(0)
    colour = np.array([90.0, 120.0, 150.0])
    baked = [bank.bake(rng, 64, 64, colour) for _ in range(40)]
    means = np.mean([picture.mean(axis=(0, 1)) for picture in baked], 0)
    np.testing.assert_allclose(means, colour, atol=8)
    changes = [np.abs(np.diff(picture.astype(float), axis=1)).mean() for picture in baked]
    assert np.median(changes) < 2  # grey levels from pixel to pixel


def test_ledges_have_more_edges_along_rows_than_along_columns():
    bank = MaterialBank(0, size=12)
    pixels = dict.fromkeys(('rows_0', 'columns_0'), 0)
    for seed in range(12):
        stage = Stage(RIG, bank, np.random.default_rng(seed))
        ledges(stage, 40.0)
        left, _ = draw_pair(stage.sorted_patches(), RIG)
        bands = edge_bands(left.disparity)
        pixels = {name: count + bands[name].sum() for name, count in pixels.items()}
    assert pixels['rows_0'] > 2 * pixels['columns_0']


@pytest.mark.parametrize('seed', range(3))
def test_single_images_have_the_depth_of_a_street_in_metres(seed, monkeypatch):
    """The road lies 1.2 to 1.9 m below the camera, by the depth and the camera of the sample."""
    monkeypatch.setattr(procedural, 'GROUNDED', ((1.0, street),))
    images = ProceduralMono((96, 128), 1, seed, effects=False)
    sample = images[0]
    patches = images.pairs.stage(0, grounded=True).sorted_patches()
    view = draw(patches, images.pairs.stage(0, grounded=True).rig)
    [road] = [number for number, patch in enumerate(patches) if patch.endless]
    points = sample.camera.points(sample.depth)[view.patch == road].astype(float)
    plane = np.linalg.lstsq(points, np.ones(len(points)), rcond=None)[0]
    assert np.abs(points @ plane - 1).max() < 1e-2
    assert 1.2 <= 1 / np.linalg.norm(plane) <= 1.9
    np.testing.assert_array_equal(sample.image, view.image[..., :3])


@pytest.mark.parametrize('seed', range(3))
def test_rooms_are_as_high_as_real_ones(seed):
    stage = Stage(RIG, MaterialBank(0, size=12), np.random.default_rng(seed), floating=False)
    room(stage, 40.0)
    ceiling, floor = [patch for _, patch in stage.patches if patch.endless][3:]
    height = abs(normal(floor) @ floor.origin) + abs(normal(ceiling) @ ceiling.origin)
    assert 2.3 <= height * stage.metres(np.random.default_rng(0)) <= 3.0


def test_nothing_hangs_in_the_air_of_single_images():
    stage = Stage(RIG, MaterialBank(0, size=12), np.random.default_rng(0), floating=False)
    stage.clutter(20, 4.0, 40.0)
    assert not stage.patches


def test_what_is_painted_on_a_road_has_no_depth():
    stage = Stage(RIG, MaterialBank(0, size=12), np.random.default_rng(3), shiny=False)
    turn, high = np.eye(3), 0.5
    stage.plane(high * turn[:, 1], turn[:, 0], turn[:, 2], 1.0)
    road, _ = draw_pair(stage.sorted_patches(), RIG)
    paint_road(stage, turn, high, (0.6, 20.0))
    left, _ = draw_pair(stage.sorted_patches(), RIG)
    painted = left.patch > 0
    assert painted.mean() > 0.02
    assert np.abs(left.image.astype(int) - road.image)[painted, :3].mean() > 10
    np.testing.assert_allclose(left.disparity, road.disparity, rtol=1e-3)
