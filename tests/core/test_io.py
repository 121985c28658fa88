"""Files against their formats' definitions, byte by byte where there is one."""

import resource
import signal
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from nndepth_core import io
from nndepth_core.plausibility import Once, UsedBits

NAN, INF = np.nan, np.inf


def opencv_write(path: Path, image: np.ndarray) -> Path:
    assert cv2.imwrite(str(path), image)
    return path


@pytest.mark.parametrize('suffix', ['png', 'ppm', 'tiff', 'bmp'])
def test_images_are_rgb(tmp_path, suffix):
    rgb = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    path = tmp_path / f'a.{suffix}'
    io.write_image(path, rgb)
    assert cv2.imread(str(path))[2, 3].tolist() == rgb[2, 3, ::-1].tolist()
    read = io.read_image(path)
    assert read.flags.c_contiguous
    np.testing.assert_array_equal(read, rgb)


def test_jpeg_is_read(tmp_path):
    io.write_image(tmp_path / 'a.jpg', np.full((16, 16, 3), (200, 100, 50), np.uint8))
    assert np.abs(io.read_image(tmp_path / 'a.jpg').astype(int) - (200, 100, 50)).max() <= 3


@pytest.mark.parametrize('suffix', ['png', 'pgm', 'tiff'])
@pytest.mark.parametrize('bits', [8, 16])
def test_grey_is_repeated_and_16_bits_become_8(tmp_path, suffix, bits):
    grey = np.random.default_rng(0).integers(0, 1 << bits, (5, 7)).astype(f'u{bits // 8}')
    read = io.read_image(opencv_write(tmp_path / f'a.{suffix}', grey))
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, np.repeat((grey >> (bits - 8))[..., None], 3, axis=2))


@pytest.mark.parametrize('bits', [10, 12, 16])
def test_16_bits_of_a_pair_are_stretched_alike_by_those_in_use(
    tmp_path, monkeypatch, caplog, bits
):
    monkeypatch.setattr(io, '_told', Once())
    bright = np.random.default_rng(0).integers(0, 1 << bits, (2, 5, 7)).astype(np.uint16)
    bright[0, 0, 0] = (1 << bits) - 1
    paths = [
        opencv_write(tmp_path / f'{name}.png', values)
        for name, values in (('left', bright[1] // 8), ('right', bright[0]))
    ]
    looked: list[int] = []
    see = UsedBits.see
    monkeypatch.setattr(UsedBits, 'see', lambda *args: (looked.append(args[1]), see(*args)))
    for _ in range(2):
        left, right = io.read_pair(*paths)
    assert looked == 2 * [bright[1].max() // 8, bright[0].max()]
    for read, stored in ((left, bright[1] // 8), (right, bright[0])):
        assert (read.shape, read.dtype) == ((5, 7, 3), np.uint8)
        expected = np.rint(stored[..., None] * (255 / ((1 << bits) - 1)))
        np.testing.assert_allclose(read, np.broadcast_to(expected, read.shape), atol=1)
    told = [f'16-bit images use {bits} bits'] if bits < 16 else []
    assert [message.split(' (')[0] for message in caplog.messages] == told


def test_floats_are_no_pictures(tmp_path):
    path = opencv_write(tmp_path / 'a.tiff', np.ones((5, 7), np.float32))
    for read in (io.read_image, lambda path: io.read_pair(path, path)):
        with pytest.raises(ValueError, match=r'a\.tiff .*float32.*; give .*8 or 16 bits'):
            read(path)


def test_alpha_is_dropped(tmp_path):
    bgra = np.random.default_rng(0).integers(0, 256, (5, 7, 4), np.uint8)
    read = io.read_image(opencv_write(tmp_path / 'a.png', bgra))
    np.testing.assert_array_equal(read, bgra[..., 2::-1])


@pytest.mark.parametrize('content', [b'', b'text', b'\x89PNG\r\n\x1a\n'])
def test_damaged_images_are_named(tmp_path, content):
    path = tmp_path / 'broken.png'
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r'broken\.png cannot be read as an image'):
        io.read_image(path)


def test_missing_files_are_named(tmp_path):
    for read in (io.read_image, io.read_pfm, io.read_disparity):
        with pytest.raises(FileNotFoundError, match=r'nowhere\.pfm'):
            read(tmp_path / 'nowhere.pfm')


@pytest.mark.parametrize('suffix', ['.pfm', '.npy', '.png'])
def test_a_full_disk_leaves_no_cut_file(tmp_path, suffix):
    path = tmp_path / f'map{suffix}'
    io.write_disparity(path, np.ones((8, 8)))
    before = path.read_bytes()
    before_limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before_limit[1]))
    try:
        noise = np.random.default_rng(0).uniform(0, 99, (90, 90))
        with pytest.raises(OSError, match='too large') as error:
            io.write_disparity(path, noise)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before_limit)
        signal.signal(signal.SIGXFSZ, handler)
    assert error.value.filename == str(path)
    assert path.read_bytes() == before
    assert [*tmp_path.iterdir()] == [path]


def test_unwritable_format_is_named(tmp_path):
    with pytest.raises(ValueError, match='cannot write this format'):
        io.write_image(tmp_path / 'a.nonsense', np.zeros((4, 4, 3), np.uint8))


@settings(max_examples=25, deadline=None)
@given(
    arrays.arrays(
        np.float32,
        st.one_of(
            st.tuples(st.integers(1, 6), st.integers(1, 6)),
            st.tuples(st.integers(1, 6), st.integers(1, 6), st.just(3)),
        ),
        elements=st.floats(width=32),
    )
)
def test_pfm_keeps_every_value(tmp_path_factory, values):
    path = tmp_path_factory.mktemp('pfm') / 'a.pfm'
    io.write_pfm(path, values)
    np.testing.assert_array_equal(io.read_pfm(path), values)


def test_pfm_is_little_endian_from_the_bottom(tmp_path):
    path = tmp_path / 'a.pfm'
    io.write_pfm(path, np.array([[1, 2], [3, INF], [NAN, 6]], np.float32))
    header, body = path.read_bytes()[:12], path.read_bytes()[12:]
    assert header == b'Pf\n2 3\n-1.0\n'
    np.testing.assert_array_equal(struct.unpack('<6f', body), [NAN, 6, 3, INF, 1, 2])


@pytest.mark.parametrize(
    ('header', 'order'),
    [(b'Pf\n2 1\n1.0\n', '>'), (b'Pf 2 1 -0.003922\n', '<'), (b'Pf\r\n2 1\r\n-1\r\n', '<')],
)
def test_pfm_headers_of_others(tmp_path, header, order):
    path = tmp_path / 'a.pfm'
    path.write_bytes(header + struct.pack(f'{order}2f', 1.5, 10.0))
    assert io.read_pfm(path).tolist() == [[1.5, 10.0]]


@pytest.mark.parametrize(
    ('content', 'words'),
    [
        (b'', 'header of a PFM'),
        (b'P5\n2 2\n255\n1234', 'header of a PFM'),
        (b'Pf\n2 2\n-1.0\n1234', 'holds 4 bytes of pixels, 16 are due'),
    ],
)
def test_broken_pfm_is_named(tmp_path, content, words):
    path = tmp_path / 'broken.pfm'
    path.write_bytes(content)
    with pytest.raises(ValueError, match=words):
        io.read_pfm(path)


def test_kitti_coding(tmp_path):
    path = tmp_path / 'a.png'
    disparity = np.array([[NAN, INF, 0.0, -3.0, 0.001, 1.0, 2.5, 255.996]], np.float32)
    io.write_disparity(path, disparity)
    stored = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert stored.dtype == np.uint16
    assert stored.tolist() == [[0, 0, 1, 1, 1, 256, 640, 65535]]
    np.testing.assert_allclose(
        io.read_disparity(path), [[NAN, NAN, *[1 / 256] * 3, 1.0, 2.5, 65535 / 256]]
    )


def test_kitti_refuses_what_does_not_fit(tmp_path):
    with pytest.raises(ValueError, match=r'256\.000 px and a KITTI PNG holds at most 255\.996'):
        io.write_kitti(tmp_path / 'a.png', np.array([[1.0, 256.0]], np.float32))
    assert not (tmp_path / 'a.png').exists()


@settings(max_examples=20, deadline=None)
@given(arrays.arrays(np.float32, (3, 4), elements=st.floats(0.0625, 255, width=32)))
def test_kitti_is_exact_to_half_a_step(tmp_path_factory, disparity):
    path = tmp_path_factory.mktemp('kitti') / 'a.png'
    io.write_kitti(path, disparity)
    assert np.abs(io.read_disparity(path) - disparity).max() <= 1 / 512


@pytest.mark.parametrize('suffix', ['pfm', 'npy'])
def test_float_files_keep_the_disparity(tmp_path, suffix):
    path = tmp_path / f'a.{suffix}'
    io.write_disparity(path, np.array([[NAN, 1.1], [300.7, INF]]))
    read = io.read_disparity(path)
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, np.array([[NAN, 1.1], [300.7, NAN]], np.float32))
    np.testing.assert_allclose(io.read_disparity(path, scale=2.0), read / 2)


@pytest.mark.parametrize('suffix', ['png', 'pgm'])
@pytest.mark.parametrize('colour', [False, True])
def test_8_bit_disparity_needs_its_scale(tmp_path, suffix, colour):
    stored = np.array([[0, 8], [20, 255]], np.uint8)
    if colour and suffix == 'png':  # some publishers repeat the map to three channels
        stored = np.repeat(stored[..., None], 3, axis=2)
    path = opencv_write(tmp_path / f'a.{suffix}', stored)
    np.testing.assert_array_equal(io.read_disparity(path, 8.0), [[NAN, 1], [2.5, 31.875]])
    with pytest.raises(ValueError, match='8 bits, which do not tell its scale'):
        io.read_disparity(path)


def test_16_bit_disparity_takes_another_scale(tmp_path):
    path = opencv_write(tmp_path / 'a.png', np.array([[0, 100]], np.uint16))
    np.testing.assert_array_equal(io.read_disparity(path, 10), [[NAN, 10]])


def test_what_is_no_disparity_is_named(tmp_path):
    io.write_image(tmp_path / 'rgb.png', np.arange(27, dtype=np.uint8).reshape(3, 3, 3))
    io.write_pfm(tmp_path / 'rgb.pfm', np.zeros((3, 3, 3)))
    np.save(tmp_path / 'objects.npy', np.array([{}]), allow_pickle=True)
    (tmp_path / 'empty.npy').touch()
    for name, words in (
        ('rgb.png', 'is a colour picture'),
        ('rgb.pfm', r'shape \(3, 3, 3\)'),
        ('objects.npy', 'is not an array written by numpy'),
        ('empty.npy', 'is not an array written by numpy'),
        ('a.jpg', 'is no disparity map; give .pfm, .npy'),
    ):
        with pytest.raises(ValueError, match=words):
            io.read_disparity(tmp_path / name, 1.0)
    with pytest.raises(ValueError, match='scale is 0'):
        io.read_disparity(tmp_path / 'rgb.png', 0)
    with pytest.raises(ValueError, match=r'written as \.pfm, \.npy or \.png'):
        io.write_disparity(tmp_path / 'a.tiff', np.zeros((2, 2)))


def test_depth_files(tmp_path):
    depth = np.array([[NAN, INF, -INF, 0.0004], [1.2344, 65.535, 65.536, -1.0]], np.float32)
    io.write_depth(tmp_path / 'a.npy', depth)
    io.write_depth(tmp_path / 'a.png', depth)
    loaded = np.load(tmp_path / 'a.npy')
    assert loaded.dtype == np.float32
    np.testing.assert_array_equal(loaded, depth)
    stored = cv2.imread(str(tmp_path / 'a.png'), cv2.IMREAD_UNCHANGED)
    assert stored.dtype == np.uint16
    assert stored.tolist() == [[0, 0, 0, 0], [1234, 65535, 0, 0]]
    io.write_depth(tmp_path / 'a.pfm', depth)
    np.testing.assert_array_equal(io.read_pfm(tmp_path / 'a.pfm'), depth)
    known = np.where(np.isfinite(depth) & (depth > 0), depth, np.float32(NAN))
    np.testing.assert_array_equal(io.read_depth(tmp_path / 'a.pfm'), known)
    with pytest.raises(ValueError, match=r'written as \.pfm, \.npy or \.png'):
        io.write_depth(tmp_path / 'a.tif', depth)


def test_ply_holds_the_finite_points(tmp_path):
    points = np.array([[[1, 2, 3], [NAN, 0, 0]], [[0, INF, 0], [-4, 5, 6]]], np.float32)
    rgb = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    io.write_ply(tmp_path / 'a.ply', points, rgb)
    header, body = (tmp_path / 'a.ply').read_bytes().split(b'end_header\n')
    assert header.decode().splitlines() == [
        'ply',
        'format binary_little_endian 1.0',
        'element vertex 2',
        'property float x',
        'property float y',
        'property float z',
        'property uchar red',
        'property uchar green',
        'property uchar blue',
    ]
    vertices = list(struct.iter_unpack('<3f3B', body))
    assert vertices == [(1, 2, 3, 0, 1, 2), (-4, 5, 6, 9, 10, 11)]


def touch(folder: Path, *names: str) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()
    return [folder / name for name in names]


def test_sources_are_files_folders_and_globs(tmp_path):
    files = touch(tmp_path, 'b.png', 'a.PNG', 'calib.txt', 'c.jpg')
    assert io.list_files(str(files[0])) == [files[0]]
    assert io.list_files(str(tmp_path)) == [files[1], files[0], files[3]]
    assert io.list_files(str(tmp_path / '?.[jp]*g')) == [files[0], files[3]]
    touch(tmp_path, '._b.png', '.hidden.png')
    (tmp_path / 'Thumbs.png').mkdir()
    (tmp_path / 'dangling.png').symlink_to('nowhere.png')
    assert io.list_files(str(tmp_path)) == [files[1], files[0], files[3]]
    assert io.list_files(str(tmp_path / '*.png')) == [files[0]]
    for nothing in ('x*.png', 'x.png', 'dangling.png'):
        with pytest.raises(FileNotFoundError, match='no file there'):
            io.list_files(str(tmp_path / nothing))
    touch(tmp_path / 'empty')
    with pytest.raises(FileNotFoundError, match=r'no file of the kinds \.png'):
        io.list_files(str(tmp_path / 'empty'))


def test_matching_by_name_and_by_order(tmp_path):
    lefts = touch(tmp_path / 'left', '1.png', '2.png')
    rights = touch(tmp_path / 'right', '1.jpg', '2.jpg')
    others = touch(tmp_path / 'right', 'im6a.png', 'im6b.png')
    crossed = [(lefts[0], rights[0]), (lefts[1], rights[1])]
    assert io.match_files(lefts, rights[::-1]) == crossed
    assert io.match_files(lefts, others) == list(zip(lefts, others, strict=True))
    assert io.match_files(lefts, rights, rights) == [(a, b, b) for a, b in crossed]
    scenes = [tmp_path / 'a' / 'left.png', tmp_path / 'b' / 'left.png']
    assert io.match_files(scenes, scenes) == [(a, a) for a in scenes]


def test_matching_refuses_to_guess(tmp_path):
    lefts = touch(tmp_path / 'left', '1.png', '2.png')
    with pytest.raises(ValueError, match='2 and 1 files cannot be matched'):
        io.match_files(lefts, lefts[:1])
    with pytest.raises(ValueError, match='without: 2, 3'):
        io.match_files(lefts, touch(tmp_path / 'right', '1.png', '3.png'))


def test_names_tell_apart():
    assert io.distinct_names([Path('a/1.png'), Path('a/2.png')]) == ['1', '2']
    assert io.distinct_names([Path('a/left.png'), Path('b/left.png')]) == ['a_left', 'b_left']
    deep = [Path('x/1/left/a.png'), Path('y/1/left/a.png')]
    assert io.distinct_names(deep) == ['x_1_left_a', 'y_1_left_a']
    beside = [Path('X/a.png'), Path('X/a.jpg'), Path('Y/a.png'), Path('Y/a.jpg')]
    assert io.distinct_names(beside) == ['X_a_png', 'X_a_jpg', 'Y_a_png', 'Y_a_jpg']
    assert io.distinct_names([]) == []
    with pytest.raises(ValueError, match=r'a_b/c\.png and a/b/c\.png would both be called a_b_c'):
        io.distinct_names([Path('a_b/c.png'), Path('a/b/c.png'), Path('b/c.png')])
