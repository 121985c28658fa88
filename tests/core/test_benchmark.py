"""The benchmark: its figures, its processes, and how it calls the authors' code."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from pairs import stereo

from nndepth_core.benchmark import measure as benchmark
from nndepth_core.benchmark.measure import BenchmarkError, Case, Measurement, format_table, measure
from nndepth_core.engines.reference import textured_pair
from nndepth_core.engines.sgbm import SgbmEngine

SCRIPT = Path(__file__).parents[2] / 'scripts' / 'benchmark.py'
OURS_AS_THEIRS = """
import torch
from nndepth_core.models.rt_igev import RtIgev

class IGEVStereo(RtIgev):
    def __init__(self, settings):
        torch.manual_seed(settings.hidden_dim)
        super().__init__()

    def forward(self, left, right, iters, test_mode):
        print('official code prints')
        return super().forward(left, right, iters)
"""


def measurement(walls, memory, disparity):
    case = Case('raft_stereo', 'torch')
    values = np.full((1, 2, 2), disparity, np.float32)
    return Measurement(case, (640, 320), walls, [2 * wall for wall in walls], memory, values)


def test_figures_are_percentiles_of_the_runs_and_ratios_of_them():
    base = measurement([10.0, 20.0, 30.0], 4 * 2**20, 5.0)
    ours = measurement([5.0, 10.0, 15.0], 2**20, 5.5)
    figures = ours.figures(base)
    assert figures == {
        'model': 'raft_stereo',
        'engine': 'torch',
        'size': '640x320',
        'p50_ms': 10.0,
        'p95_ms': pytest.approx(14.5),
        'cpu_ms': 20.0,
        'per_second': 100.0,
        'memory_mib': 1.0,
        'p50_ratio': 0.5,
        'cpu_ratio': 0.5,
        'memory_ratio': 0.25,
        'difference_px': 0.5,
    }
    assert measurement([1.0], None, 0.0).figures(base)['memory_ratio'] is None


def test_table_has_the_columns_that_were_measured():
    figures = measurement([1.0, 2.0], None, 0.0).figures()
    heading, row = format_table([figures]).splitlines()
    assert heading.split()[:3] == ['MODEL', 'ENGINE', 'SIZE']
    assert 'DIFF' not in heading
    assert row.split() == ['raft_stereo', 'torch', '640x320', '1.5', '1.95', '3', '667', '-']


def test_memory_is_the_peak_even_if_freed():
    needed = benchmark._watch_memory(SimpleNamespace(name='torch', device='cpu'))
    before = needed()
    np.ones(64 * 2**20, np.uint8)
    assert 63 <= (needed() - before) / 2**20 <= 80


def test_sgbm_is_measured_in_another_process():
    (result,) = measure([Case('sgbm', 'opencv', (200, 90))], runs=3)
    assert result.size == (200, 90)
    assert len(result.wall_ms) == len(result.cpu_ms) == 3
    assert min(result.wall_ms) > 0
    expected = SgbmEngine().run(stereo(*textured_pair(90, 200)))['disparity']
    np.testing.assert_array_equal(result.disparity, expected)


def test_what_cannot_be_measured_says_why():
    with pytest.raises(BenchmarkError, match=r'sgbm on torch .* sgbm is run by opencv'):
        measure([Case('sgbm', 'torch')])


def test_engines_of_models():
    assert benchmark.engines_of('sgbm') == ('opencv',)
    assert set(benchmark.engines_of('a/file.onnx')) <= {'onnxruntime'}
    assert set(benchmark.engines_of('raft_stereo-base')) <= {'torch', 'onnxruntime'}


def run_script(*arguments):
    return subprocess.run(
        [sys.executable, SCRIPT, *arguments],
        capture_output=True,
        text=True,
        env={'PYTHONPATH': str(SCRIPT.parents[1])},
    )


def test_script_prints_json():
    done = run_script('models', '--models=sgbm', '--sizes=64x32,96x48', '--runs=2', '--json')
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert [row['size'] for row in report['measurements']] == ['64x32', '96x48']
    assert report['machine']['cores'] >= 1


def test_script_refuses_what_makes_no_sense():
    done = run_script('models', '--models=sgbm', '--engines=torch')
    assert done.returncode == 2
    assert 'no engine' in done.stderr
    done = run_script('models', '--models=raft_stereo,crestereo', '--against=x')
    assert done.returncode == 2
    assert 'one model' in done.stderr


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """Write a module into an otherwise empty checkout; the import system forgets it afterwards."""
    pytest.importorskip('torch')
    monkeypatch.setattr(sys, 'path', [*sys.path])
    known = set(sys.modules)

    def write(module, text):
        file = tmp_path.joinpath(*module.split('.')).with_suffix('.py')
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return tmp_path

    yield write
    for name in set(sys.modules) - known:
        if name.partition('.')[0] in {'core', 'core_rt', 'nets', 'stereo'}:
            del sys.modules[name]


def official(model, variant, folder):
    from nndepth_core.benchmark.official import OfficialEngine

    return OfficialEngine(model, variant, folder, iterations=3)


# What a stand-in of each network returns, so that its disparity shows one channel of the left
# image, and where that stands in RGB.
@pytest.mark.parametrize(
    ('model', 'module', 'definition', 'channel', 'scaled'),
    [
        (
            'raft_stereo-realtime',
            'core.raft_stereo',
            'class RAFTStereo(Base):\n def forward(self, left, right, iters, test_mode):\n'
            '  assert iters == 3 and test_mode and self.settings.n_downsample == 3\n'
            '  return None, -left[:, :1]',
            0,
            None,
        ),
        (
            'crestereo-base',
            'nets.crestereo',
            'class CREStereo(Base):\n def forward(self, left, right, iters, flow_init=None):\n'
            '  assert iters == 3 and flow_init is None\n'
            '  return torch.cat([left[:, :1], right[:, :1]], 1)',
            2,
            None,
        ),
        (
            'crestereo-cascade',
            'nets.crestereo',
            'class CREStereo(Base):\n def forward(self, left, right, iters, flow_init=None):\n'
            '  if flow_init is None:\n   return left[:, :2]\n'
            '  assert flow_init.shape == (1, 2, 32, 48)\n'
            '  return left[:, :2]',
            2,
            None,
        ),
        (
            'igev_stereo-base',
            'IGEV-Stereo.core.igev_stereo',
            'class IGEVStereo(Base):\n def forward(self, left, right, iters, test_mode):\n'
            '  assert iters == 3 and test_mode and self.settings.hidden_dims == [128] * 3\n'
            '  return left[:, 1:2]',
            1,
            None,
        ),
        (
            'light_stereo-m',
            'stereo.modeling.models.lightstereo.lightstereo',
            'class LightStereo(Base):\n def forward(self, data):\n'
            "  assert self.settings.get('AGGREGATION_BLOCKS') == [4, 8, 16]\n"
            "  return {'disp_pred': data['left'][:, 2:]}",
            2,
            (0.406, 0.225),
        ),
        (
            'mobile_stereonet-3d',
            'models',
            'class MSNet3D(Base):\n def forward(self, left, right):\n  return [left[:, 2]]',
            2,
            (0.406, 0.225),
        ),
        (
            'gmstereo-scale2_regrefine',
            'unimatch.unimatch',
            'class UniMatch(torch.nn.Module):\n def __init__(self, num_scales, reg_refine, **_):\n'
            '  super().__init__()\n  self.scales = num_scales, reg_refine\n'
            ' def forward(self, left, right, num_reg_refine, attn_splits_list, **_):\n'
            '  assert (*self.scales, num_reg_refine) == (2, True, 3)\n'
            '  assert attn_splits_list == [2, 8]\n'
            "  return {'flow_preds': [right, left[:, 1]]}",
            1,
            (0.456, 0.224),
        ),
    ],
    ids=[
        'raft_stereo',
        'crestereo',
        'cascade',
        'igev_stereo',
        'light_stereo',
        'mobile',
        'gmstereo',
    ],
)
def test_official_code_is_called_as_its_authors_do(
    checkout, model, module, definition, channel, scaled
):
    base = (
        'import torch\nclass Base(torch.nn.Module):\n def __init__(self, settings, *_, **__):\n'
        '  super().__init__()\n  self.settings = settings\n'
    )
    folder = checkout(module, base + definition)
    (folder / 'stereo' / 'modeling').mkdir(parents=True, exist_ok=True)
    (folder / 'stereo' / 'modeling' / '__init__.py').write_text('import nothing_of_that_name')
    left, right = textured_pair(64, 96)
    found = official(*model.split('-'), folder).run(stereo(left, right))['disparity']
    expected = left[..., channel].astype(np.float32)
    if scaled is not None:
        expected = (expected / 255 - scaled[0]) / scaled[1]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_missing_package_and_wrong_checkout_are_told_apart(checkout):
    with pytest.raises(ValueError, match=r'no core\.raft_stereo; give a checkout'):
        official('raft_stereo', 'base', 'nowhere')
    folder = checkout('core.raft_stereo', 'import nothing_of_that_name')
    with pytest.raises(ValueError, match='needs nothing_of_that_name; install it'):
        official('raft_stereo', 'base', folder)


def test_ours_takes_the_official_weights_and_gives_the_same(checkout):
    folder = checkout('core_rt.rt_igev_stereo', OURS_AS_THEIRS)
    settings = {'size': (100, 64), 'iterations': 2, 'threads': 1}
    theirs, ours = measure(
        [
            Case('rt_igev', 'official', checkout=str(folder), **settings),
            Case('rt_igev', 'torch', **settings),
        ],
        runs=1,
    )
    assert theirs.size == ours.size == (128, 64)
    assert theirs.disparity.shape == (1, 64, 128)
    assert theirs.disparity.std() > 1e-3
    assert ours.figures(theirs)['difference_px'] < 1e-3


def test_the_rate_of_the_renderer():
    options = ['--size', '96x64', '--pairs', '4', '--json']
    command = [sys.executable, str(SCRIPT), 'renderer', *options]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)['pairs_per_second'] > 0
