"""The replay of single images: what networks with and without metres give, and the scale."""

from __future__ import annotations

import json
from typing import Any

import bags
import numpy as np
import pytest
from bags import DELAY, FOCAL, HEIGHT, PERIOD, START, WIDTH, shifted_pair
from tiny_networks import NAME, brightness, write_network

from nndepth_core import MonoEstimator, PinholeCamera, StereoCamera
from nndepth_core.cli import main
from nndepth_core.scale import TrackerSettings
from nndepth_ros.bag import BagError
from nndepth_ros.bag_topics import MonoTopics, StereoTopics
from nndepth_ros.conversions import cloud_message, disparity_message, stamp_ns
from nndepth_ros.live_scale import ScaleSettings
from nndepth_ros.outputs import STATS, OutputSettings
from nndepth_ros.replay import ReplaySettings, replay

pytest.importorskip('onnxruntime')

RELATIVE = {'output': 'inverse_depth', 'value_range': None}
FACTOR, SHIFT = 0.25, -0.1
METRES = {'depth/image', 'depth/camera_info', 'points2'}
COLOR = 'depth/image_color'
SPARSE = ReplaySettings(scale=ScaleSettings('sparse_depth'))
CAMERA = PinholeCamera(WIDTH, HEIGHT, FOCAL, FOCAL, (WIDTH - 1) / 2, (HEIGHT - 1) / 2)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('mono')


@pytest.fixture(scope='module')
def metric_file(folder) -> str:
    return str(write_network(folder / 'metric.onnx', confidence='head'))


@pytest.fixture(scope='module')
def relative_file(folder) -> str:
    return str(write_network(folder / 'relative.onnx', **RELATIVE))


@pytest.fixture(scope='module')
def metric(metric_file) -> MonoEstimator:
    return MonoEstimator.load(metric_file)


@pytest.fixture(scope='module')
def relative(relative_file) -> MonoEstimator:
    return MonoEstimator.load(relative_file)


@pytest.fixture
def run(tmp_path):
    """Return a function that replays entries to 'out' and returns report and messages."""

    def run(estimator, entries, settings=None) -> tuple[dict[str, Any], dict[str, list]]:
        source = bags.write_bag(tmp_path / 'in', entries)
        report = replay(source, tmp_path / 'out', estimator, settings)
        assert json.loads(json.dumps(report)) == report
        written = bags.read_bag(tmp_path / 'out') if report['written'] else {}
        counts = {topic: len(messages) for topic, messages in written.items()}
        assert report['written'] == counts
        return report, dict(written)

    return run


def picture(number: int) -> np.ndarray:
    return shifted_pair(number)[0]


def metres(number: int) -> np.ndarray:
    """The depth told of an image, whose brightness is its inverse up to scale and shift."""
    return 1 / (FACTOR * brightness(picture(number)) + SHIFT)


def images(count: int, info: bool = True, name: str = 'image_rect') -> list[bags.Entry]:
    entries: list[bags.Entry] = []
    for number in range(count):
        stamp = START + number * PERIOD
        make = bags.compressed if name.endswith('compressed') else bags.image
        entries.append((f'/cam/{name}', stamp + DELAY, make(stamp, picture(number))))
        if info:
            entries.append(('/cam/camera_info', stamp + DELAY, bags.camera_info('', stamp)))
    return entries


def known(number: int, kind: str = 'depth', late: int = DELAY, **changes: Any) -> bags.Entry:
    """A message with the depth of an image, recorded so many nanoseconds after its stamp."""
    stamp, depth = START + number * PERIOD, np.float32(metres(number))
    header = bags.header(changes.get('stamp', stamp), changes.get('frame', bags.FRAME))
    message: Any
    if kind == 'points':
        cloud = CAMERA.colored_points(depth, picture(number))
        message = cloud_message(bags.BAG_TYPES, header, cloud)
    elif kind == 'disparity':
        rig = StereoCamera(CAMERA, 0.2, CAMERA.cx)
        values = rig.depth_to_disparity(depth)
        message = disparity_message(bags.BAG_TYPES, header, values, rig, (0.0, 64.0), 0.0)
    else:
        message = bags.image(stamp, depth, '32FC1')
        message.header = header
    return f'/sensor/{kind}', stamp + late, message


def in_order(*entries: bags.Entry) -> list[bags.Entry]:
    return sorted(entries, key=lambda entry: entry[1])


def numbers(messages: list) -> list[int]:
    return [(stamp_ns(message.header.stamp) - START) // PERIOD for _, message in messages]


# --- outputs -------------------------------------------------------------------------------------


@pytest.mark.parametrize('name', ['image_rect', 'image_rect/compressed'])
def test_every_output_of_a_metric_network(run, metric, name):
    report, found = run(metric, images(3, name=name))
    outputs = METRES | {COLOR, 'confidence'}
    assert set(found) == {f'/cam/{output}' for output in (*outputs, STATS)}
    for messages in found.values():
        assert numbers(messages) == [0, 1, 2]
        assert [time for time, _ in messages] == [START + n * PERIOD + DELAY for n in range(3)]
        assert {message.header.frame_id for _, message in messages} == {bags.FRAME}
    for number in range(3):
        depth, confidence, cloud, info = (
            found[f'/cam/{output}'][number][1]
            for output in ('depth/image', 'confidence', 'points2', 'depth/camera_info')
        )
        expected = brightness(picture(number))
        np.testing.assert_allclose(bags.float_pixels(depth), expected, rtol=1e-6)
        np.testing.assert_array_equal(bags.float_pixels(confidence), expected > 2)
        points = np.frombuffer(cloud.data, '<f4').reshape(HEIGHT, WIDTH, 4)
        np.testing.assert_allclose(points[..., 2], expected, rtol=1e-6)
        assert (info.width, info.height, info.p[0]) == (WIDTH, HEIGHT, FOCAL)
    assert found[f'/cam/{COLOR}'][0][1].encoding == 'bgr8'
    assert report['frames'] == {'found': 3, 'processed': 3, 'failed': 0}
    assert report['images'] == {
        'image': {'count': 3, 'rate_hz': pytest.approx(10), 'unpaired': {}}
    }
    assert report['topics'] == {
        'image': f'/cam/{name}',
        'camera_info': '/cam/camera_info',
        'scale_depth': '',
        'scale_points': '',
        'scale_disparity': '',
    }
    assert (report['problem'], report['coverage'], report['findings']) == (None, 1, [])
    assert report['model']['name'] == NAME
    assert 'scale' not in report


def test_a_relative_network_gives_its_own_map_and_no_metres(run, relative):
    report, found = run(relative, images(2))
    assert set(found) == {f'/cam/{x}' for x in ('inverse_depth/image', COLOR, STATS)}
    for number, (_, message) in enumerate(found['/cam/inverse_depth/image']):
        expected = brightness(picture(number))
        np.testing.assert_allclose(bags.float_pixels(message), expected, rtol=1e-6)
    assert report['density']['mean'] == 1


def test_without_camera_info_all_but_what_needs_it_is_written(run, metric, capsys):
    report, found = run(metric, images(1, info=False))
    assert set(found) == {f'/cam/{x}' for x in ('depth/image', COLOR, 'confidence', STATS)}
    assert [finding['code'] for finding in report['findings']] == ['no_camera']
    assert 'depth/camera_info and points2 are not written' in capsys.readouterr().err


def test_a_network_that_needs_the_camera_asks_for_it(run, folder):
    path = write_network(folder / 'focal.onnx', canonical_focal=200.0)
    estimator = MonoEstimator.load(str(path))
    with pytest.raises(BagError, match=r'needs the camera .* give --camera-info or --cali'):
        run(estimator, images(1, info=False))


def test_a_network_that_needs_the_camera_gets_it(run, folder):
    path = write_network(folder / 'focal.onnx', canonical_focal=2 * FOCAL)
    _, found = run(MonoEstimator.load(str(path)), images(1))
    depth = bags.float_pixels(found['/cam/depth/image'][0][1])
    np.testing.assert_allclose(depth, brightness(picture(0)) / 2, rtol=1e-6)


def test_limits_and_chosen_outputs(run, metric):
    limits = OutputSettings(min_depth=2.0, max_depth=4.0)
    report, found = run(
        metric, images(1), ReplaySettings(outputs=('depth/image',), messages=limits)
    )
    depth, expected = bags.float_pixels(found['/cam/depth/image'][0][1]), brightness(picture(0))
    assert set(found) == {'/cam/depth/image'}
    np.testing.assert_array_equal(depth == np.inf, expected > 4)
    np.testing.assert_array_equal(depth == -np.inf, expected < 2)
    inside = ((expected >= 2) & (expected <= 4)).mean()
    assert report['density']['mean'] == pytest.approx(inside, abs=1e-4)


def test_an_image_that_fails_is_counted_and_the_rest_goes_on(run, metric, capsys):
    entries = images(3)
    entries[2][2].encoding = 'rgb9'
    report, found = run(metric, entries, ReplaySettings(start=0.0))
    assert report['frames'] == {'found': 3, 'processed': 2, 'failed': 1}
    assert report['failures'][0]['reason'].startswith("image: encoding 'rgb9' is unknown")
    assert numbers(found['/cam/depth/image']) == [0, 2]
    assert 'nndepth: image of stamp' in capsys.readouterr().err


def test_of_a_stereo_bag_the_left_images_are_taken(run, metric):
    report, found = run(metric, bags.frames(2))
    assert report['topics']['image'] == '/stereo/left/image_rect'
    assert numbers(found['/stereo/left/depth/image']) == [0, 1]


# --- scale ---------------------------------------------------------------------------------------


@pytest.mark.parametrize('kind', ['depth', 'points', 'disparity'])
@pytest.mark.parametrize('late', [0, 37 * PERIOD])
def test_depths_in_the_bag_bring_every_image_to_metres(run, relative, kind, late):
    """Depths that were recorded seconds later tell the scale of their image all the same."""
    depths = [known(number, kind, late) for number in range(3)]
    source = 'stereo' if kind == 'disparity' else 'sparse_depth'
    settings = ReplaySettings(scale=ScaleSettings(source))
    report, found = run(relative, in_order(*images(3), *depths), settings)
    assert set(found) == {f'/cam/{x}' for x in (*METRES, COLOR, 'inverse_depth/image', STATS)}
    for messages in found.values():
        assert numbers(messages) == [0, 1, 2]
    for number, (_, message) in enumerate(found['/cam/depth/image']):
        np.testing.assert_allclose(bags.float_pixels(message), metres(number), rtol=1e-3)
    scale = report['scale']
    assert (scale['source'], scale['known'], scale['unknown']) == (source, 3, 0)
    assert scale['mean']['factor'] == pytest.approx(FACTOR, rel=1e-3)
    stats = found[f'/cam/{STATS}'][0][1]
    assert (stats.scale_source, stats.scale) == (source, pytest.approx(FACTOR, rel=1e-3))
    assert scale['mean']['shift'] == pytest.approx(SHIFT, abs=1e-3)
    assert report['topics'][f'scale_{kind}'] == f'/sensor/{kind}'
    assert report['findings'] == []


def test_images_without_a_scale_keep_their_own_map_and_the_reason_is_told(run, relative, capsys):
    early = ScaleSettings('sparse_depth', following=TrackerSettings(max_age=0.15))
    entries = in_order(*images(4), known(1))
    report, found = run(relative, entries, ReplaySettings(scale=early))
    assert numbers(found['/cam/inverse_depth/image']) == [0, 1, 2, 3]
    assert numbers(found['/cam/depth/image']) == [1, 2]
    assert (report['scale']['known'], report['scale']['unknown']) == (2, 2)
    codes = [finding['code'] for finding in report['findings']]
    assert codes == ['scale_waiting', 'scale_old']
    said = capsys.readouterr().err
    assert 'scale_source is sparse_depth (/sensor/depth), but there is no scale' in said


def test_depths_in_another_frame_are_named_by_their_topic(run, relative, capsys):
    report, found = run(relative, in_order(*images(1), known(0, frame='lidar')), SPARSE)
    assert set(found) == {f'/cam/{x}' for x in ('inverse_depth/image', COLOR, STATS)}
    assert report['scale'] == {
        'source': 'sparse_depth', 'known': 0, 'unknown': 1, 'mean': {},
    }  # fmt: skip
    assert "/sensor/depth: it is in frame 'lidar'" in capsys.readouterr().err


def test_known_depths_in_millimetres_are_noticed(run, relative):
    depth = known(0, late=0)
    depth[2].data = (1000 * np.frombuffer(depth[2].data, np.float32)).view(np.uint8)
    report, _ = run(relative, in_order(*images(1), depth), SPARSE)
    (finding,) = report['findings']
    assert (finding['code'], 'in metres' in finding['text']) == ('depth_unit', True)


def test_the_height_of_the_camera_needs_no_topic(run, relative):
    level = np.repeat(np.arange(HEIGHT, dtype=np.uint8)[:, None, None] * 3, WIDTH, axis=1)
    stamp = START
    entries = [
        ('/cam/image_rect', stamp, bags.image(stamp, np.repeat(level, 3, axis=2))),
        ('/cam/camera_info', stamp, bags.camera_info('', stamp)),
    ]
    settings = ReplaySettings(scale=ScaleSettings('camera_height', camera_height=1.5))
    report, found = run(relative, entries, settings)
    depth = bags.float_pixels(found['/cam/depth/image'][0][1])
    rows = np.arange(HEIGHT // 2 + 1, HEIGHT)
    expected = 1.5 * FOCAL / (rows - CAMERA.cy)
    np.testing.assert_allclose(depth[rows, 5], expected, rtol=1e-3)
    assert report['scale']['known'] == 1


@pytest.mark.parametrize('depths', [(), (known(0),)])
def test_a_scale_for_metres_is_without_use(run, metric, depths):
    report, found = run(metric, in_order(*images(1), *depths), SPARSE)
    assert [finding['code'] for finding in report['findings']] == ['scale_without_use']
    depth = bags.float_pixels(found['/cam/depth/image'][0][1])
    np.testing.assert_allclose(depth, brightness(picture(0)), rtol=1e-6)


def test_the_same_bytes_from_the_same_input(tmp_path, relative):
    source = bags.write_bag(tmp_path / 'in', in_order(*images(3), *map(known, range(3))))
    written = []
    for name in ('first', 'second'):
        target = tmp_path / name / 'out'
        replay(source, target, relative, SPARSE)
        written.append((target / 'out.mcap').read_bytes())
    assert written[0] == written[1]


def test_copied_inputs_and_an_output_of_the_same_name(run, relative, tmp_path):
    entries = in_order(*images(1), known(0))
    settings = ReplaySettings(scale=SPARSE.scale, copy_inputs=True)
    _, found = run(relative, entries, settings)
    assert {'/cam/image_rect', '/cam/camera_info', '/sensor/depth'} < set(found)
    same = [(topic.replace('/sensor/depth', '/cam/depth/image'), *e) for topic, *e in entries]
    source = bags.write_bag(tmp_path / 'same', same)
    with pytest.raises(BagError, match='/cam/depth/image is an input and would be an output too'):
        replay(source, tmp_path / 'other', relative, settings)
    assert not (tmp_path / 'other').exists()


# --- topics and arguments ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('settings', 'says'),
    [
        (ReplaySettings(MonoTopics(image='/x')), "--image '/x' is no image topic"),
        (ReplaySettings(MonoTopics(camera_info='/x')), "--camera-info '/x' is no camera_info"),
        (
            ReplaySettings(MonoTopics(scale_depth='/sensor/depth')),
            '--scale-depth is .* and --scale-source is none',
        ),
        (
            ReplaySettings(MonoTopics(scale_depth='/x'), scale=SPARSE.scale),
            "--scale-depth '/x' is no depth topic of this bag; choose from .*/sensor/depth",
        ),
        (
            ReplaySettings(MonoTopics(scale_depth='/cam/image_rect'), scale=SPARSE.scale),
            "--scale-depth is '/cam/image_rect', the topic of the images themselves",
        ),
        (
            ReplaySettings(scale=ScaleSettings('stereo')),
            r'2 topics for --scale-source stereo; choose by --scale-depth or --scale-disparity '
            r'from /other/depth \(1 messages\), /sensor/depth',
        ),
        (
            ReplaySettings(scale=SPARSE.scale),
            '3 topics for --scale-source sparse_depth; choose by --scale-depth or --scale-points',
        ),
        (ReplaySettings(StereoTopics()), 'the topics are StereoTopics'),
        (ReplaySettings(outputs=('depth/image',)), 'gives no depth/image; .* give --scale-source'),
    ],
)
def test_what_cannot_be_is_refused(tmp_path, relative, settings, says):
    entries = in_order(*images(1), known(0), known(0, 'points'))
    entries.append(('/other/depth', entries[-1][1], known(0)[2]))
    source = bags.write_bag(tmp_path / 'in', entries)
    with pytest.raises(ValueError, match=says):
        replay(source, tmp_path / 'out', relative, settings)
    assert not (tmp_path / 'out').exists()


def test_two_cameras_are_to_be_chosen_from(tmp_path, metric):
    other = [(f'/other{topic}', *rest) for topic, *rest in images(1)]
    source = bags.write_bag(tmp_path / 'in', [*images(1), *other])
    with pytest.raises(BagError, match=r'2 cameras \(/cam/image_rect, /other/cam/image_rect\)'):
        replay(source, tmp_path / 'out', metric)
    report = replay(
        source, tmp_path / 'out', metric, ReplaySettings(MonoTopics('/other/cam/image_rect'))
    )
    assert '/other/cam/depth/image' in report['written']


def test_the_command_with_every_option(tmp_path, capsys, relative_file):
    entries = in_order(*images(4, info=False), *map(known, range(4)))
    source = bags.write_bag(tmp_path / 'in', entries)
    code = main(
        [
            'replay', str(source), str(tmp_path / 'out'), '--model', relative_file,
            '--image', '/cam/image_rect', '--calibration', f'{FOCAL},{FOCAL},47.5,31.5',
            '--scale-source', 'sparse_depth', '--scale-depth', '/sensor/depth',
            '--scale-tolerance', '0.01', '--scale-smoothing', '0', '--scale-max-age', '2',
            '--topics', 'depth/image,points2', '--start', '0.1', '--duration', '0.2',
        ]
    )  # fmt: skip
    printed = capsys.readouterr()
    assert (code, printed.err) == (0, '')
    assert printed.out.startswith('2 of 2 images processed, 0 failed; ')
    assert 'the scale is known in 2 of 2 images, from sparse_depth' in printed.out
    found = bags.read_bag(tmp_path / 'out')
    assert {topic: numbers(messages) for topic, messages in found.items()} == {
        '/cam/depth/image': [1, 2],
        '/cam/points2': [1, 2],
    }


def test_the_command_ends_with_1_if_the_scale_was_never_known(tmp_path, capsys, relative_file):
    source = bags.write_bag(tmp_path / 'in', in_order(*images(1), known(0, frame='lidar')))
    call = ['replay', str(source), str(tmp_path / 'out'), '--model', relative_file]
    assert main([*call, '--scale-source', 'sparse_depth']) == 1
    assert 'the scale is known in 0 of 1 images' in capsys.readouterr().out


def test_findings_of_the_command_name_options(tmp_path, capsys, relative_file, metric_file):
    entries = in_order(*images(1), known(0, late=0, stamp=START - 10**9))
    source = str(bags.write_bag(tmp_path / 'in', entries))
    call = ['--scale-source', 'sparse_depth', '--json']
    main(['replay', source, str(tmp_path / 'out'), '--model', relative_file, *call])
    printed = capsys.readouterr()
    assert 'raise --scale-tolerance' in printed.err
    assert 'are left out' in json.loads(printed.out)['findings'][0]['text']
    main(['replay', source, str(tmp_path / 'metric'), '--model', metric_file, *call])
    assert '--scale-source is sparse_depth, but' in capsys.readouterr().err


def test_a_camera_that_cannot_be_is_found_once(run, metric, capsys):
    entries = images(1)
    entries[1][2].p[:] = 0
    report, _ = run(metric, entries)
    assert [finding['code'] for finding in report['findings']] == ['calibration']


@pytest.mark.parametrize(
    ('model', 'options', 'says'),
    [
        ('mono', ['--left', '/a'], '--left is for stereo models and'),
        ('mono', ['--sync-tolerance', '0.1'], '--sync-tolerance is for stereo models'),
        ('mono', ['--topics', 'disparity'], 'disparity is no output of a mono model'),
        (
            'mono',
            ['--scale-source', 'camera_height'],
            '--camera-height is 0; set it to the metres of the camera above the ground, or choose '
            'another --scale-source',
        ),
        ('sgbm', ['--image', '/a'], '--image is for models of single images and sgbm is none'),
        ('sgbm', ['--camera-height', '1'], '--camera-height is for models of single images'),
        ('sgbm', ['--topics', 'inverse_depth/image'], 'is no output of a stereo model'),
    ],
)
def test_arguments_of_the_other_task_are_refused(
    tmp_path, capsys, relative_file, model, options, says
):
    source = bags.write_bag(tmp_path / 'in', images(1))
    model = relative_file if model == 'mono' else model
    call = ['replay', str(source), str(tmp_path / 'out'), '--model', model]
    assert main([*call, *options]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line
