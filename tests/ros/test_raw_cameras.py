"""Raw cameras in the nodes, in replay and beside one another: a rig whose truth is known."""

from __future__ import annotations

import functools
from dataclasses import replace

import bags
import numpy as np
import pytest
from bags import PERIOD, START

from nndepth_core import cli
from nndepth_core.calibration import parse_raw
from nndepth_core.estimator import MonoEstimator, StereoEstimator
from nndepth_core.io import read_depth, read_image
from nndepth_core.rectification.rectifier import rectified, rectifier_of
from nndepth_core.testing.raw_rig import LENSES, RawRig
from nndepth_ros.bag import BagError
from nndepth_ros.pseudo_label import pseudo_label
from nndepth_ros.replay import ReplaySettings, replay

WIDTH, HEIGHT = 160, 120
INNER = np.s_[16:-16, 40:-16]
ROWS = 'rows: {}, cols: {}, data: {}'


@functools.cache
def rig_of(model: str = 'plumb_bob') -> RawRig:
    return RawRig.of(model, WIDTH, HEIGHT)


@functools.cache
def raw_images(model: str = 'plumb_bob') -> tuple[np.ndarray, np.ndarray]:
    return rig_of(model).raw_images()


@functools.cache
def expected_disparity(model: str) -> np.ndarray:
    """What the library computes from the rig, without any message."""
    rectifiers = [rectifier_of(camera) for camera in rig_of(model).cameras]
    pair = rectified(rectifiers, raw_images(model))
    disparity = StereoEstimator.load('sgbm')(*pair).disparity
    if rectifiers[0].covered is not None:
        disparity[~rectifiers[0].covered] = np.nan
    return disparity


def fields(model: str = 'plumb_bob') -> list[dict]:
    """The fields of both CameraInfo."""
    return [
        {
            'width': camera.intrinsics.width,
            'height': camera.intrinsics.height,
            'distortion_model': camera.model,
            'd': np.array(camera.d),
            'k': np.array(k_of(camera)),
            'r': np.array(camera.r),
            'p': np.array(camera.rectified.projection()),
        }
        for camera in rig_of(model).cameras
    ]


def k_of(camera) -> list[float]:
    raw = camera.intrinsics
    return [raw.fx, 0.0, raw.cx, 0.0, raw.fy, raw.cy, 0.0, 0.0, 1.0]


def file_of(folder, model: str = 'plumb_bob') -> str:
    """Write the rig as the two files of ROS."""
    for side, values in zip(('left', 'right'), fields(model), strict=True):
        text = f'image_width: {WIDTH}\nimage_height: {HEIGHT}\ndistortion_model: {model}\n'
        for name, key, rows in (
            ('camera_matrix', 'k', 3),
            ('distortion_coefficients', 'd', 1),
            ('rectification_matrix', 'r', 3),
            ('projection_matrix', 'p', 3),
        ):
            data = values[key].tolist()
            text += f'{name}: {{{ROWS.format(rows, len(data) // rows, data)}}}\n'
        (folder / f'{side}.yaml').write_text(text)
    return str(folder)


def assert_rectified(info, camera) -> None:
    """It describes a pinhole camera without distortion."""
    assert (info.width, info.height) == (camera.width, camera.height)
    assert not any(info.d)
    np.testing.assert_allclose(info.r, np.eye(3).ravel())
    np.testing.assert_allclose(info.p, camera.projection())
    np.testing.assert_allclose(info.k, np.array(info.p)[[0, 1, 2, 4, 5, 6, 8, 9, 10]])


# --- over DDS ------------------------------------------------------------------------------------


@pytest.fixture
def raw_rig(make_rig):
    """Return a function that starts a node with rectify, and the function that sends its pairs."""
    from rig import camera_info

    def start(model='plumb_bob', outputs=('disparity',), file='', **parameters):
        parameters = {'rectify': True, 'calibration': file, **parameters}
        rig = make_rig(outputs=outputs, parameters=parameters)

        def send(stamp: int, changes=({}, {}), images=None) -> None:
            if not file:
                infos = (
                    camera_info(side, **{**values, **change})
                    for side, values, change in zip(
                        rig.node.sides, fields(model), changes, strict=True
                    )
                )
                rig.send_infos(*infos, stamp_ns=stamp)
            rig.send_pair(stamp, images or raw_images(model), infos=False)

        return rig, send

    return start


def pixels(image):
    return np.frombuffer(image.data, np.float32).reshape(image.height, image.width)


def known(message):
    return pixels(message.image) >= message.min_disparity


def error(message, truth: RawRig) -> float:
    """The median error of a DisparityImage in its middle."""
    off = (pixels(message.image) - truth.disparity())[INNER]
    assert known(message)[INNER].mean() > 0.9
    return abs(float(np.median(off[known(message)[INNER]])))


@pytest.mark.parametrize('model', LENSES)
def test_the_node_rectifies_raw_images(raw_rig, model):
    rig, send = raw_rig(model, ('disparity', 'depth/image', 'depth/camera_info'))
    assert rig.node.image_topics['left'].endswith('/left/image_raw')
    send(START)
    disparity, depth, info = (rig.wait_for(name)[0] for name in rig.subscriptions)
    truth = rig_of(model)
    assert error(disparity, truth) < 0.05
    expected = expected_disparity(model)
    found = np.where(known(disparity), pixels(disparity.image), np.nan)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_allclose(np.nanmedian((pixels(depth) / truth.depth())[INNER]), 1, atol=0.005)
    assert_rectified(info, truth.left.rectified)


def test_a_file_takes_the_place_of_camera_info(raw_rig, tmp_path):
    rig, send = raw_rig(outputs=('disparity', 'depth/camera_info'), file=file_of(tmp_path))
    send(START)
    disparity, info = (rig.wait_for(name)[0] for name in rig.subscriptions)
    assert error(disparity, rig_of()) < 0.05
    assert_rectified(info, rig_of().left.rectified)


def test_a_file_serves_rectified_images_too(make_rig):
    from rig import BASELINE, FOCAL, SHIFT

    numbers = f'{FOCAL},{FOCAL},79.5,47.5,{BASELINE}'
    rig = make_rig(
        outputs=('depth/image', 'depth/camera_info'), parameters={'calibration': numbers}
    )
    assert rig.node.image_topics['left'].endswith('/left/image_rect')
    rig.send_pair(START, infos=False)
    depth, info = (rig.wait_for(name)[0] for name in rig.subscriptions)
    assert np.nanmedian(pixels(depth)[INNER]) == pytest.approx(FOCAL * BASELINE / SHIFT)
    assert list(info.p)[:4] == [FOCAL, 0.0, 79.5, 0.0]


def test_a_window_with_joined_pixels_is_rectified(raw_rig):
    """The camera_info describes the whole sensor; the images are a part of it, half as large."""
    rig, send = raw_rig(outputs=('disparity', 'depth/camera_info'))
    whole = RawRig.of('plumb_bob', 2 * WIDTH, 2 * HEIGHT)
    window = whole.cut(20, 16, 256, 192, 2)
    changes = []
    for camera in whole.cameras:
        raw, p = camera.intrinsics, camera.rectified.projection()
        roi = rig.types.region_of_interest(x_offset=20, y_offset=16, width=256, height=192)
        changes.append(
            {'width': raw.width, 'height': raw.height, 'k': k_of(camera), 'p': p}
            | {'roi': roi, 'binning_x': 2, 'binning_y': 2}
        )
    send(START, changes, window.raw_images())
    disparity, info = (rig.wait_for(name)[0] for name in rig.subscriptions)
    assert (disparity.image.width, disparity.image.height) == (128, 96)
    seen = StereoEstimator.load('sgbm')(*window.rectified_images()).disparity  # by pinhole cameras
    assert abs(np.nanmedian((pixels(disparity.image) - seen)[INNER])) < 0.05
    assert (info.width, info.roi.width, info.binning_x) == (2 * WIDTH, 256, 2)
    np.testing.assert_allclose(info.p, whole.left.rectified.projection())
    assert not any(info.d)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'d': []}, 'left camera_info: the distortion D is missing, and rectification needs it'),
        (
            {'distortion_model': 'fov'},
            "left camera_info: the distortion model is 'fov'; known",
        ),
        ({'r': [0.0] * 9}, 'left camera_info: R is all zeros, and rectification needs it'),
        ({'p': [0.0] * 12}, 'left camera_info: P is all zeros while K is given; a pair is'),
        (
            {'width': 80, 'height': 60},
            'maps of the left camera are for raw images of 80x60 and these are 160x120',
        ),
    ],
)
def test_what_cannot_be_rectified_is_said_and_the_stream_goes_on(raw_rig, changes, message):
    rig, send = raw_rig()
    send(START, (changes, {}))
    rig.wait_diagnostic(message)
    send(START + PERIOD)
    (disparity,) = rig.wait_for('disparity')
    assert error(disparity, rig_of()) < 0.05
    assert rig.node.failed == 1


def test_images_of_two_sizes_are_refused_and_the_stream_goes_on(raw_rig):
    rig, send = raw_rig()
    left, right = raw_images()
    send(START, images=(left, np.ascontiguousarray(right[:60, :80])))
    rig.wait_diagnostic('left is 160x120 and right 80x60; the images of a pair must have one size')
    send(START + PERIOD)
    rig.wait_for('disparity')


def test_a_vertical_pair_is_refused_in_one_sentence(raw_rig):
    rig, send = raw_rig()
    p = rig_of().right.rectified.projection()
    p[3], p[7] = 0.0, p[3]
    send(START, ({}, {'p': p}))
    rig.wait_diagnostic('this is a vertical pair: by P[7] the right camera stands 0.12 m below')


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('nowhere.yaml', 'nowhere.yaml is no file; give the path'),
        ('odd.yaml', 'is no calibration of cameras before rectif'),
    ],
)
def test_a_wrong_file_ends_the_configuration(make_rig, tmp_path, name, message):
    (tmp_path / 'odd.yaml').write_text('a: 1')
    parameters = {'rectify': True, 'calibration': str(tmp_path / name)}
    rig = make_rig(parameters=parameters, start='unconfigured')
    rig.in_executor(rig.node.trigger_configure)
    rig.wait_diagnostic(message)


@pytest.mark.parametrize('by', ['camera_info', 'camera_info without R and P', 'file'])
def test_the_mono_node_rectifies_too(make_mono_rig, tmp_path, by):
    pytest.importorskip('onnxruntime')
    from rig import camera_info
    from tiny_networks import brightness, write_network

    model = str(write_network(tmp_path / 'metric.onnx'))
    file = f'{file_of(tmp_path)}/left.yaml' if by == 'file' else ''
    rig = make_mono_rig(
        outputs=('depth/image', 'depth/camera_info'),
        model=model,
        parameters={'rectify': True, 'calibration': file},
    )
    assert rig.node.image_topics[''].endswith('/image_raw')
    values, camera = fields()[0], rig_of().left
    if 'without' in by:
        values |= {'r': np.zeros(9), 'p': np.zeros(12)}
        camera = replace(camera, r=(1, 0, 0, 0, 1, 0, 0, 0, 1), rectified=camera.intrinsics)
    if not file:
        rig.send_infos(camera_info('', **values))
    rig.send(START, raw_images()[0], infos=False)
    depth, info = (rig.wait_for(topic)[0] for topic in rig.subscriptions)
    rectifier = rectifier_of(camera)
    expected = brightness(rectifier(raw_images()[0]))
    if rectifier.covered is not None:
        expected[~rectifier.covered] = np.nan
    np.testing.assert_allclose(pixels(depth), expected, rtol=1e-6)
    assert_rectified(info, camera.rectified)


def test_without_camera_info_the_mono_node_waits_for_it(make_mono_rig, tmp_path):
    pytest.importorskip('onnxruntime')
    from rig import camera_info
    from tiny_networks import write_network

    model = str(write_network(tmp_path / 'metric.onnx'))
    rig = make_mono_rig(outputs=('depth/image',), model=model, parameters={'rectify': True})
    rig.send(START, raw_images()[0], infos=False)
    rig.wait_until(lambda: rig.node.without_info is not None, 'the image')
    rig.send_infos(camera_info('', **fields()[0]))
    rig.wait_for('depth/image')


# --- bags ----------------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def estimator():
    return StereoEstimator.load('sgbm')


def frames(name='image_raw', infos=True, changes=None, count=2):
    """A bag of the rig; raw images lie beside rectified ones that are black."""
    for number in range(count):
        stamp = START + number * PERIOD
        for at, side in enumerate(('left', 'right')):
            black = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
            for topic, picture in ((name, raw_images()[at]), ('image_rect', black)):
                yield f'/rig/{side}/{topic}', stamp, bags.image(stamp, picture)
            if infos:
                values = {**fields()[at], **(changes or {})}
                info = bags.camera_info(side, stamp, **values)
                yield f'/rig/{side}/camera_info', stamp, info


def pixels_of(message) -> np.ndarray:
    return np.frombuffer(message.data, np.uint8).reshape(message.height, message.width, 3)


def disparities(path):
    return [message for _, message in bags.read_bag(path)['/rig/disparity']]


@pytest.mark.parametrize('by', ['camera_info', 'file'])
def test_replay_rectifies_as_the_node_does(tmp_path, estimator, by):
    source = bags.write_bag(tmp_path / 'in', frames(infos=by == 'camera_info'))
    calibration = parse_raw(file_of(tmp_path)) if by == 'file' else None
    settings = ReplaySettings(rectify=True, calibration=calibration)
    report = replay(source, tmp_path / 'out', estimator, settings)
    assert report['topics']['left'] == '/rig/left/image_raw'
    assert report['pairs'] == {'found': 2, 'processed': 2, 'failed': 0}
    codes = {finding['code'] for finding in report['findings']}
    assert not codes & {'distortion_left', 'not_rectified', 'vertical', 'calibration'}
    found = bags.read_bag(tmp_path / 'out')
    assert_rectified(found['/rig/depth/camera_info'][0][1], rig_of().left.rectified)
    for message in disparities(tmp_path / 'out'):
        assert error(message, rig_of()) < 0.05
        values = np.where(known(message), pixels(message.image), np.nan)
        np.testing.assert_array_equal(values, expected_disparity('plumb_bob'))


@pytest.mark.parametrize('by', ['camera_info', 'file'])
def test_replay_rectifies_single_images(tmp_path, by):
    pytest.importorskip('onnxruntime')
    from tiny_networks import brightness, write_network

    estimator = MonoEstimator.load(str(write_network(tmp_path / 'metric.onnx')))
    source = bags.write_bag(tmp_path / 'in', frames(infos=by == 'camera_info', count=1))
    file = parse_raw(f'{file_of(tmp_path)}/left.yaml', single=True) if by == 'file' else None
    settings = ReplaySettings(rectify=True, calibration=file)
    report = replay(source, tmp_path / 'out', estimator, settings)
    assert report['topics']['image'] == '/rig/left/image_raw'
    found = bags.read_bag(tmp_path / 'out')
    rectifier = rectifier_of(rig_of().left)
    expected = brightness(rectifier(raw_images()[0]))
    expected[~rectifier.covered] = np.nan
    np.testing.assert_allclose(pixels(found['/rig/left/depth/image'][0][1]), expected, rtol=1e-6)
    assert_rectified(found['/rig/left/depth/camera_info'][0][1], rig_of().left.rectified)


def test_single_images_without_camera_info_are_not_rectified(tmp_path):
    pytest.importorskip('onnxruntime')
    from tiny_networks import write_network

    estimator = MonoEstimator.load(str(write_network(tmp_path / 'metric.onnx')))
    source = bags.write_bag(tmp_path / 'in', frames(infos=False, count=1))
    with pytest.raises(BagError, match='--rectify needs the camera and there is no camera_info'):
        replay(source, tmp_path / 'out', estimator, ReplaySettings(rectify=True))


def test_the_command_takes_compressed_images_and_a_file(tmp_path, capsys):
    raw = (
        (topic, time, bags.compressed(time, pixels_of(message)) if 'image' in topic else message)
        for topic, time, message in frames(name='image_raw/compressed', count=1)
        if not topic.endswith('image_rect')
    )
    source = bags.write_bag(tmp_path / 'in', raw)
    arguments = ['replay', str(source), str(tmp_path / 'out'), '--model', 'sgbm', '--rectify']
    assert cli.main([*arguments, '--calibration', file_of(tmp_path)]) == 0
    assert '1 of 1 pairs processed' in capsys.readouterr().out
    (message,) = disparities(tmp_path / 'out')
    assert error(message, rig_of()) < 0.05


def test_replay_says_what_cannot_be_rectified(tmp_path, estimator):
    source = bags.write_bag(tmp_path / 'in', frames(changes={'d': np.zeros(0)}))
    report = replay(source, tmp_path / 'out', estimator, ReplaySettings(rectify=True))
    assert 'left camera_info: the distortion D is missing' in report['problem']
    assert [finding['code'] for finding in report['findings']] == ['calibration']


def test_replay_names_the_option_for_raw_images(tmp_path, estimator):
    raw = (entry for entry in frames(count=1) if not entry[0].endswith('image_rect'))
    source = bags.write_bag(tmp_path / 'in', raw)
    report = replay(source, tmp_path / 'out', estimator)
    texts = {finding['code']: finding['text'] for finding in report['findings']}
    assert 'give --rectify' in texts['not_rectified']


def test_replay_warns_of_images_that_look_rectified(tmp_path, estimator):
    only = (entry for entry in frames(count=1) if not entry[0].endswith('image_raw'))
    source = bags.write_bag(tmp_path / 'in', only)
    report = replay(source, tmp_path / 'out', estimator, ReplaySettings(rectify=True))
    texts = {finding['code']: finding['text'] for finding in report['findings']}
    assert '--rectify rectifies it again' in texts['rectified_twice']


def test_raw_pairs_become_labels_of_rectified_images(tmp_path, estimator):
    source = bags.write_bag(tmp_path / 'in', frames(count=1))
    report = pseudo_label(source, tmp_path / 'out', estimator, ReplaySettings(rectify=True))
    assert report['problem'] is None
    image = read_image(tmp_path / 'out' / 'image' / f'{START}.png')
    camera = rig_of().left
    np.testing.assert_array_equal(image, rectifier_of(camera)(raw_images()[0]))
    depth = read_depth(tmp_path / 'out' / 'depth' / f'{START}.png')
    assert np.nanmedian((depth / rig_of().depth())[INNER]) == pytest.approx(1, abs=0.005)
