"""The stereo data sets, each on a tiny tree in its publisher's layout."""

import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dataset_trees as trees
import numpy as np
import pytest
from dataset_trees import DISPARITY, HEIGHT, OCCLUDED, WIDTH

from nndepth_core import io
from nndepth_core.data import datasets
from nndepth_core.data.datasets import DatasetError, Mixture
from nndepth_core.data.datasets.base import occluded_by
from nndepth_core.data.inspect import check_truth


@dataclass(frozen=True)
class Case:
    """A data set on its tree.

    focal_baseline is in pixel metres, None for no camera; offset is cx_left - cx_right; hidden
    says whether it tells what is occluded; unknown counts the rows without truth.
    """

    kind: str
    make: Callable[[Path], None]
    length: int
    first: str
    options: dict[str, Any] = field(default_factory=dict)
    focal_baseline: float | None = None
    offset: float = 0.0
    hidden: bool = False
    unknown: int = 0
    tolerance: float = 1e-5


THINGS = {'subsets': ['FlyingThings3D']}
CASES = {
    'sceneflow': Case('SceneFlow', trees.sceneflow, 20, 'clean_A_0000_0006', {}, 52.5),
    'sceneflow-clean': Case(
        'SceneFlow',
        trees.sceneflow,
        4,
        'clean_A_0000_0006',
        {**THINGS, 'passes': ['clean'], 'occlusions': True},
        52.5,
        hidden=True,
    ),
    'monkaa': Case(
        'SceneFlow',
        trees.sceneflow,
        4,
        'clean_a_rain_of_stones_x2_0006',
        {'subsets': ['Monkaa']},
        52.5,
    ),
    'driving': Case(
        'SceneFlow',
        trees.sceneflow,
        8,
        'clean_15mm_focallength_scene_backwards_fast_0006',
        {'subsets': ['Driving']},
        22.5,
    ),
    'sceneflow-test': Case(
        'SceneFlow', trees.sceneflow, 4, 'clean_B_0002_0006', {'split': 'test'}, 52.5
    ),
    'kitti-2015': Case(
        'KITTI', trees.kitti(2015), 22, '000000', {}, 384.35, hidden=True, unknown=5
    ),
    'kitti-2012': Case(
        'KITTI', trees.kitti(2012), 16, '000000', {'year': 2012}, 384.35, hidden=True, unknown=5
    ),
    'kitti-train': Case(
        'KITTI', trees.kitti(2015), 2, '000000', {'split': 'train'}, 384.35, hidden=True, unknown=5
    ),
    'kitti-validation': Case(
        'KITTI',
        trees.kitti(2012),
        14,
        '000180',
        {'year': 2012, 'split': 'validation'},
        384.35,
        hidden=True,
        unknown=5,
    ),
    'middlebury-2006': Case(
        'Middlebury2006', trees.middlebury2006, 4, 'Aloe', {'images': ['', 'Illum1/Exp0']}
    ),
    'middlebury-2014': Case(
        'Middlebury2014',
        trees.middlebury2014,
        6,
        'Adirondack_perfect',
        {},
        400.5 * 0.193001,
        -131.111,
        unknown=3,
    ),
    'middlebury-2014-all': Case(
        'Middlebury2014',
        trees.middlebury2014,
        3,
        'Adirondack_imperfect',
        {'rectifications': ['perfect', 'imperfect'], 'lights': [''], 'occlusions': True},
        400.5 * 0.193001,
        -131.111,
        hidden=True,
        unknown=3,
    ),
    'middlebury-v3': Case(
        'MiddleburyV3',
        trees.middlebury_v3,
        2,
        'Adirondack',
        {},
        400.5 * 0.193001,
        -65.5,
        hidden=True,
        unknown=3,
    ),
    'eth3d': Case(
        'ETH3D',
        trees.eth3d,
        2,
        'delivery_area_1l',
        {},
        400.5 * 0.0595,
        hidden=True,
        unknown=3,
    ),
    'tartanair': Case(
        'TartanAir', trees.tartanair(), 4, 'abandonedfactory_Easy_P000_000000', {}, 6
    ),
    'tartanair-nested': Case(
        'TartanAir',
        trees.tartanair(nested=True),
        1,
        'ocean_Hard_P000_000000',
        {'levels': ['hard'], 'environments': ['ocean']},
        6,
    ),
    'tartanair-2': Case(
        'TartanAir',
        trees.tartanair2,
        2,
        'AbandonedCable_easy_P000_000000',
        {'version': 2},
        6,
    ),
    'sanpo': Case(
        'SANPO', trees.sanpo, 4, 'first_camera_chest_000000', {}, 236.82, tolerance=0.02
    ),
    'sanpo-test': Case(
        'SANPO',
        trees.sanpo,
        1,
        'second_camera_head_000000',
        {'split': 'test', 'depth': 'zed', 'cameras': ['camera_head']},
        236.82,
        tolerance=0.02,
    ),
    'sintel': Case('SintelStereo', trees.sintel, 8, 'clean_alley_1_frame_0001', {}, hidden=True),
    'sintel-final': Case(
        'SintelStereo',
        trees.sintel,
        2,
        'final_bamboo_2_frame_0001',
        {'passes': ['final'], 'scenes': ['bamboo_2']},
        hidden=True,
    ),
    'falling-things': Case(
        'FallingThings',
        trees.falling_things,
        2,
        'kitchen_0_000000',
        {},
        46.08,
        unknown=1,
        tolerance=1e-3,
    ),
    'falling-things-single': Case(
        'FallingThings',
        trees.falling_things,
        1,
        '002_master_chef_can_16k_kitchen_0_000000',
        {'subsets': ['single']},
        46.08,
        unknown=1,
        tolerance=1e-3,
    ),
    'virtual-kitti': Case(
        'VirtualKITTI2',
        trees.virtual_kitti,
        4,
        '01_15-deg-left_00000',
        {},
        386.230,
        unknown=1,
        tolerance=2e-3,
    ),
    'virtual-kitti-clone': Case(
        'VirtualKITTI2',
        trees.virtual_kitti,
        1,
        '20_clone_00000',
        {'scenes': ['20'], 'variations': ['clone']},
        386.230,
        unknown=1,
        tolerance=2e-3,
    ),
    'crestereo': Case('CREStereoData', trees.crestereo(), 4, 'hole_0003c2ad-hole'),
    'crestereo-nested': Case(
        'CREStereoData',
        trees.crestereo(nested=True),
        1,
        'tree_0_0003c2ad-tree',
        {'subsets': ['tree']},
    ),
    'instereo2k': Case('InStereo2K', trees.instereo2k, 2, 'part1_000000'),
    'instereo2k-test': Case('InStereo2K', trees.instereo2k, 1, '000040', {'split': 'test'}),
    'booster': Case('Booster', trees.booster, 4, 'Bathroom_im0', {}, 4.0, -2.0, hidden=True),
    'booster-crossed': Case(
        'Booster',
        trees.booster,
        8,
        'Bathroom_im0_im0',
        {'crossed_lights': True},
        4.0,
        -2.0,
        hidden=True,
    ),
    'folder': Case(
        'FolderPairs',
        trees.folder_pairs,
        2,
        '0001',
        {'occluded': 'occluded/*.png', 'camera': 'calib.txt'},
        400.5 * 0.12,
        hidden=True,
        unknown=3,
    ),
}


@pytest.fixture(params=CASES, ids=list(CASES))
def case(request, tmp_path) -> Case:
    chosen = CASES[request.param]
    chosen.make(tmp_path)
    return chosen


def load(case: Case, root: Path) -> Any:
    return getattr(datasets, case.kind)(root, **case.options)


def test_samples_are_what_was_stored(case, tmp_path):
    dataset = load(case, tmp_path)
    assert len(dataset) == case.length
    assert dataset.entries[0].name == case.first
    assert len({entry.name for entry in dataset.entries}) == case.length
    sample = dataset[0]
    assert sample.name == case.first
    limit = 4 if dataset.entries[0]['left'].suffix == '.jpg' else 0
    for image, expected in zip((sample.left, sample.right), trees.pair(), strict=True):
        assert (image.dtype, image.shape) == (np.uint8, (HEIGHT, WIDTH, 3))
        assert np.abs(image.astype(int) - expected).mean() <= limit
    assert sample.disparity.dtype == np.float32
    known = np.isfinite(sample.disparity)
    assert known[case.unknown :].all()
    assert not known[: case.unknown].any()
    np.testing.assert_allclose(sample.disparity[known], DISPARITY[known], rtol=case.tolerance)


def test_camera_and_occlusions(case, tmp_path):
    sample = load(case, tmp_path)[0]
    assert (sample.camera is None) == (case.focal_baseline is None)
    if sample.camera is not None:
        assert (sample.camera.left.width, sample.camera.left.height) == (WIDTH, HEIGHT)
        assert sample.camera.focal_baseline == pytest.approx(case.focal_baseline, rel=1e-5)
        assert sample.camera.cx_offset == pytest.approx(case.offset)
    assert (sample.occluded is not None) == case.hidden
    if sample.occluded is not None:
        assert sample.occluded.dtype == bool
        np.testing.assert_array_equal(sample.occluded[case.unknown :], OCCLUDED[case.unknown :])


def test_all_samples_fit_their_truth(case, tmp_path):
    dataset = load(case, tmp_path)
    checks = [check_truth(dataset[index]) for index in range(len(dataset))]
    assert not [check for check in checks if check.problem]


def test_what_macos_puts_beside_files_is_passed_over(case, tmp_path):
    for path in [path for path in tmp_path.rglob('*') if path.is_file()]:
        path.with_name(f'._{path.name}').touch()
    assert len(load(case, tmp_path)) == case.length


def test_datasets_go_to_other_processes(case, tmp_path):
    dataset = pickle.loads(pickle.dumps(load(case, tmp_path)))
    assert dataset[len(dataset) - 1].left.shape == (HEIGHT, WIDTH, 3)


def test_missing_files_are_named_with_their_source(case, tmp_path):
    dataset = load(case, tmp_path)
    first, *others = dataset.entries[-1].files.items()
    optional = {'noc', 'visible', 'calibration'} if case.kind in ('KITTI', 'Booster') else set()
    for kind, path in others:
        path.rename(tmp_path / 'elsewhere')
        if kind in optional:
            assert len(load(case, tmp_path)) == case.length
        elif case.kind == 'FolderPairs':
            with pytest.raises(DatasetError, match='cannot be matched'):
                load(case, tmp_path)
        else:
            with pytest.raises(DatasetError) as caught:
                load(case, tmp_path)
            assert f'{path}, a file of the kind {kind}' in str(caught.value)
            assert dataset.source in str(caught.value)
        (tmp_path / 'elsewhere').rename(path)
    assert first


def test_folders_without_the_data_are_named(case, tmp_path):
    empty = tmp_path / 'empty'
    with pytest.raises(DatasetError, match=r'there is no folder .*empty'):
        load(case, empty)
    empty.mkdir()
    with pytest.raises(DatasetError, match=r'there is nothing at .*empty|is at .*empty'):
        load(case, empty)


def test_damaged_files_are_named(case, tmp_path):
    dataset = load(case, tmp_path)
    for kind in ('left', 'right', 'disparity', 'depth', 'right_disparity', 'settings'):
        path = dataset.entries[0].files.get(kind)
        if path is None:
            continue
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 3])
        with pytest.raises(DatasetError) as caught:
            load(case, tmp_path)[0]
        assert str(path) in str(caught.value)
        assert case.first in str(caught.value)
        path.unlink()
        with pytest.raises(DatasetError, match=path.name):
            dataset[0]
        path.write_bytes(whole)
    assert dataset[0].name == case.first


def test_truth_of_another_size_is_named(case, tmp_path):
    dataset = load(case, tmp_path)
    entry = dataset.entries[0]
    for kind in ('left', 'right'):
        trees.write(entry[kind], trees.pair()[0][:-4])
    with pytest.raises(
        DatasetError, match=r'one size|are for|is for images|of 48x24|x20'
    ) as caught:
        dataset[0]
    assert case.first in str(caught.value)


def test_the_holdout_of_flyingthings_is_raft_stereos(tmp_path):
    for frame in range(403):
        images = tmp_path / 'FlyingThings3D/frames_cleanpass/TEST/A/0000'
        truth = tmp_path / 'FlyingThings3D/disparity/TEST/A/0000/left'
        for path in (images / f'left/{frame:04d}.png', images / f'right/{frame:04d}.png'):
            trees.write(path, b'')
        trees.write(truth / f'{frame:04d}.pfm', b'')
    dataset = datasets.SceneFlow(tmp_path, 'validation', passes=['clean'])
    names = {entry.fields['frame'] for entry in dataset.entries}
    left_out = np.random.RandomState(1000).permutation(403)[400:]
    assert names == {f'{frame:04d}' for frame in range(403) if frame not in left_out}


def test_kitti_noc_is_the_truth_both_images_show(tmp_path):
    trees.kitti(2015)(tmp_path)
    sample = datasets.KITTI(tmp_path, truth='noc')[0]
    np.testing.assert_array_equal(np.isfinite(sample.disparity[5:]), ~OCCLUDED[5:])
    assert not sample.occluded.any()


def test_a_split_that_is_not_whole_is_named(tmp_path):
    trees.kitti(2015)(tmp_path)
    for path in tmp_path.rglob('000043*'):
        path.unlink()
    with pytest.raises(DatasetError, match=r"frame '000043' is not in"):
        datasets.KITTI(tmp_path, split='validation')


def test_what_is_asked_for_and_not_there_is_named(tmp_path):
    trees.virtual_kitti(tmp_path)
    with pytest.raises(DatasetError, match=r"variation 'fog' is not in .*15-deg-left, clone"):
        datasets.VirtualKITTI2(tmp_path, variations=['fog'])


def test_missing_files_are_counted(tmp_path):
    trees.sceneflow(tmp_path)
    for path in (tmp_path / 'Monkaa/disparity').rglob('left/*'):
        path.unlink()
    with pytest.raises(DatasetError, match=r'0006\.pfm, .* kind disparity, and 1 more files are'):
        datasets.SceneFlow(tmp_path)


def test_virtual_kitti_keeps_the_sky_on_demand(tmp_path):
    trees.virtual_kitti(tmp_path)
    sky = datasets.VirtualKITTI2(tmp_path, sky=True)[0].disparity[0]
    np.testing.assert_allclose(sky, 725.0087 * 0.532725 / 655.35, rtol=1e-5)


def test_middlebury_2006_takes_the_scale_of_its_size(tmp_path):
    trees.middlebury2006(tmp_path)
    full = datasets.Middlebury2006(tmp_path, size='full')[0]
    np.testing.assert_allclose(full.disparity, 3 * DISPARITY)


def test_sintel_disparities_have_sub_pixels(tmp_path):
    trees.sintel(tmp_path)
    dataset = datasets.SintelStereo(tmp_path)
    coded = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    coded[2, 3] = (10, 33, 64)
    trees.write(dataset.entries[0]['disparity'], coded)
    disparity = dataset[0].disparity
    assert disparity[2, 3] == 40 + 33 / 64 + 64 / 16384
    assert np.isnan(np.delete(disparity.ravel(), 2 * WIDTH + 3)).all()


def test_folders_match_by_order_where_names_differ(tmp_path):
    left, right = trees.pair()
    for index in range(3):
        trees.write(tmp_path / f'a/l{index}.png', left)
        trees.write(tmp_path / f'a/r{index}.png', right)
        trees.write(tmp_path / f'a/d{index}.png', (DISPARITY * 16).astype(np.uint16) + index)
    dataset = datasets.FolderPairs(
        tmp_path, 'a/l*', 'a/r*', 'a/d*', scale=16, camera='100,100,24,12,0.5'
    )
    assert [dataset[index].name for index in range(3)] == ['l0', 'l1', 'l2']
    assert dataset[2].disparity[0, 0] == DISPARITY[0, 0] + 2 / 16
    assert dataset[2].camera.focal_baseline == 50
    with pytest.raises(DatasetError, match=r'no occluded of .* is at .*nowhere'):
        datasets.FolderPairs(tmp_path, 'a/l*', 'a/r*', 'a/d*', occluded='nowhere/*')


def test_folders_without_disparity_serve_a_pretraining(tmp_path):
    for side, image in zip(('left', 'right'), trees.pair(), strict=True):
        trees.write(tmp_path / f'{side}/0.png', image)
    sample = datasets.FolderPairs(tmp_path, disparity='')[0]
    assert sample.disparity.shape == sample.left.shape[:2]
    assert np.isnan(sample.disparity).all()


class Numbers:
    """A source whose samples are their own indices."""

    def __init__(self, name: str, length: int) -> None:
        self.name, self.length = name, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Any:
        assert 0 <= index < self.length
        return f'{self.name}{index}'


def test_mixtures_repeat_and_thin_out_by_weight():
    mixture = Mixture([Numbers('a', 2), Numbers('b', 6), Numbers('c', 4)], [2, 0.5, 1])
    assert mixture.name == 'a + b + c'
    expected = ['a0', 'a0', 'a1', 'a1', 'b0', 'b2', 'b4', 'c0', 'c1', 'c2', 'c3']
    assert [mixture[index] for index in range(len(mixture))] == expected
    assert mixture[-1] == 'c3'
    with pytest.raises(IndexError):
        mixture[11]


def test_mixtures_need_a_positive_weight_for_each():
    with pytest.raises(DatasetError, match='1 data sets and 2 weights'):
        Mixture([Numbers('a', 2)], [1, 1])
    with pytest.raises(DatasetError, match=r'weight of the mixture is -1'):
        Mixture([Numbers('a', 2)], [-1])
    with pytest.raises(DatasetError, match='0 data sets'):
        Mixture([])


def test_occlusion_follows_from_the_right_disparity():
    left = np.array([[2, 2, 2, 2, 5, 5, np.nan, 2]], np.float32)
    right = np.array([[5, 2, 2, 2, 2, 2, 2, 2]], np.float32)
    # x=0, 1 leave the image, x=2 and 3 land at 0 and 1, where 0 shows the nearer surface.
    np.testing.assert_array_equal(
        occluded_by(left, right), [[True, True, True, False, True, False, False, False]]
    )
    with pytest.raises(ValueError, match='one size'):
        occluded_by(left, right[:, 1:])


def test_mixtures_tell_the_files_of_their_samples(tmp_path):
    trees.folder_pairs(tmp_path)
    mixture = Mixture([Numbers('a', 2), datasets.FolderPairs(tmp_path)])
    assert mixture.files(0) == {}
    assert mixture.files(3)['left'] == tmp_path / 'left' / '0002.png'


def test_depth_maps_are_read_in_metres(tmp_path):
    millimetres = np.array([[0, 1500, 65535]], np.uint16)
    trees.write(tmp_path / 'a.png', millimetres)
    np.testing.assert_allclose(io.read_depth(tmp_path / 'a.png'), [[np.nan, 1.5, 65.535]])
    np.testing.assert_allclose(io.read_depth(tmp_path / 'a.png', 5000)[0, 1], 0.3)
    metres = np.array([[-1, 0, np.inf, np.nan, 12.25]] * 2, '<f4')
    trees.write(tmp_path / 'a.npy', metres)
    trees.write(tmp_path / 'packed.png', metres[..., None].view(np.uint8))
    for name in ('a.npy', 'packed.png'):
        depth = io.read_depth(tmp_path / name)
        assert depth.dtype == np.float32
        np.testing.assert_array_equal(depth, [[np.nan] * 4 + [12.25]] * 2)


@pytest.mark.parametrize('shape', [(4, 5), (4, 5, 3)])
def test_pictures_are_no_depth_maps(tmp_path, shape):
    trees.write(tmp_path / 'a.png', np.ones(shape, np.uint8))
    with pytest.raises(ValueError, match=r'a\.png holds uint8 .*; a depth map has one channel'):
        io.read_depth(tmp_path / 'a.png')
