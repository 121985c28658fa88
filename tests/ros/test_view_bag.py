"""`nndepth view` of a bag: under its stamps, right in three dimensions, without ROS."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import bags
import numpy as np
import pytest
from tiny_networks import brightness, write_network

from nndepth_core.camera import PinholeCamera
from nndepth_core.testing.commands import run_command
from nndepth_core.testing.recordings import depth_of, points_of, read_mcap, read_rrd

pytest.importorskip('rerun')
pytest.importorskip('foxglove')

SGBM = '--model', 'sgbm', '--max-disparity', '16'
STAMPS = [bags.START + number * bags.PERIOD for number in range(3)]


@pytest.fixture
def view(tmp_path, monkeypatch, capsys):
    """Run the command in an empty folder; returns (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    return partial(run_command, capsys, 'view')


@pytest.fixture
def bag(tmp_path) -> Path:
    """Three pairs, and one left image alone."""
    entries = [*bags.frames(3), *bags.frame(4, sides=('left',))]
    return bags.write_bag(tmp_path / 'in', entries)


def camera() -> PinholeCamera:
    p = bags.camera_info('left', 0).p
    return PinholeCamera.from_projection(p, bags.WIDTH, bags.HEIGHT)


def test_rerun_shows_a_bag_under_its_stamps_and_right_in_3d(view, bag):
    code, out, err = view(bag, *SGBM, '--save', 'x.rrd')
    assert code == 0
    counts, alone = out.splitlines()
    assert counts == '3 of 3 shown, 0 failed'
    assert alone.startswith('1 of 4 left images without partner')
    assert 'x.rrd is written' in err
    rows = read_rrd(Path('x.rrd'))
    for entity in ('world/camera/image', 'world/camera/depth', 'world/points', 'stats/density'):
        assert [row.times['stamp'] for row in rows[entity]] == STAMPS
    for shown, points in zip(rows['world/camera/depth'], rows['world/points'], strict=True):
        depth = depth_of(shown)
        known = np.isfinite(depth)
        assert np.median(depth[known]) == pytest.approx(bags.DEPTH, rel=0.01)
        np.testing.assert_array_equal(
            np.stack(points.components['Points3D:positions']), camera().points(depth)[known]
        )
    pinhole = {k: v for row in rows['world/camera'] for k, v in row.components.items()}
    matrix = np.asarray(pinhole['Pinhole:image_from_camera'][0]).reshape(3, 3, order='F')
    p = np.reshape(bags.camera_info('left', 0).p, (3, 4))
    np.testing.assert_array_equal(matrix, p[:, :3].astype(np.float32))


def test_foxglove_shows_the_same(view, bag):
    pytest.importorskip('google.protobuf')
    code, _, _ = view(bag, *SGBM, '--save', 'x.mcap', '--start', 0.05)
    assert code == 0
    topics = read_mcap(Path('x.mcap'))
    assert [time for time, _ in topics['/points2']] == STAMPS[1:]
    image, cloud = topics['/depth/image'][0][1], topics['/points2'][0][1]
    assert image.timestamp.ToNanoseconds() == STAMPS[1]
    depth = np.frombuffer(image.data, '<f4').reshape(image.height, image.width)
    np.testing.assert_array_equal(points_of(cloud)[0], camera().points(depth)[np.isfinite(depth)])
    assert list(topics['/left/camera_info'][0][1].P) == list(bags.camera_info('left', 0).p)
    assert topics['/right/camera_info'][0][1].P[3] == bags.camera_info('right', 0).p[3]
    assert set(topics['/stats'][0][1]['milliseconds']) == {
        'decode', 'preprocess', 'inference', 'postprocess', 'geometry',
    }  # fmt: skip


def test_a_left_camera_that_is_not_the_origin_stands_where_p_puts_it(view, tmp_path):
    moved = []
    for topic, time, message in bags.frames(1):
        if topic.endswith('camera_info'):
            message.p[3] -= bags.FOCAL * 0.3  # both cameras 0.3 m to the right
        moved.append((topic, time, message))
    bag = bags.write_bag(tmp_path / 'moved', moved)
    assert view(bag, *SGBM, '--save', 'x.rrd')[0] == 0
    rows = read_rrd(Path('x.rrd'))
    placed = {
        name: next(
            row.components['Transform3D:translation'][0][0]
            for row in rows[f'world/{name}']
            if 'Transform3D:translation' in row.components
        )
        for name in ('camera', 'right')
    }
    assert placed == {'camera': pytest.approx(0.3), 'right': pytest.approx(0.5)}
    points = np.stack(rows['world/points'][0].components['Points3D:positions'])
    depth = depth_of(rows['world/camera/depth'][0])
    np.testing.assert_allclose(
        points, camera().points(depth)[np.isfinite(depth)] + [0.3, 0, 0], atol=1e-6
    )


def test_a_model_of_single_images_takes_the_left_images_and_its_confidence_is_shown(
    view, bag, tmp_path
):
    model = write_network(tmp_path / 'tiny.onnx', confidence='head')
    code, out, _ = view(bag, '--model', model, '--save', 'x.rrd')
    assert code == 0
    assert out.startswith('4 of 4 shown')
    rows = read_rrd(Path('x.rrd'))
    left = bags.shifted_pair(1)[0]
    depth = depth_of(rows['world/camera/depth'][1])
    np.testing.assert_allclose(depth, brightness(left), rtol=1e-5)
    np.testing.assert_array_equal(
        np.stack(rows['world/points'][1].components['Points3D:positions']),
        camera().points(depth).reshape(-1, 3),
    )
    assert len(rows['world/camera/confidence']) == 4
    assert 'world/right/image' not in rows


def test_a_model_without_metres_shows_its_map(view, bag, tmp_path):
    model = write_network(tmp_path / 'tiny.onnx', output='inverse_depth', value_range=None)
    assert view(bag, '--model', model, '--save', 'x.rrd')[0] == 0
    rows = read_rrd(Path('x.rrd'))
    assert len(rows['world/camera/colors']) == 4
    assert 'world/points' not in rows


def test_without_pairs_there_is_no_file(view, tmp_path):
    bag = bags.write_bag(tmp_path / 'lonely', list(bags.frame(0, sides=('left',))))
    code, _, err = view(bag, *SGBM, '--right', '/stereo/left/image_rect', '--save', 'x.rrd')
    assert code == 2
    assert 'nndepth: error' in err
    assert not Path('x.rrd').exists()


def test_an_interrupted_view_keeps_what_was_shown(view, bag, monkeypatch):
    from nndepth_ros import view_bag

    frame_of = view_bag.frame_of

    def interrupted(estimate, spec, cloud, stamp):
        if stamp == STAMPS[2]:
            raise KeyboardInterrupt
        return frame_of(estimate, spec, cloud, stamp)

    monkeypatch.setattr(view_bag, 'frame_of', interrupted)
    code, _, err = view(bag, *SGBM, '--save', 'x.rrd')
    assert code == 130
    assert 'nndepth: interrupted' in err
    rows = read_rrd(Path('x.rrd'))
    assert [row.times['stamp'] for row in rows['world/points']] == STAMPS[:2]


def test_a_recording_that_was_written_is_no_bag_to_view(view, bag):
    assert view(bag, *SGBM, '--save', 'x.mcap')[0] == 0
    code, _, err = view('x.mcap', *SGBM, '--save', 'y.mcap')
    assert code == 2
    assert 'no stereo images' in err
