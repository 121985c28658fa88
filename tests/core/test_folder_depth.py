"""Your own images with depth."""

import numpy as np
import pytest

from nndepth_core import io
from nndepth_core.data.datasets import DatasetError, FolderDepth


def write(root, images=('a', 'b'), depths=('a', 'b'), suffix='.png'):
    for folder, names in (('image', images), ('depth', depths)):
        (root / folder).mkdir(parents=True)
        for value, name in enumerate(names, 1):
            if folder == 'image':
                io.write_image(root / folder / f'{name}.png', np.full((4, 6, 3), value, np.uint8))
            else:
                depth = np.full((4, 6), value + 0.25, np.float32)
                depth[0] = np.nan
                io.write_depth(root / folder / f'{name}{suffix}', depth)
    return root


@pytest.mark.parametrize('suffix', ['.png', '.pfm', '.npy'])
def test_reads_metres(tmp_path, suffix):
    data = FolderDepth(write(tmp_path / 'mine', suffix=suffix))
    assert (data.name, len(data), data.meaning) == ('mine', 2, 'metric')
    sample = data[1]
    assert sample.name == 'b'
    assert (sample.image == 2).all()
    assert np.isnan(sample.depth[0]).all()
    np.testing.assert_allclose(sample.depth[1:], 2.25)


def test_scale_of_pictures(tmp_path):
    data = FolderDepth(write(tmp_path), scale=500.0)
    np.testing.assert_allclose(data[0].depth[1:], 2.5)


@pytest.mark.parametrize(('camera', 'focal'), [('7,8,3,2', 7), ('rig.yaml', 9), ('', 5)])
def test_camera(tmp_path, camera, focal):
    root = write(tmp_path)
    for name, fx in (('rig', 9), ('camera', 5)):
        (root / f'{name}.yaml').write_text(
            'image_width: 6\nimage_height: 4\nprojection_matrix:\n'
            f'  data: [{fx}, 0, 3, 0, 0, {fx}, 2, 0, 0, 0, 1, 0]\n'
        )
    sample = FolderDepth(root, camera=camera)[1]
    assert (sample.camera.width, sample.camera.height, sample.camera.fx) == (6, 4, focal)
    assert sample.arrays()['focal'] == focal


def test_other_names_belong_together_in_their_order(tmp_path):
    data = FolderDepth(write(tmp_path, depths=('x', 'y')))
    assert [sample.depth[1, 0] for sample in data] == [1.25, 2.25]


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        ({'depths': ()}, r'no depth of .*\.png.* is at .*depth/\*; put them there, or set depth'),
        ({'depths': ('a',)}, '2'),
    ],
)
def test_missing_files_are_named(tmp_path, changes, words):
    root = write(tmp_path, **changes)
    with pytest.raises(DatasetError, match=words):
        FolderDepth(root)
