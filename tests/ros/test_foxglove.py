"""The Foxglove layout shows what a replayed bag holds; Foxglove itself is not needed for that."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip('mcap')
pytest.importorskip('rosbags')

from bags import MODEL, float_pixels, frames, read_bag, write_bag
from mcap.reader import make_reader

from nndepth_core.estimator import StereoEstimator
from nndepth_ros.bag import TYPES
from nndepth_ros.replay import ReplaySettings, replay

LAYOUT = json.loads(
    (Path(__file__).parents[2] / 'config' / 'foxglove' / 'stereo.json').read_text()
)
PANELS = LAYOUT['configById']
IMAGE, INFO = 'sensor_msgs/msg/Image', 'sensor_msgs/msg/CameraInfo'
# What the 3D panel draws; stereo_msgs/DisparityImage is not among it, nor does an image panel.
DRAWN = {IMAGE, INFO, 'sensor_msgs/msg/PointCloud2'}


@pytest.fixture(scope='module')
def made(tmp_path_factory) -> Path:
    """A bag that was replayed, with its inputs."""
    folder = tmp_path_factory.mktemp('foxglove')
    source = write_bag(folder / 'in', frames(3))
    settings = ReplaySettings(copy_inputs=True)
    replay(source, folder / 'out', StereoEstimator.load(MODEL), settings)
    return folder / 'out'


@pytest.fixture(scope='module')
def schemas(made) -> dict[str, str]:
    """The type of each topic, as it stands in the file."""
    with next(made.glob('*.mcap')).open('rb') as file:
        summary = make_reader(file).get_summary()
    for schema in summary.schemas.values():
        assert schema.encoding == 'ros2msg'
        assert schema.data
    assert {channel.message_encoding for channel in summary.channels.values()} == {'cdr'}
    return {
        channel.topic: summary.schemas[channel.schema_id].name
        for channel in summary.channels.values()
    }


def kinds(*names: str) -> dict[str, dict]:
    return {key: value for key, value in PANELS.items() if key.partition('!')[0] in names}


def leaves(node: str | dict) -> Iterator[str]:
    if isinstance(node, str):
        yield node
        return
    assert node['direction'] in ('row', 'column')
    assert 0 < node['splitPercentage'] < 100
    yield from leaves(node['first'])
    yield from leaves(node['second'])


def test_every_panel_is_placed_once():
    assert sorted(leaves(LAYOUT['layout'])) == sorted(PANELS)
    assert set(PANELS) == set(kinds('Image', '3D', 'Plot'))


def test_image_panels_show_images_of_the_bag(schemas):
    for panel in kinds('Image').values():
        mode = panel['imageMode']
        assert schemas[mode['imageTopic']] == IMAGE
        assert schemas[mode['calibrationTopic']] == INFO


def test_the_scene_has_a_cloud_and_a_depth_with_its_camera(schemas):
    (scene,) = kinds('3D').values()
    shown = {topic: values for topic, values in scene['topics'].items() if values['visible']}
    assert {schemas[topic] for topic in shown} == DRAWN
    for topic, values in shown.items():
        if schemas[topic] == IMAGE:
            assert schemas[values['cameraInfoTopic']] == INFO


def test_what_the_scene_shows_is_of_one_frame_and_one_size(made):
    (scene,) = kinds('3D').values()
    found = read_bag(made)
    messages = {topic: [message for _, message in found[topic]] for topic in scene['topics']}
    assert len({it.header.frame_id for group in messages.values() for it in group}) == 1
    stamps = {topic: [it.header.stamp for it in group] for topic, group in messages.items()}
    assert len({str(times) for times in stamps.values()}) == 1
    assert len({(it.height, it.width) for group in messages.values() for it in group}) == 1
    cloud = next(group[0] for topic, group in messages.items() if 'points2' in topic)
    assert {'x', 'y', 'z', scene['topics']['/stereo/points2']['colorField']} <= {
        field.name for field in cloud.fields
    }


def test_ranges_of_colours_hold_what_is_shown(made):
    found = read_bag(made)
    for panel in kinds('Image').values():
        mode = panel['imageMode']
        message = found[mode['imageTopic']][0][1]
        assert ('minValue' in mode) == (message.encoding == '32FC1')
        if 'minValue' in mode:
            pixels = float_pixels(message)
            inside = (pixels >= mode['minValue']) & (pixels <= mode['maxValue'])
            assert inside.mean() > 0.5


def test_plots_show_numbers_of_the_statistics(schemas, made):
    numbers = {'float32', 'uint32', 'uint64'}
    for panel in kinds('Plot').values():
        for path in panel['paths']:
            assert path['enabled']
            topic, field = re.fullmatch(r'(/[\w/]+)\.(\w+)', path['value']).groups()
            fields = dict(TYPES.fielddefs[schemas[topic]][1])
            assert fields[field][1][0] in numbers
    densities = [message.density for _, message in read_bag(made)['/stereo/stats']]
    assert len(densities) == 3
    assert all(0.5 < density <= 1 for density in densities)
