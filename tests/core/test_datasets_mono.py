"""Data sets of images with depth, from tiny trees in their publishers' layouts."""

import csv
import struct
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from nndepth_core import io
from nndepth_core.data.datasets.base import DatasetError
from nndepth_core.data.datasets.diml import DIMLIndoor, DIMLOutdoor
from nndepth_core.data.datasets.hrwsi import HRWSI
from nndepth_core.data.datasets.hypersim import Hypersim
from nndepth_core.data.datasets.kitti_depth import KITTIDepth, KITTIEigen
from nndepth_core.data.datasets.nyu import NYUv2, NYUv2Labeled
from nndepth_core.data.datasets.tartanair_depth import TartanAirDepth
from nndepth_core.data.datasets.tum import TUM, associate

NAN = np.nan
HEIGHT, WIDTH = 6, 8
COLOR = (200, 40, 90)


def write_image(path: Path, color: tuple[int, int, int] = COLOR) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    io.write_image(path, np.full((HEIGHT, WIDTH, 3), color, np.uint8))
    return path


def write_16_bit(path: Path, first: int, size: tuple[int, int] = (HEIGHT, WIDTH)) -> Path:
    """All pixels `first`, but the last one 0."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.full(size, first, np.uint16)
    values[-1, -1] = 0
    assert cv2.imwrite(str(path), values)
    return path


def write_hdf5(path: Path, **arrays: np.ndarray) -> None:
    h5py = pytest.importorskip('h5py')
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, 'w') as file:
        for name, array in arrays.items():
            file[name] = array


def check(sample, depth: float, name: str, color: tuple[int, int, int] = COLOR) -> None:
    """A sample of one colour and one depth, unknown in the last pixel."""
    assert sample.name == name
    assert sample.image.dtype == np.uint8
    assert sample.image.flags.c_contiguous
    assert sample.image.shape == (HEIGHT, WIDTH, 3)
    assert np.abs(sample.image.astype(int) - color).max() <= 3
    expected = np.full((HEIGHT, WIDTH), depth, np.float32)
    expected[-1, -1] = NAN
    assert sample.depth.dtype == np.float32
    np.testing.assert_allclose(sample.depth, expected, rtol=1e-6)


def test_nyu_exported(tmp_path):
    for folder in ('official_splits/test/bathroom', 'sync/kitchen_0028b'):
        write_image(tmp_path / folder / 'rgb_00045.jpg')
        write_16_bit(tmp_path / folder / 'sync_depth_00045.png', 2500)
    write_image(tmp_path / 'sync/kitchen_0028b/rgb_00046.jpg')
    [sample] = NYUv2(tmp_path)
    check(sample, 2.5, 'bathroom_00045')
    [sample] = NYUv2(tmp_path, 'sync')
    check(sample, 2.5, 'kitchen_0028b_00045')
    with pytest.raises(DatasetError, match=r"scene 'attic' is not in .*there are bathroom"):
        NYUv2(tmp_path, scenes=['attic'])
    with pytest.raises(DatasetError, match=r'NYUv2 train: there is nothing at .*nyu_depth_v2'):
        NYUv2(tmp_path, 'train')


def test_cameras_that_publishers_tell(tmp_path):
    folder, sequence = (
        tmp_path / 'official_splits/test/bathroom', tmp_path / 'rgbd_dataset_freiburg3_desk'
    )  # fmt: skip
    for path in (folder, sequence):
        path.mkdir(parents=True)
        for name in ('rgb_1.jpg', 'sync_depth_1.png'):
            io.write_image(path / name, np.full((480, 640, 3), 9, np.uint8))
        cv2.imwrite(str(path / 'sync_depth_1.png'), np.full((480, 640), 2500, np.uint16))
    for name, file in (('rgb', 'rgb_1.jpg'), ('depth', 'sync_depth_1.png')):
        (sequence / f'{name}.txt').write_text(f'1.0 {file}\n')
    for dataset, focal in ((NYUv2(tmp_path), 518.857901), (TUM(tmp_path), 535.4)):
        [sample] = dataset
        assert (sample.camera.fx, sample.camera.width) == (focal, 640)


def mat_element(kind: int, content: bytes) -> bytes:
    """An element of a MATLAB 5 file, in the short form where it fits."""
    if len(content) <= 4:
        return struct.pack('<HH', kind, len(content)) + content.ljust(4, b'\0')
    return struct.pack('<II', kind, len(content)) + content + bytes(-len(content) % 8)


def mat_file(compress: bool, **arrays: list[int]) -> bytes:
    """A file as MATLAB saves column vectors of doubles that hold small integers."""
    data = b'MATLAB 5.0 MAT-file'.ljust(124) + struct.pack('<HH', 0x0100, 0x4D49)
    for name, values in arrays.items():
        parts = mat_element(6, struct.pack('<II', 6, 0))
        parts += mat_element(5, struct.pack('<ii', len(values), 1))
        parts += mat_element(1, name.encode()) + mat_element(4, np.array(values, '<u2').tobytes())
        matrix = struct.pack('<II', 14, len(parts)) + parts
        packed = zlib.compress(matrix)
        data += struct.pack('<II', 15, len(packed)) + packed if compress else matrix
    return data


@pytest.fixture
def labeled(tmp_path):
    """The file of MATLAB 7.3 as h5py sees it: axes in reverse."""
    images = np.zeros((3, 3, WIDTH, HEIGHT), np.uint8)
    images[:] = np.array(COLOR)[None, :, None, None]
    images[1] += 5
    depths = np.full((3, WIDTH, HEIGHT), 3, np.float32) + np.arange(3)[:, None, None]
    depths[:, -1, -1] = 0
    path = tmp_path / 'nyu_depth_v2_labeled.mat'
    write_hdf5(path, images=images, depths=depths, rawDepths=depths / 2)
    return path


@pytest.mark.parametrize('compress', [False, True])
def test_nyu_labeled(labeled, compress):
    splits = mat_file(compress, testNdxs=[2], trainNdxs=[1, 3, 2, 1, 3])
    (labeled.parent / 'splits.mat').write_bytes(splits)
    [sample] = NYUv2Labeled(labeled.parent)
    check(sample, 4, '0002', tuple(value + 5 for value in COLOR))
    train = NYUv2Labeled(labeled.parent, 'train', depth='raw')
    assert [sample.name for sample in train] == ['0001', '0003', '0002', '0001', '0003']
    check(train[1], 2.5, '0003')


def test_nyu_labeled_whole(labeled):
    samples = NYUv2Labeled(labeled.parent, 'all')
    assert len(samples) == 3
    check(samples[0], 3, '0001')


def test_nyu_labeled_lacks_files(labeled, monkeypatch):
    with pytest.raises(DatasetError, match=r'splits\.mat.*is missing; get .*cs\.nyu\.edu'):
        NYUv2Labeled(labeled.parent)
    splits = labeled.parent / 'splits.mat'
    splits.write_bytes(mat_file(True, other=[1]))
    with pytest.raises(DatasetError, match=r"splits\.mat holds no array 'testNdxs'"):
        NYUv2Labeled(labeled.parent)
    splits.write_bytes(mat_file(True, testNdxs=[1])[:-9])
    with pytest.raises(DatasetError, match=r'splits\.mat is no file of MATLAB 5'):
        NYUv2Labeled(labeled.parent)
    write_hdf5(labeled, other=np.zeros(1))
    with pytest.raises(DatasetError, match=r"labeled\.mat holds no array 'depths'"):
        NYUv2Labeled(labeled.parent, 'all')
    labeled.write_bytes(labeled.read_bytes()[:100])
    with pytest.raises(DatasetError, match=r'labeled\.mat cannot be read as HDF5; download'):
        NYUv2Labeled(labeled.parent, 'all')
    monkeypatch.setitem(sys.modules, 'h5py', None)
    with pytest.raises(DatasetError, match=r'labeled\.mat takes h5py to read; pip install h5py'):
        NYUv2Labeled(labeled.parent, 'all')


DRIVE = '2011_09_26_drive_0002_sync'


def kitti_truth(root: Path, part: str, frame: str, camera: str = 'image_02') -> Path:
    path = root / part / DRIVE / 'proj_depth/groundtruth' / camera / f'{frame}.png'
    return write_16_bit(path, 20 * 256)


def kitti_image(root: Path, frame: str, camera: str = 'image_02') -> Path:
    return write_image(root / '2011_09_26' / DRIVE / camera / 'data' / f'{frame}.png')


def test_kitti_depth(tmp_path):
    for camera in ('image_02', 'image_03'):
        kitti_truth(tmp_path, 'train', '0000000005', camera)
        kitti_image(tmp_path, '0000000005', camera)
    kitti_image(tmp_path, '0000000000')
    both = KITTIDepth(tmp_path)
    assert len(both) == 2
    check(both[0], 20, '2011_09_26_0002_sync_image_02_0000000005')
    check(both[1], 20, '2011_09_26_0002_sync_image_03_0000000005')
    assert len(KITTIDepth(tmp_path, cameras=['image_03'])) == 1


def test_kitti_depth_beside_raw(tmp_path):
    kitti_truth(tmp_path / 'depth', 'val', '0000000005')
    with pytest.raises(DatasetError, match=r'0000000005\.png, a file of the kind image, is miss'):
        KITTIDepth(tmp_path / 'depth', 'val', raw=tmp_path / 'raw')
    kitti_image(tmp_path / 'raw', '0000000005')
    [sample] = KITTIDepth(tmp_path / 'depth', 'val', raw=tmp_path / 'raw')
    check(sample, 20, '2011_09_26_0002_sync_image_02_0000000005')


def test_kitti_depth_selection(tmp_path):
    folder = tmp_path / 'depth_selection/val_selection_cropped'
    for camera in ('02', '03'):
        frame = f'0000000008_image_{camera}.png'
        write_16_bit(folder / f'groundtruth_depth/{DRIVE}_groundtruth_depth_{frame}', 256)
        write_image(folder / f'image/{DRIVE}_image_{frame}')
    left, right = KITTIDepth(tmp_path, 'selection')
    check(left, 1, '2011_09_26_0002_sync_0000000008_02')
    check(right, 1, '2011_09_26_0002_sync_0000000008_03')
    assert len(KITTIDepth(tmp_path, 'selection', cameras=['image_02'])) == 1


def test_kitti_eigen(tmp_path):
    files = tmp_path / 'kitti_eigen_test_files_with_gt.txt'
    image = f'2011_09_26/{DRIVE}/image_02/data'
    truth = f'{DRIVE}/proj_depth/groundtruth/image_02'
    files.write_text(
        f'{image}/0000000069.png {truth}/0000000069.png 721.5377\n'
        f'{image}/0000000000.png None 721.5377\n'
    )
    kitti_image(tmp_path, '0000000069')
    with pytest.raises(DatasetError, match=r'groundtruth/image_02/0000000069\.png, a file of the'):
        KITTIEigen(tmp_path, files)
    kitti_truth(tmp_path, 'val', '0000000069')
    [sample] = KITTIEigen(tmp_path, files)
    check(sample, 20, f'{DRIVE}_image_02_data_0000000069')
    files.write_text(f'{DRIVE}\n')
    with pytest.raises(
        DatasetError, match=r"line 1: '2011.*' does not name an image and its depth"
    ):
        KITTIEigen(tmp_path, files)
    with pytest.raises(DatasetError, match=r'the list .*nowhere\.txt of KITTI Eigen cannot be'):
        KITTIEigen(tmp_path, tmp_path / 'nowhere.txt')


def test_diml_indoor(tmp_path):
    folder = tmp_path / 'train/LR/01. Warehouse'
    write_image(folder / 'color/in_00_160126_155728_c.png')
    write_16_bit(folder / 'depth_filled/in_00_160126_155728_depth_filled.png', 1500)
    [sample] = DIMLIndoor(tmp_path)
    check(sample, 1.5, '01. Warehouse_in_00_160126_155728')
    with pytest.raises(DatasetError, match=r'there is nothing at .*HR.*dimlrgbd'):
        DIMLIndoor(tmp_path, resolution='HR')


@pytest.mark.parametrize('recording', ['', 'A'])
def test_diml_outdoor(tmp_path, recording):
    folder = tmp_path / recording
    write_image(folder / 'outleft/0001.png')
    write_16_bit(folder / 'depthmap/0001.png', 12000)
    name = f'{recording}_0001'.strip('_')
    [sample] = DIMLOutdoor(tmp_path)
    check(sample, 12, name)
    with pytest.raises(
        DatasetError, match=r'0001\.png, a file of the kind confidence, is missing'
    ):
        DIMLOutdoor(tmp_path, min_confidence=100)
    write_image(folder / 'confidencemap/0001.png', (120, 120, 120))
    check(DIMLOutdoor(tmp_path, min_confidence=100)[0], 12, name)
    assert np.isnan(DIMLOutdoor(tmp_path, min_confidence=130)[0].depth).all()


def test_hrwsi(tmp_path):
    write_image(tmp_path / 'train/imgs/7.jpg')
    inverse = np.full((HEIGHT, WIDTH), 51, np.uint8)
    inverse[0, 0] = 0
    valid = np.full((HEIGHT, WIDTH), 255, np.uint8)
    valid[-1, -1] = 0
    for kind, values in (('gts', inverse), ('valid_masks', valid)):
        (tmp_path / 'train' / kind).mkdir()
        io.write_image(tmp_path / 'train' / kind / '7.png', values)
    [sample] = HRWSI(tmp_path)
    assert sample.meaning == 'relative_inverse'
    assert sample.depth[0, 0] == 0
    sample.depth[0, 0] = 0.2
    check(sample, 0.2, '7')
    io.write_image(tmp_path / 'train/valid_masks/7.png', valid[1:])
    with pytest.raises(DatasetError, match=r'7\.png has 8x5 pixels and .*7\.png 8x6'):
        HRWSI(tmp_path)[0]
    (tmp_path / 'train/valid_masks/7.png').unlink()
    with pytest.raises(DatasetError, match=r'valid_masks/7\.png, a file of the kind valid, is mi'):
        HRWSI(tmp_path)


@pytest.fixture
def hypersim(tmp_path):
    """A wall at 2 m along Z: distances grow towards the corners. One pixel shows nothing."""
    height, width = 768, 1024
    focal = 886.81
    y, x = np.mgrid[:height, :width]
    x, y = (x - (width - 1) / 2) / focal, (y - (height - 1) / 2) / focal
    distance = (2 * np.sqrt(x**2 + y**2 + 1)).astype(np.float16)
    distance[-1, -1] = NAN
    for camera in ('cam_00', 'cam_01'):
        folder = tmp_path / 'ai_001_001/images'
        depth = folder / f'scene_{camera}_geometry_hdf5/frame.0003.depth_meters.hdf5'
        write_hdf5(depth, dataset=distance)
        preview = folder / f'scene_{camera}_final_preview/frame.0003.tonemap.jpg'
        preview.parent.mkdir(parents=True)
        io.write_image(preview, np.full((height, width, 3), COLOR, np.uint8))
    return tmp_path


def test_hypersim(hypersim):
    samples = Hypersim(hypersim)
    assert len(samples) == 2
    sample = samples[0]
    assert sample.name == 'ai_001_001_cam_00_0003'
    assert np.isnan(sample.depth[-1, -1])
    np.testing.assert_allclose(sample.depth.ravel()[:-1], 2, rtol=1e-3)  # float16


def write_csv(path: Path, *rows: dict) -> None:
    with path.open('w', newline='') as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_hypersim_splits(hypersim):
    with pytest.raises(DatasetError, match=r'metadata_images_split_scene_v1\.csv is missing; get'):
        Hypersim(hypersim, 'train')
    rows = [
        {
            'scene_name': 'ai_001_001',
            'camera_name': camera,
            'frame_id': 3,
            'included_in_public_release': public,
            'split_partition_name': 'train',
        }
        for camera, public in (('cam_00', 'True'), ('cam_01', 'False'))
    ]
    write_csv(hypersim / 'metadata_images_split_scene_v1.csv', *rows)
    assert [sample.name for sample in Hypersim(hypersim, 'train')] == ['ai_001_001_cam_00_0003']
    with pytest.raises(DatasetError, match='Hypersim val: none of the images in'):
        Hypersim(hypersim, 'val')


def test_hypersim_cameras(hypersim):
    """Through a lens of 90 degrees, the same distances are other depths."""
    lens = np.diag([1, 0.75, -1])
    row = {f'M_cam_from_uv_{i}{j}': lens[i, j] for i in range(3) for j in range(3)}
    write_csv(hypersim / 'metadata_camera_parameters.csv', {'scene_name': 'ai_001_001', **row})
    depth = Hypersim(hypersim)[0].depth
    x, y = 1 - 1 / 1024, 0.75 * (1 - 1 / 768)
    distance = 2 * np.sqrt(1 + (511.5**2 + 383.5**2) / 886.81**2)
    np.testing.assert_allclose(depth[0, 0], distance / np.sqrt(1 + x * x + y * y), rtol=1e-3)
    np.testing.assert_allclose(depth[384, 512], 2, rtol=1e-3)


@pytest.mark.parametrize('nested', [False, True])
def test_tartanair(tmp_path, nested):
    folder = tmp_path / 'abandonedfactory' / ('abandonedfactory' if nested else '') / 'Hard/P000'
    depth = np.full((HEIGHT, WIDTH), 7, np.float32)
    depth[-1, -1] = np.inf
    for side in ('left', 'right'):
        write_image(folder / f'image_{side}/000003_{side}.png')
        (folder / f'depth_{side}').mkdir()
        np.save(folder / f'depth_{side}/000003_{side}_depth.npy', depth)
    [sample] = TartanAirDepth(tmp_path, levels=['hard'])
    check(sample, 7, 'abandonedfactory_Hard_P000_left_000003')
    assert len(TartanAirDepth(tmp_path, levels=['hard'], sides=['left', 'right'])) == 2
    with pytest.raises(DatasetError, match=r"level 'Easy' is not in"):
        TartanAirDepth(tmp_path)


def test_tartanair_2(tmp_path):
    folder = tmp_path / 'Supermarket/Data_easy/P001'
    write_image(folder / 'image_lcam_front/000000_lcam_front.png')
    depth = np.full((HEIGHT, WIDTH), 7, '<f4')
    depth[-1, -1] = 0
    (folder / 'depth_lcam_front').mkdir()
    path = folder / 'depth_lcam_front/000000_lcam_front_depth.png'
    assert cv2.imwrite(str(path), depth.view(np.uint8).reshape(HEIGHT, WIDTH, 4))
    [sample] = TartanAirDepth(tmp_path, 2, levels=['easy'])
    check(sample, 7, 'Supermarket_easy_P001_lcam_000000')


def tum_sequence(folder: Path) -> None:
    colors, depths = ('1.000000', '1.030000', '1.060000'), ('1.012000', '1.031000', '1.200000')
    for kind, times in (('rgb', colors), ('depth', depths)):
        lines = ['# images', "# file: 'a.bag'", '# timestamp filename']
        lines += [f'{time} {kind}/{time}.png' for time in times]
        for time in times:
            write = write_image if kind == 'rgb' else lambda path: write_16_bit(path, 5000)
            write(folder / kind / f'{time}.png')
        (folder / f'{kind}.txt').write_text('\n'.join(lines) + '\n')


def test_tum(tmp_path):
    for name in ('rgbd_dataset_freiburg1_xyz', 'rgbd_dataset_freiburg2_desk'):
        tum_sequence(tmp_path / name)
    assert len(TUM(tmp_path)) == 4
    one = TUM(tmp_path / 'rgbd_dataset_freiburg1_xyz')
    other = TUM(tmp_path, sequences=['rgbd_dataset_freiburg1_xyz'])
    times = [(entry['image'].stem, entry['depth'].stem) for entry in one.entries]
    assert times == [('1.000000', '1.012000'), ('1.030000', '1.031000')]
    check(one[1], 1, 'rgbd_dataset_freiburg1_xyz_1.030000')
    assert other.entries[0].name == one.entries[0].name
    assert len(TUM(tmp_path, max_difference=0.005)) == 2


def test_tum_lacks_files(tmp_path):
    tum_sequence(tmp_path)
    (tmp_path / 'depth/1.031000.png').unlink()
    with pytest.raises(
        DatasetError, match=r'1\.031000\.png, a file of the kind depth, is missing'
    ):
        TUM(tmp_path)
    (tmp_path / 'depth.txt').write_text('1.0\n')
    with pytest.raises(DatasetError, match=r'depth\.txt is not a time and a file; get it again'):
        TUM(tmp_path)


def test_association_takes_the_closest_first():
    assert associate([0.0, 0.010, 0.5], [0.009, 0.021], 0.02) == [(1, 0)]
    assert associate([0.0, 0.010], [0.009, 0.018], 0.02) == [(0, 1), (1, 0)]
    assert associate([0.0, 0.010, 0.020], [0.009, 0.018], 0.02) == [(1, 0), (2, 1)]
    assert associate([], [1.0], 0.02) == []


def test_missing_folders_and_damaged_files_are_named(tmp_path):
    with pytest.raises(DatasetError, match=r'NYUv2 test: there is no folder .*nowhere; get the'):
        NYUv2(tmp_path / 'nowhere')
    folder = tmp_path / 'official_splits/test/office'
    image = write_image(folder / 'rgb_00001.jpg')
    depth = write_16_bit(folder / 'sync_depth_00001.png', 1000, (HEIGHT, WIDTH - 1))
    data = NYUv2(tmp_path)
    with pytest.raises(
        DatasetError, match=r'sample office_00001: .* has 8x6 pixels and its depth 7x6'
    ):
        data[0]
    depth.write_bytes(b'')
    with pytest.raises(DatasetError, match=r'sync_depth_00001\.png cannot be read as an image'):
        data[0]
    image.unlink()
    with pytest.raises(
        DatasetError, match=r'rgb_00001\.jpg, a file of the kind image, is missing'
    ):
        NYUv2(tmp_path)
