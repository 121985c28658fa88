"""Tiny data sets on disk, each in exactly the layout of its publisher.

All hold one scene seen twice: rows of noise, row y shifted by DISPARITY[y] between the images.
"""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

HEIGHT, WIDTH = 24, 48
ROWS = np.repeat(np.linspace(8, 12, HEIGHT // 2).round(), 2)
DISPARITY = np.repeat(ROWS[:, None], WIDTH, axis=1).astype(np.float32)
# What the right image does not reach.
OCCLUDED = np.arange(WIDTH) < DISPARITY


KITTI_2015_VALIDATION = (
    *(1, 6, 26, 38, 43, 49, 67, 81, 89, 109),
    *(122, 129, 132, 141, 152, 159, 171, 179, 184, 187),
)


def pair(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Left and right, RGB, such that left[y, x] == right[y, x - DISPARITY[y, x]]."""
    rng = np.random.default_rng(seed)
    grey = cv2.GaussianBlur(rng.integers(40, 200, (HEIGHT, WIDTH + 12), np.uint8), (5, 1), 0)
    wide = np.stack([grey + 40, grey, grey - 40], axis=-1)
    shifted = np.arange(WIDTH) + DISPARITY.astype(int)
    return wide[:, :WIDTH], np.take_along_axis(wide, shifted[..., None], axis=1)


def write(path: Path, content: np.ndarray | bytes | str) -> None:
    """Write text, bytes, an array by its suffix, or pixels as RGB, grey or as 16 bits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, str):
        path.write_text(content)
    elif isinstance(content, bytes):
        path.write_bytes(content)
    elif path.suffix == '.npy':
        np.save(path, content)
    elif path.suffix == '.pfm':
        header = f'Pf\n{content.shape[1]} {content.shape[0]}\n-1\n'.encode()
        path.write_bytes(header + content[::-1].astype('<f4').tobytes())
    else:
        bgr = content[..., ::-1] if content.ndim == 3 and content.shape[2] == 3 else content
        quality = [cv2.IMWRITE_JPEG_QUALITY, 100] if path.suffix == '.jpg' else []
        assert cv2.imwrite(str(path), bgr, quality)


def write_pair(left: Path, right: Path, seed: int = 0) -> None:
    for path, image in zip((left, right), pair(seed), strict=True):
        write(path, image)


def depth(focal_baseline: float) -> np.ndarray:
    return focal_baseline / DISPARITY


def sceneflow(root: Path) -> None:
    scenes = {
        'FlyingThings3D': ('TRAIN/A/0000', 'TRAIN/C/0749', 'TEST/B/0002'),
        'Monkaa': ('a_rain_of_stones_x2',),
        'Driving': (
            '15mm_focallength/scene_backwards/fast',
            '35mm_focallength/scene_forwards/slow',
        ),
    }
    for subset, folders in scenes.items():
        for folder in folders:
            for frame in ('0006', '0007'):
                for render in ('clean', 'final'):
                    images = root / subset / f'frames_{render}pass' / folder
                    write_pair(images / f'left/{frame}.png', images / f'right/{frame}.png')
                for side in ('left', 'right'):
                    write(root / subset / 'disparity' / folder / side / f'{frame}.pfm', DISPARITY)


def kitti(year: int) -> Callable[[Path], None]:
    folders = {
        2012: ('colored_0', 'colored_1', 'disp_occ', 'disp_noc', 'calib'),
        2015: ('image_2', 'image_3', 'disp_occ_0', 'disp_noc_0', 'calib_cam_to_cam'),
    }
    left, right, occ, noc, calibration = folders[year]
    validation = {2012: range(180, 194), 2015: KITTI_2015_VALIDATION}

    def projection(tx: float) -> str:
        return ' '.join(f'{v:.6e}' for v in (721.5, 0, 24, tx, 0, 721.5, 12, 0, 0, 0, 1, 0))

    suffix = 'rect_0' if year == 2015 else ''
    text = f'P_rect_02: {projection(44.85)}\nP_rect_03: {projection(-339.5)}\n'
    text = text.replace('P_rect_0', f'P_{suffix}' if suffix else 'P')
    if year == 2015:
        text = f'calib_time: 09-Jan-2012 13:57:47\nS_rect_02: {WIDTH:.6e} {HEIGHT:.6e}\n{text}'

    def make(root: Path) -> None:
        training = root / 'training'
        for frame in (0, 2, *validation[year]):
            name = f'{frame:06d}'
            write_pair(training / left / f'{name}_10.png', training / right / f'{name}_10.png')
            write_pair(training / left / f'{name}_11.png', training / right / f'{name}_11.png')
            coded = (DISPARITY * 256).astype(np.uint16)
            coded[:5] = 0
            write(training / occ / f'{name}_10.png', coded)
            write(training / noc / f'{name}_10.png', np.where(OCCLUDED, np.uint16(0), coded))
            write(training / calibration / f'{name}.txt', text)

    return make


def middlebury_calibration(doffs: float, baseline: float) -> str:
    return (
        'cam0=[400.5 0 20.25; 0 400.5 11; 0 0 1]\n'
        f'cam1=[400.5 0 {20.25 + doffs}; 0 400.5 11; 0 0 1]\n'
        f'doffs={doffs}\nbaseline={baseline}\nwidth={WIDTH}\nheight={HEIGHT}\n'
        'ndisp=280\nisint=0\nvmin=31\nvmax=257\ndyavg=0.918\ndymax=1.516\n'
    )


def truth_with_holes() -> np.ndarray:
    holes = DISPARITY.copy()
    holes[:3] = np.inf
    return holes


def mask0nocc() -> np.ndarray:
    mask = np.where(OCCLUDED, 128, 255).astype(np.uint8)
    mask[:3] = 0
    return mask


def middlebury2006(root: Path) -> None:
    for scene in ('Aloe', 'Wood1'):
        folder = root / scene
        write_pair(folder / 'view1.png', folder / 'view5.png')
        lit = folder / 'Illum1' / 'Exp0'
        write_pair(lit / 'view1.png', lit / 'view5.png', seed=1)
        for name in ('disp1.png', 'disp5.png'):
            write(folder / name, (DISPARITY * 3).astype(np.uint8))
        write(folder / 'dmin.txt', '270\n')


def middlebury2014(root: Path) -> None:
    for scene in ('Adirondack-perfect', 'Adirondack-imperfect', 'Backpack-perfect'):
        folder = root / scene
        write_pair(folder / 'im0.png', folder / 'im1.png')
        for light in 'EL':
            write(folder / f'im1{light}.png', pair()[1] // 2)
        write(folder / 'disp0.pfm', truth_with_holes())
        write(folder / 'disp1.pfm', truth_with_holes())
        write(folder / 'calib.txt', middlebury_calibration(131.111, 193.001))


def middlebury_v3(root: Path) -> None:
    for scene in ('Adirondack', 'ArtL'):
        folder = root / 'MiddEval3' / 'trainingH' / scene
        write_pair(folder / 'im0.png', folder / 'im1.png')
        write(folder / 'disp0GT.pfm', truth_with_holes())
        write(folder / 'mask0nocc.png', mask0nocc())
        write(folder / 'calib.txt', middlebury_calibration(65.5, 193.001))


def eth3d(root: Path) -> None:
    for scene in ('delivery_area_1l', 'playground_1l'):
        images, truth = root / 'two_view_training' / scene, root / 'two_view_training_gt' / scene
        write_pair(images / 'im0.png', images / 'im1.png')
        write(images / 'calib.txt', middlebury_calibration(0, 59.5))
        write(truth / 'disp0GT.pfm', truth_with_holes())
        write(truth / 'mask0nocc.png', mask0nocc())


def tartanair(nested: bool = False) -> Callable[[Path], None]:
    def make(root: Path) -> None:
        for environment in ('abandonedfactory', 'ocean'):
            base = root / environment / environment if nested else root / environment
            for level in ('Easy', 'Hard'):
                flight = base / level / 'P000'
                write_pair(
                    flight / 'image_left/000000_left.png', flight / 'image_right/000000_right.png'
                )
                write(flight / 'depth_left/000000_left_depth.npy', depth(WIDTH / 2 * 0.25))

    return make


def tartanair2(root: Path) -> None:
    for level in ('easy', 'hard'):
        flight = root / 'AbandonedCable' / f'Data_{level}' / 'P000'
        write_pair(
            flight / 'image_lcam_front/000000_lcam_front.png',
            flight / 'image_rcam_front/000000_rcam_front.png',
        )
        packed = depth(WIDTH / 2 * 0.25).astype('<f4')[..., None].view(np.uint8)
        write(flight / 'depth_lcam_front/000000_lcam_front_depth.png', packed)


def sanpo(root: Path) -> None:
    lens = {'fx': 1973.5, 'fy': 1973.5, 'cx': 23.0, 'cy': 12.0}
    lens |= {'image_width': WIDTH, 'image_height': HEIGHT}
    details = {
        'model': 'CAMERA_MODEL_ZED_2I',
        'left_camera_params': lens,
        'right_camera_params': lens,
        'stereo_transform': {'coeff': [1.0, 0.0, 0.0, 120.0, 0.0, 1.0, 0.0, 0.0]},
    }
    description = {
        'session_type': 'real',
        'session_camera_details': [details, details],
        'session_camera_location': ['camera_chest', 'camera_head'],
    }
    small = depth(1973.5 * 0.12)[::2, ::2].astype('<f2')
    coded = np.concatenate([np.array(small.shape, '<f2'), small.ravel()]).tobytes()
    for session in ('first', 'second'):
        folder = root / 'sanpo-real' / session
        write(folder / 'description.json', json.dumps(description))
        for camera in ('camera_chest', 'camera_head'):
            left, right = folder / camera / 'left', folder / camera / 'right'
            write_pair(left / 'video_frames/000000.png', right / 'video_frames/000000.png')
            # A frame without depth, as there are.
            write_pair(left / 'video_frames/000001.png', right / 'video_frames/000001.png')
            write(left / 'depth_maps/000000.float16.gz', gzip.compress(coded))
            write(left / 'zed_depth_maps/000000.float16.gz', gzip.compress(coded))
    for split, session in (('train', 'first'), ('test', 'second')):
        write(root / 'sanpo-real/splits' / f'{split}_session_ids.txt', f'{session}\n')


def sintel(root: Path) -> None:
    coded = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    coded[..., 0] = DISPARITY // 4
    coded[..., 1] = (DISPARITY % 4) * 64
    for scene in ('alley_1', 'bamboo_2'):
        training = root / 'training'
        for frame in ('frame_0001.png', 'frame_0002.png'):
            for render in ('clean', 'final'):
                left, right = (training / f'{render}_{side}' for side in ('left', 'right'))
                write_pair(left / scene / frame, right / scene / frame)
            write(training / 'disparities' / scene / frame, coded)
            masks = (np.zeros_like(OCCLUDED), OCCLUDED)
            for kind, mask in zip(('occlusions', 'outofframe'), masks, strict=True):
                write(training / kind / scene / frame, mask.astype(np.uint8) * 255)


def falling_things(root: Path) -> None:
    lens = {'resX': WIDTH, 'resY': HEIGHT, 'fx': 768.0, 'fy': 768.0, 'cx': 24.0, 'cy': 12.0}
    cameras = [{'name': name, 'intrinsic_settings': lens} for name in ('left', 'right')]
    coded = np.rint(depth(768.0 * 0.06) * 10000).astype(np.uint16)
    coded[0] = 65535
    for folder in ('mixed/kitchen_0', 'single/002_master_chef_can_16k/kitchen_0'):
        scene = root / 'fat' / folder
        write_pair(scene / '000000.left.jpg', scene / '000000.right.jpg')
        for side in ('left', 'right'):
            write(scene / f'000000.{side}.depth.png', coded)
            write(scene / f'000000.{side}.json', '{}')
        write(scene / '_camera_settings.json', json.dumps({'camera_settings': cameras}))
        write(scene / '_object_settings.json', '{}')


def virtual_kitti(root: Path) -> None:
    coded = np.rint(depth(725.0087 * 0.532725) * 100).astype(np.uint16)
    coded[0] = 65535
    for scene in ('Scene01', 'Scene20'):
        for variation in ('clone', '15-deg-left'):
            frames = root / scene / variation / 'frames'
            rgb = frames / 'rgb'
            write_pair(rgb / 'Camera_0/rgb_00000.jpg', rgb / 'Camera_1/rgb_00000.jpg')
            for camera in ('Camera_0', 'Camera_1'):
                write(frames / 'depth' / camera / 'depth_00000.png', coded)


def crestereo(nested: bool = False) -> Callable[[Path], None]:
    def make(root: Path) -> None:
        for subset in ('tree', 'shapenet', 'reflective', 'hole'):
            folder = root / subset / '0' if nested else root / subset
            stem = f'0003c2ad-{subset}'
            write_pair(folder / f'{stem}_left.jpg', folder / f'{stem}_right.jpg')
            for side in ('left', 'right'):
                coded = (DISPARITY * 32).astype(np.uint16)
                write(folder / f'{stem}_{side}.disp.png', coded)

    return make


def instereo2k(root: Path) -> None:
    for scene in ('train/part1/000000', 'train/part2/000411', 'test/000040'):
        folder = root / scene
        write_pair(folder / 'left.png', folder / 'right.png')
        for side in ('left', 'right'):
            write(folder / f'{side}_disp.png', (DISPARITY * 100).astype(np.uint16))


def booster(root: Path) -> None:
    for scene in ('Bathroom', 'Bottle1'):
        folder = root / 'train' / 'balanced' / scene
        for image in ('im0.png', 'im1.png'):
            write_pair(folder / 'camera_00' / image, folder / 'camera_02' / image)
        for camera in ('00', '02'):
            write(folder / f'disp_{camera}.npy', DISPARITY)
            write(folder / f'mask_{camera}.png', np.where(OCCLUDED, 0, 255).astype(np.uint8))
        write(folder / 'mask_cat.png', np.zeros((HEIGHT, WIDTH), np.uint8))
        storage = cv2.FileStorage(str(folder / 'calib_00-02.xml'), cv2.FILE_STORAGE_WRITE)
        for side, cx in (('L', 24.0), ('R', 26.0)):
            projection = np.array([[50.0, 0, cx, 0], [0, 50.0, 12, 0], [0, 0, 1, 0]])
            storage.write(f'proj_mat{side}', projection)
        storage.write('baselineLR', 80.0)
        storage.release()


def folder_pairs(root: Path) -> None:
    for name in ('0001', '0002'):
        write_pair(root / 'left' / f'{name}.png', root / 'right' / f'{name}.png')
        write(root / 'disparity' / f'{name}.pfm', truth_with_holes())
        write(root / 'occluded' / f'{name}.png', OCCLUDED.astype(np.uint8) * 255)
    write(root / 'calib.txt', middlebury_calibration(0, 120))
