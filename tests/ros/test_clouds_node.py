"""The filtered cloud and other forms of depth in running nodes, over DDS."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType, SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest

pytest.importorskip('nndepth.msg', reason='the workspace is not built and sourced')
from depth_plugin import read_compressed_depth
from rig import BASELINE, FOCAL, HEIGHT, SHIFT, WIDTH
from tiny_networks import write_network

from nndepth_core.camera import depth_in_millimetres

STAMP = 1_700_000_000_000_000_000
FRAME = 100_000_000
DEPTH = FOCAL * BASELINE / SHIFT
FORMS = ('depth/image', 'depth/image/compressedDepth', 'points2', 'points2/filtered')


def map_of(message) -> np.ndarray:
    dtype = {'32FC1': np.float32, '16UC1': np.uint16}[message.encoding]
    return np.frombuffer(message.data, dtype).reshape(message.height, message.width)


def places(cloud) -> np.ndarray:
    assert [field.name for field in cloud.fields] == ['x', 'y', 'z', 'rgb']
    return np.frombuffer(cloud.data, np.float32).reshape(-1, 4)[:, :3]


def filtered(cloud) -> np.ndarray:
    points = places(cloud)
    assert (cloud.height, cloud.width) == (1, len(points))
    assert cloud.is_dense
    assert np.isfinite(points).all()
    return points


def test_all_forms_of_a_pair_agree_and_change_while_the_node_runs(make_rig):
    rig = make_rig(outputs=FORMS, parameters={'cloud.voxel_size': 0.0})
    rig.send_pair(STAMP)
    depth, packed, cloud, points = (rig.wait_for(topic)[0] for topic in FORMS)
    assert {message.header.frame_id for message in (packed, points)} == {depth.header.frame_id}
    metres = map_of(depth)
    known = np.isfinite(metres)
    np.testing.assert_allclose(
        read_compressed_depth(packed),
        np.where(known, metres, np.nan),
        rtol=metres[known].max() / 13000,
    )
    every = places(cloud)[known.reshape(-1)]
    np.testing.assert_array_equal(filtered(points), every)
    assert rig.set_parameters(depth_encoding='16UC1', cloud__voxel_size=0.5) == ''
    rig.send_pair(STAMP + FRAME)
    depth, packed, cloud, points = (rig.wait_for(topic, 2)[1] for topic in FORMS)
    np.testing.assert_array_equal(map_of(depth), depth_in_millimetres(metres))
    np.testing.assert_array_equal(read_compressed_depth(packed), map_of(depth))
    voxels = np.unique(np.floor(every / 0.5), axis=0)
    assert len(filtered(points)) == len(voxels) < len(every) / 10
    rig.set_parameters(cloud__max_range=0.5 * DEPTH)
    rig.send_pair(STAMP + 2 * FRAME)
    near = np.linalg.norm(filtered(rig.wait_for('points2/filtered', 3)[2]), axis=1)
    assert (near <= 0.5 * DEPTH).all()


def test_wrong_values_are_refused_once_and_the_stream_goes_on(make_rig):
    rig = make_rig(outputs=('points2/filtered',), parameters={'cloud.max_range': 5.0})
    for values, says in (
        ({'cloud__voxel_size': -0.1}, 'Min: 0.0, Max: 1000.0, value: -0.1'),
        ({'cloud__stride': 0}, 'Min: 1, Max: 1000, value: 0'),
        ({'cloud__min_range': 6.0}, 'cloud.max_range is 5.0 and min_range 6.0; max_range must be'),
        (
            {'max_depth': 20.0, 'cloud__max_range': 0.0, 'cloud__far_depth': 5.0},
            'cloud.far_depth is 5.0 and max_depth 20.0, so that what is too far would stand',
        ),
        ({'depth_encoding': '8UC1'}, "depth_encoding is '8UC1'; choose one of 32FC1, 16UC1"),
    ):
        assert says in rig.set_parameters(**values)
    rig.send_pair(STAMP)
    assert len(filtered(rig.wait_for('points2/filtered')[0]))


def test_a_filtered_cloud_is_computed_for_subscribers_only(make_rig, monkeypatch):
    def refuse(*_):
        raise RuntimeError('nobody asked for it')

    monkeypatch.setattr('nndepth_ros.outputs.filtered_points', refuse)
    monkeypatch.setattr('nndepth_ros.outputs.compressed_depth_message', refuse)
    rig = make_rig(outputs=('depth/image', 'points2'))
    rig.send_pair(STAMP)
    assert len(places(rig.wait_for('points2')[0])) == WIDTH * HEIGHT
    assert rig.node.failed == 0


def test_a_cloud_without_points_and_one_without_a_known_sigma(make_rig):
    parameters = {'cloud.min_range': 1000.0, 'cloud_sigma': True}
    rig = make_rig(outputs=('points2/filtered',), parameters=parameters)
    rig.send_pair(STAMP)
    assert len(filtered(rig.wait_for('points2/filtered')[0])) == 0
    rig.set_parameters(cloud__min_range=0.0)
    rig.send_pair(STAMP + FRAME)
    assert len(filtered(rig.wait_for('points2/filtered', 2)[1]))


def test_voxels_grow_with_the_sigma_of_a_pair(make_rig):
    rig = make_rig(outputs=FORMS[2:])
    rig.send_pair(STAMP)
    small = filtered(rig.wait_for('points2/filtered')[0])
    rig.set_parameters(cloud__voxel_sigmas=2.0)
    rig.send_pair(STAMP + FRAME)
    np.testing.assert_array_equal(filtered(rig.wait_for('points2/filtered', 2)[1]), small)
    rig.wait_diagnostic('the sigma of points and voxels are not known')
    sigma_pixels = 0.5
    rig.set_parameters(disparity_sigma=sigma_pixels)
    rig.send_pair(STAMP + 2 * FRAME)
    grown = filtered(rig.wait_for('points2/filtered', 3)[2])
    every = places(rig.wait_for('points2', 3)[2])
    every = every[np.isfinite(every[:, 2])]
    sigma = sigma_pixels * every[:, 2:] ** 2 / (FOCAL * BASELINE)
    levels = np.maximum(0, np.ceil(np.log2(2 * sigma / 0.05)))
    cells = np.hstack([levels, np.floor(every / (0.05 * 2.0**levels))])
    assert len(grown) == len(np.unique(cells, axis=0)) < len(small) / 30


def test_single_images_have_the_same_forms(make_mono_rig, tmp_path):
    model = str(write_network(tmp_path / 'metric.onnx'))
    parameters = {'depth_encoding': '16UC1', 'cloud.stride': 3, 'cloud.voxel_size': 0.0}
    rig = make_mono_rig(outputs=FORMS, model=model, parameters=parameters)
    image = np.random.default_rng(3).integers(1, 256, (HEIGHT, WIDTH, 3), np.uint8)
    rig.send(STAMP, image)
    depth, packed, cloud, points = (rig.wait_for(topic)[0] for topic in FORMS)
    every = places(cloud).reshape(HEIGHT, WIDTH, 3)
    np.testing.assert_array_equal(map_of(depth), depth_in_millimetres(every[..., 2]))
    np.testing.assert_array_equal(read_compressed_depth(packed), map_of(depth))
    expected = every[::3, ::3].reshape(-1, 3)
    np.testing.assert_allclose(filtered(points), expected, rtol=1e-5, atol=1e-6)


class FakeBuffer:
    """What the node uses of `tf2_ros.Buffer`; `known` are the transforms by target and source."""

    known: ClassVar[dict] = {}

    def lookup_transform(self, target, source, time):
        try:
            return self.known[target, source]
        except KeyError:
            raise LookupError(f'"{target}" passed to lookupTransform does not exist') from None


@pytest.fixture
def tf2(monkeypatch):
    """A `tf2_ros` that knows what the test puts into `known`."""
    module = ModuleType('tf2_ros')
    module.__spec__ = ModuleSpec('tf2_ros', None)
    module.Buffer, module.TransformException = FakeBuffer, LookupError
    module.TransformListener = lambda buffer, node: None
    monkeypatch.setitem(sys.modules, 'tf2_ros', module)
    monkeypatch.setattr(FakeBuffer, 'known', {})
    return FakeBuffer.known


def upright(height: float) -> SimpleNamespace:
    """From a camera that looks along x of a frame whose z points upwards, so high above it."""
    rotation = SimpleNamespace(x=-0.5, y=0.5, z=-0.5, w=0.5)
    transform = SimpleNamespace(translation=SimpleNamespace(z=height), rotation=rotation)
    return SimpleNamespace(transform=transform)


def test_heights_are_those_of_another_frame(make_rig, tf2):
    rig = make_rig(
        outputs=('depth/image', 'points2/filtered'), parameters={'cloud.voxel_size': 0.0}
    )
    rig.send_pair(STAMP)
    every = filtered(rig.wait_for('points2/filtered')[0])
    heights = {'cloud__min_height': 0.4, 'cloud__max_height': 0.6}
    assert 'belong to a frame; set cloud.frame' in rig.set_parameters(**heights)
    assert rig.set_parameters(cloud__frame='base_link', **heights) == ''
    rig.send_pair(STAMP + FRAME)
    rig.wait_for('depth/image', 2)
    rig.wait_diagnostic('is not known in time')
    assert len(rig.wait_for('points2/filtered')) == 1
    frame = rig.wait_for('depth/image')[0].header.frame_id
    tf2['base_link', frame] = upright(0.5)
    rig.send_pair(STAMP + 2 * FRAME)
    points = filtered(rig.wait_for('points2/filtered', 2)[1])
    kept = every[np.abs(every[:, 1].astype(np.float64)) <= 0.1]  # y points downwards
    assert 0 < len(kept) < len(every)
    np.testing.assert_array_equal(points, kept)


def test_heights_need_tf2(make_rig):
    rig = make_rig(outputs=('points2/filtered',))
    if find_spec('tf2_ros') is not None:
        pytest.skip('tf2_ros is installed')
    assert "cloud.frame is 'map', which needs tf2_ros" in rig.set_parameters(cloud__frame='map')
