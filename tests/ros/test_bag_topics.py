"""Which topics of a bag are taken for the stereo camera."""

from __future__ import annotations

import pytest

from nndepth_ros.bag import BagError
from nndepth_ros.bag_topics import StereoTopics, find_topics


class FakeBag:
    """A bag of one message on each topic."""

    remarks = ''

    def __init__(self, *topics: str) -> None:
        kinds = {'camera_info': 'CameraInfo', 'compressed': 'CompressedImage', 'imu': 'Imu'}
        self.topics = {
            topic: f'sensor_msgs/msg/{kinds.get(topic.rpartition("/")[2], "Image")}'
            for topic in topics
        }
        self.counts = dict.fromkeys(topics, 1)


def _camera(namespace: str, *names: str) -> list[str]:
    return [
        f'{namespace}/{side}/{name}'
        for side in ('left', 'right')
        for name in (*names, 'camera_info')
    ]


@pytest.mark.parametrize(
    ('topics', 'left', 'namespace'),
    [
        (_camera('/a', 'image_raw', 'image_rect_color'), '/a/left/image_rect_color', '/a'),
        (_camera('/a', 'image_rect_color', 'image_rect'), '/a/left/image_rect', '/a'),
        (_camera('/a/b', 'image_raw', 'image_rect/compressed'),
         '/a/b/left/image_rect/compressed', '/a/b'),
        (_camera('', 'image_rect', 'image_rect/compressed'), '/left/image_rect', ''),
        (['/my/left_cam/image_raw', '/my/right_cam/image_raw', '/my/left_cam/camera_info',
          '/my/right_cam/camera_info', '/imu'], '/my/left_cam/image_raw', '/my'),
        ([f'/zed/{side}/color/{kind}/{name}' for side in ('left', 'right')
          for kind in ('raw', 'rect') for name in ('image', 'camera_info')],
         '/zed/left/color/rect/image', '/zed'),
        ([*_camera('/left_robot', 'image_rect'), *_camera('/b', 'image_raw')],
         '/left_robot/left/image_rect', '/left_robot'),
    ],
)  # fmt: skip
def test_topics_are_found(topics, left, namespace):
    found = find_topics(FakeBag(*topics), StereoTopics())
    assert found.left == left
    assert found.right in topics
    assert found.right != left
    assert found.left_info == f'{left.removesuffix("/compressed").rpartition("/")[0]}/camera_info'
    assert found.namespace == namespace


def test_chosen_topics_are_taken():
    bag = FakeBag('/c/infra1/image', '/c/infra2/image', '/c/one', '/c/infra2/camera_info')
    bag.topics['/c/one'] = 'sensor_msgs/msg/CameraInfo'
    chosen = StereoTopics('/c/infra1/image', '/c/infra2/image', '/c/one')
    found = find_topics(bag, chosen)
    assert found == StereoTopics(
        '/c/infra1/image', '/c/infra2/image', '/c/one', '/c/infra2/camera_info'
    )
    assert found.namespace == '/c'
    assert (
        find_topics(FakeBag(*_camera('/a', 'x')), StereoTopics('/a/left/x')).right == '/a/right/x'
    )
    assert (
        find_topics(FakeBag(*_camera('/a', 'x')), StereoTopics(right='/a/right/x')).left
        == '/a/left/x'
    )


@pytest.mark.parametrize(
    ('topics', 'chosen', 'says'),
    [
        (['/imu'], {}, 'no stereo images; .* no such messages'),
        (['/cam/image_raw'], {}, r'no stereo images; .* from /cam/image_raw \(1 messages\)'),
        (
            _camera('/a', 'image_rect') + _camera('/b', 'image_rect'),
            {},
            r'2 stereo cameras \(/a/left/image_rect, /b/left/image_rect\)',
        ),
        (_camera('/a', 'image'), {'left': '/x'}, "--left '/x' is no image topic .* /a/left/image"),
        (_camera('/a', 'image'), {'left': '/a/left/camera_info'}, 'is no image topic'),
        (['/c/one', '/c/two'], {'left': '/c/one'}, "--right '' is no image topic"),
        (['/left/image', '/right/image'], {}, 'holds no /left/camera_info, .*--calibration$'),
        (_camera('/a', 'image'), {'right_info': '/y'}, "--right-info '/y' is no camera_info"),
    ],
)
def test_topics_that_are_not_there_are_named(topics, chosen, says):
    with pytest.raises(BagError, match=says):
        find_topics(FakeBag(*topics), StereoTopics(**chosen))


@pytest.mark.parametrize(
    ('topic', 'rectified'),
    [
        ('/a/left/image_rect', True),
        ('/a/left/image_rect_color/compressed', True),
        ('/camera/infra1/image_rect_raw', True),
        ('/zed/left/color/rect/image', True),
        ('/zed/left/color/raw/image', False),
        ('/a/left/rectified/image/compressed', True),
        ('/a/left/Rect/image_mono', True),
        ('/rect/left/image_raw', False),
        ('/a/left/image_raw', False),
        ('/a/left/image', False),
        ('/directory/left/image', False),
        ('/correct/left/image_direct', False),
        ('/rectangle/left/image', False),
    ],
)
def test_names_that_say_rectified(topic, rectified):
    assert StereoTopics(left=topic).rectified is rectified
