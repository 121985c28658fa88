"""`nndepth view`: what is shown is right in three dimensions, in rerun and in Foxglove."""

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from mono_onnx import write_mono_onnx
from scenes import slope

from nndepth_core import io
from nndepth_core.calibration import parse, parse_single
from nndepth_core.camera import StereoCamera
from nndepth_core.data.image_files import ImagePairs
from nndepth_core.estimator import StereoEstimator
from nndepth_core.testing.commands import run_command
from nndepth_core.testing.recordings import depth_of, points_of, read_mcap, read_rrd
from nndepth_core.view import Frame, SinkSettings, view
from nndepth_core.view.frame import Coloring
from nndepth_core.view.sink import ViewerClosedError

pytest.importorskip('rerun')
pytest.importorskip('foxglove')

WIDTH, HEIGHT = 241, 97
CALIBRATION = '100,101,118.5,49.25,0.2,1.5'
LEFT_RIGHT = ('left/0.png', 'right/0.png', '--model', 'sgbm', '--max-disparity', 32)


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """Run `nndepth view` in a folder of pairs; returns (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv('DISPLAY', raising=False)
    monkeypatch.delenv('WAYLAND_DISPLAY', raising=False)
    left, right, _ = slope(WIDTH, HEIGHT)
    for index in range(3):
        io.write_image(tmp_path / 'left' / f'{index}.png', left)
        io.write_image(tmp_path / 'right' / f'{index}.png', right)
    io.write_image(tmp_path / 'wide.png', np.hstack([left, right]))

    return partial(run_command, capsys, 'view')


@pytest.fixture
def camera() -> StereoCamera:
    return parse(CALIBRATION).camera((WIDTH, HEIGHT))


@pytest.fixture
def disparity() -> np.ndarray:
    left, right, _ = slope(WIDTH, HEIGHT)
    return StereoEstimator.load('sgbm', options={'num_disparities': 32})(left, right).disparity


def files() -> set[str]:
    """What is in the folder, beside the images."""
    return {path.name for path in Path().iterdir()} - {'left', 'right', 'wide.png', 'cache'}


def red_of(rgba: np.ndarray) -> np.ndarray:
    return (np.asarray(rgba, np.uint32) >> 24).astype(np.uint8)


# --- right in three dimensions -------------------------------------------------------------------


def test_rerun_holds_pinhole_depth_and_points_of_the_estimate(command, camera, disparity):
    code, out, err = command(*LEFT_RIGHT, '--calibration', CALIBRATION, '--save', 'x.rrd')
    assert (code, out) == (0, '')
    assert 'x.rrd is written; open it by `rerun x.rrd`' in err
    rows = read_rrd(Path('x.rrd'))
    depth = camera.disparity_to_depth(disparity)
    p = np.reshape(camera.left.projection(), (3, 4))

    pinhole = {k: v for row in rows['world/camera'] for k, v in row.components.items()}
    matrix = np.asarray(pinhole['Pinhole:image_from_camera'][0]).reshape(3, 3, order='F')
    np.testing.assert_array_equal(matrix, p[:, :3].astype(np.float32))
    np.testing.assert_array_equal(pinhole['Pinhole:resolution'][0], (WIDTH, HEIGHT))
    np.testing.assert_array_equal(pinhole['Pinhole:camera_xyz'][0], (3, 2, 5))  # right, down, fwd
    (shown,) = rows['world/camera/depth']
    np.testing.assert_array_equal(depth_of(shown), depth)
    assert shown.times == {'frame': 0}

    (points,) = rows['world/points']
    expected = camera.left.points(depth)
    known = np.isfinite(depth)
    np.testing.assert_array_equal(
        np.stack(points.components['Points3D:positions']), expected[known]
    )
    left = slope(WIDTH, HEIGHT)[0]
    np.testing.assert_array_equal(red_of(points.components['Points3D:colors']), left[known][:, 0])
    right = {k: v for row in rows['world/right'] for k, v in row.components.items()}
    np.testing.assert_allclose(right['Transform3D:translation'][0], (0.2, 0, 0))
    assert right['Pinhole:image_from_camera'][0][6] == np.float32(camera.cx_right)
    blob = np.asarray(rows['world/camera/image'][0].components['EncodedImage:blob'][0], np.uint8)
    decoded = cv2.cvtColor(cv2.imdecode(blob, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    assert np.abs(decoded.astype(int) - left).mean() < 6
    assert rows['stats/density'][0].components['Scalars:scalars'][0] == pytest.approx(known.mean())


def test_foxglove_holds_the_same(command, camera, disparity):
    pytest.importorskip('google.protobuf')
    code, _, err = command(*LEFT_RIGHT, '--calibration', CALIBRATION, '--save', 'x.mcap')
    assert code == 0
    assert 'open it by Foxglove' in err
    topics = {
        topic: messages[0][1]
        for topic, messages in read_mcap(Path('x.mcap')).items()
        if len(messages) == 1
    }
    depth = camera.disparity_to_depth(disparity)
    info, cloud, image = (
        topics[name] for name in ('/depth/camera_info', '/points2', '/depth/image')
    )
    assert list(info.P) == pytest.approx(camera.left.projection())
    assert list(info.K) == pytest.approx([100, 0, 118.5, 0, 101, 49.25, 0, 0, 1])
    assert list(topics['/right/camera_info'].P)[3] == pytest.approx(-100 * 0.2)
    assert (image.encoding, image.width, image.height) == ('32FC1', WIDTH, HEIGHT)
    np.testing.assert_array_equal(np.frombuffer(image.data, '<f4').reshape(HEIGHT, WIDTH), depth)
    positions, colors = points_of(cloud)
    known = np.isfinite(depth)
    np.testing.assert_array_equal(positions, camera.left.points(depth)[known])
    np.testing.assert_array_equal(colors, slope(WIDTH, HEIGHT)[0][known])
    assert topics['/stats']['density'] == pytest.approx(known.mean())
    assert set(topics['/stats']['milliseconds']) == {'preprocess', 'inference', 'postprocess'}
    (transform,) = topics['/tf'].transforms
    assert transform.child_frame_id == cloud.frame_id == image.frame_id == info.frame_id
    turn = transform.rotation  # x right, y down, z forward -> x forward, y left, z up
    assert (turn.x, turn.y, turn.z, turn.w) == (-0.5, 0.5, -0.5, 0.5)
    assert set(topics) == {
        '/tf', '/stats', '/points2', '/depth/image', '/depth/camera_info',
        '/disparity/image_color', '/left/image_rect/compressed', '/left/camera_info',
        '/right/image_rect/compressed', '/right/camera_info',
    }  # fmt: skip


def test_a_folder_of_pairs_is_a_sequence_and_its_points_may_be_fewer(command, camera, disparity):
    code, _, _ = command(
        '.', '--model', 'sgbm', '--max-disparity', 32, '--calibration', CALIBRATION,
        '--save', 'new/x.rrd', '--cloud-stride', 3, '--max-depth', 1.2,
    )  # fmt: skip
    assert code == 0
    rows = read_rrd(Path('new/x.rrd'))
    assert [row.times for row in rows['world/points']] == [{'frame': at} for at in range(3)]
    depth = camera.disparity_to_depth(disparity, max_depth=1.2)
    np.testing.assert_array_equal(depth_of(rows['world/camera/depth'][2]), depth)
    thin = camera.left.points(depth)[::3, ::3].reshape(-1, 3)
    np.testing.assert_allclose(
        np.stack(rows['world/points'][1].components['Points3D:positions']),
        thin[np.isfinite(thin[:, 2])],
        rtol=1e-6,
    )


def test_colors_of_a_stream_follow_slowly_and_those_of_files_do_not():
    image = np.zeros((2, 3, 3), np.uint8)

    def ranges(*stamps):
        coloring = Coloring()
        maps = (np.full((2, 3), value, np.float32) for value in (10, 20))
        frames = (
            Frame(image, values=values, output='disparity', stamp=stamp)
            for values, stamp in zip(maps, stamps, strict=True)
        )
        return [coloring(frame).range[0] for frame in frames]

    assert ranges(None, None) == [10, 20]
    assert ranges(1, 2) == [10, 11]
    unknown = Frame(image, values=np.full((2, 3), np.nan, np.float32))
    assert Coloring()(unknown).range == (0, 1)


# --- without some of it --------------------------------------------------------------------------


def test_without_calibration_there_is_disparity_and_it_says_so(command):
    code, _, err = command(*LEFT_RIGHT, '--save', 'x.rrd')
    assert code == 0
    assert 'without --calibration there is disparity, but neither depth nor points' in err
    rows = read_rrd(Path('x.rrd'))
    assert 'world/camera/colors' in rows
    assert not {'world/camera/depth', 'world/points', 'world/camera'} & set(rows)


def test_one_wide_image_is_cut_into_left_and_right(command, camera, disparity):
    code, _, _ = command(
        'wide.png', '--split', '--model', 'sgbm', '--max-disparity', 32,
        '--calibration', CALIBRATION, '--save', 'x.rrd',
    )  # fmt: skip
    assert code == 0
    (row,) = read_rrd(Path('x.rrd'))['world/camera/depth']
    np.testing.assert_array_equal(depth_of(row), camera.disparity_to_depth(disparity))


def test_a_model_of_single_images_takes_the_left_ones_of_a_folder_of_pairs(command):
    model = write_mono_onnx('depth.onnx', 'depth')
    code, _, err = command('.', '--model', model, '--calibration', CALIBRATION, '--save', 'x.rrd')
    assert (code, err.count('error')) == (0, 0)
    rows = read_rrd(Path('x.rrd'))
    left = slope(WIDTH, HEIGHT)[0]
    expected = left[..., 0] * np.float32(0.01)
    depth = depth_of(rows['world/camera/depth'][0])
    np.testing.assert_allclose(depth, expected, rtol=1e-5)
    camera = parse_single(CALIBRATION).left_camera((WIDTH, HEIGHT))
    points = camera.points(depth)
    np.testing.assert_array_equal(
        np.stack(rows['world/points'][0].components['Points3D:positions']),
        points[np.isfinite(points[..., 2])],
    )
    assert 'world/right/image' not in rows


def test_a_model_without_metres_shows_its_map_alone(command):
    model = write_mono_onnx('relative.onnx', 'relative_depth')
    code, _, err = command('left/0.png', '--model', model, '--save', 'x.mcap')
    assert code == 0
    assert 'gives relative depth without a scale, so that there are no points' in err
    topics = read_mcap(Path('x.mcap'))
    assert set(topics) == {
        '/tf', '/stats', '/image_rect/compressed', '/relative_depth/image_color'
    }  # fmt: skip
    data = np.frombuffer(topics['/relative_depth/image_color'][0][1].data, np.uint8)
    bgr = cv2.imdecode(data, cv2.IMREAD_COLOR)
    left = slope(WIDTH, HEIGHT)[0][..., 0]
    near, far = left < np.percentile(left, 20), left > np.percentile(left, 80)
    assert bgr[near, 2].mean() > bgr[near, 0].mean()  # near is red
    assert bgr[far, 0].mean() > bgr[far, 2].mean()


@pytest.mark.parametrize(('dtype', 'channels'), [(np.uint8, 0), (np.uint16, 0), (np.uint16, 3)])
def test_gray_and_16_bit_images(command, dtype, channels):
    for name, image in zip('lr', slope(WIDTH, HEIGHT)[:2], strict=True):
        values = image if channels else image[..., 0]
        cv2.imwrite(f'{name}.png', values.astype(dtype) * (257 if dtype is np.uint16 else 1))
    code, _, _ = command('l.png', 'r.png', *LEFT_RIGHT[2:], '--save', 'x.rrd')
    assert code == 0
    assert read_rrd(Path('x.rrd'))['stats/density'][0].components['Scalars:scalars'][0] > 0.5


def test_the_confidence_of_a_model_without_one_is_shown_if_that_is_wanted(command):
    assert command(*LEFT_RIGHT, '--save', 'x.rrd')[0] == 0
    assert command(*LEFT_RIGHT, '--confidence', '--save', 'y.rrd')[0] == 0
    assert 'world/camera/confidence' not in read_rrd(Path('x.rrd'))
    assert 'world/camera/confidence' in read_rrd(Path('y.rrd'))


def test_a_broken_image_is_told_and_the_others_are_shown(command):
    Path('right/1.png').write_bytes(b'no image')
    code, _, err = command('left', 'right', *LEFT_RIGHT[2:], '--save', 'x.rrd')
    assert code == 1
    assert err.count('nndepth: error: 1: ') == 1
    assert len(read_rrd(Path('x.rrd'))['world/camera/image']) == 2


def test_if_nothing_can_be_shown_there_is_no_file(command):
    for path in Path('right').iterdir():
        path.write_bytes(b'no image')
    code, _, err = command('left', 'right', *LEFT_RIGHT[2:], '--save', 'x.rrd')
    assert code == 2
    assert 'nothing was shown' in err
    assert files() == set()


# --- where it is shown ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        ([], 'give LEFT and RIGHT, or one IMAGE, FOLDER or BAG, or --camera N'),
        (LEFT_RIGHT, 'there is no display for the rerun viewer'),
        ([*LEFT_RIGHT, '--connect', 'rerun+http://127.0.0.1:1/proxy'], 'rerun+http://127.0.0.1:1/proxy'),
        ([*LEFT_RIGHT, '--connect', 'nonsense'], 'no rerun viewer answers at nonsense'),
        ([*LEFT_RIGHT, '--save', 'x.txt'], 'give FILE.rrd for rerun, or FILE.mcap'),
        ([*LEFT_RIGHT, '--save', 'x.rrd', '--to', 'foxglove'], '.rrd files are for rerun'),
        ([*LEFT_RIGHT, '--save', 'left/0.png/x.rrd'], 'is a file; name a folder'),
        ([*LEFT_RIGHT, '--save', 'there.rrd'], 'is there already; give --overwrite'),
        ([*LEFT_RIGHT, '--overwrite'], '--overwrite is for the file of --save'),
        ([*LEFT_RIGHT, '--save', 'x.rrd', '--port', 1], '--host and --port are for --to foxglove'),
        ([*LEFT_RIGHT, '--to', 'foxglove', '--port', 70000], '--port is 70000'),
        ([*LEFT_RIGHT, '--save', 'x.rrd', '--memory-limit', '4'], "--memory-limit is '4'; give"),
        ([*LEFT_RIGHT, '--to', 'foxglove', '--connect', 'x'], '--connect is for a rerun viewer'),
        ([*LEFT_RIGHT, '--save', 'x.rrd', '--rectify'], '--rectify needs the calibration'),
        ([*LEFT_RIGHT, '--save', 'x.rrd', '--filter-smoothing', 1], 'files have no time'),
        (['left/0.png', '--save', 'x.rrd'], 'give LEFT and RIGHT, a folder with left/ and right/'),
        (['left', 'right', '--split', '--save', 'x.rrd'], '--split is for one image'),
        (['nowhere.png', '--split', '--save', 'x.rrd'], 'nowhere.png: no file there'),
        (['--camera', 77, '--save', 'x.rrd'], 'a camera gives one image at a time; give --split'),
        (['--camera', 'text.png', '--split', '--save', 'x.rrd'], 'text.png'),
        (['--camera', 77, 'bag.mcap', '--save', 'x.rrd'], 'give a BAG or --camera, not both'),
        (['--camera', 77, '--split', '--save', 'x.rrd'], 'camera 77 cannot be opened; give'),
        (['--camera', 'left/0.txt', '--split', '--save', 'x.rrd'], 'cannot be opened'),
    ],
)  # fmt: skip
def test_what_cannot_be_shown_is_one_clear_error(command, arguments, words):
    Path('there.rrd').write_bytes(b'something')
    Path('text.png').write_text('no picture')
    code, out, err = command(*arguments)
    assert (code, out) == (2, '')
    errors = [line for line in err.splitlines() if 'error' in line]
    assert len(errors) == 1
    assert words in errors[0]
    assert files() == {'there.rrd', 'text.png'}
    assert Path('there.rrd').read_bytes() == b'something'


@pytest.mark.parametrize(('name', 'package'), [('x.rrd', 'rerun'), ('x.mcap', 'foxglove')])
def test_a_viewer_that_is_not_installed_names_the_extra(command, monkeypatch, name, package):
    monkeypatch.delitem(sys.modules, f'nndepth_core.view.{package}_sink', raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    code, _, err = command(*LEFT_RIGHT, '--save', name)
    assert code == 2
    assert f'{package}-sdk is not installed; pip install "nndepth[view]"' in err


def test_a_file_is_replaced_if_that_is_wanted(command):
    Path('x.rrd').write_bytes(b'something')
    assert command(*LEFT_RIGHT, '--save', 'x.rrd', '--overwrite')[0] == 0
    assert 'world/camera/image' in read_rrd(Path('x.rrd'))


@pytest.mark.parametrize('name', ['x.rrd', 'x.mcap'])
def test_an_interrupted_recording_holds_what_was_shown(command, monkeypatch, name):
    read = ImagePairs.__getitem__

    def interrupted(pairs, index):
        if index == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return read(pairs, index)

    monkeypatch.setattr(ImagePairs, '__getitem__', interrupted)
    code, _, err = command('left', 'right', *LEFT_RIGHT[2:], '--save', name)
    assert code == 130
    assert err.endswith('nndepth: interrupted\n')
    assert f'{name} is written' in err
    assert files() == {name}
    if name == 'x.rrd':
        assert len(read_rrd(Path(name))['world/camera/image']) == 2
    else:
        assert len(read_mcap(Path(name))['/left/image_rect/compressed']) == 2


@pytest.mark.parametrize(
    ('name', 'bytes_left'), [('x.rrd', 40000), ('x.mcap', 40000), ('x.rrd', 1), ('x.mcap', 1)]
)
def test_a_full_disk_is_told_and_leaves_no_file(command, name, bytes_left):
    code = (
        'import resource, signal, sys; from nndepth_core import cli;'
        'signal.signal(signal.SIGXFSZ, signal.SIG_IGN);'
        f'resource.setrlimit(resource.RLIMIT_FSIZE, ({bytes_left}, {bytes_left}));'
        'sys.exit(cli.main(sys.argv[1:]))'
    )
    done = subprocess.run(
        [
            *(sys.executable, '-c', code, 'view', *map(str, LEFT_RIGHT), '--save', name),
            *('--calibration', CALIBRATION),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 2
    assert 'the recording cannot be written (' in done.stderr
    assert 'is the disk full? give another --save' in done.stderr
    assert 'logging' not in done.stderr  # of the libraries
    assert files() == set()


def test_closing_the_viewer_before_all_was_shown_is_an_error(monkeypatch):
    from nndepth_core.view import rerun_sink

    class Recording:
        """A viewer that is closed after the second frame."""

        def __init__(self, sees: int) -> None:
            self.sees = sees

        def flush(self):
            self.sees -= 1
            if self.sees < 0:
                raise RuntimeError('severed')

        def __getattr__(self, name):
            return lambda *_, **__: None

    frame, shown = Frame(np.zeros((4, 6, 3), np.uint8)), []

    def feed(show):
        for number in range(9):
            show(frame)
            shown.append(number)

    def opened_by(sees):
        sink = rerun_sink.RerunSink(Recording(sees), 'the viewer at URL')
        monkeypatch.setattr('nndepth_core.view.sink._opened', lambda *_: _context(sink))

    opened_by(2)
    with pytest.raises(ViewerClosedError, match='the viewer at URL is gone'):
        view(SinkSettings(), feed, print)
    assert shown == [0, 1]
    opened_by(0)
    with pytest.raises(ViewerClosedError, match='severed'):
        view(SinkSettings(), feed, print)


class _context:  # noqa: N801
    def __init__(self, sink):
        self.sink = sink

    def __enter__(self):
        return self.sink

    def __exit__(self, *_):
        return None
