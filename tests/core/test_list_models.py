"""The page of models: up to date, and its pictures are what the models compute."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('torch')

import cv2

from nndepth_core.models import model_names, network_class
from nndepth_core.weights.catalogue import catalogue
from nndepth_core.weights.measured import Measured, measured

SCRIPT = Path(__file__).parents[2] / 'scripts' / 'list_models.py'


@pytest.fixture(scope='module')
def listing():
    spec = importlib.util.spec_from_file_location('list_models', SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rows_of(text):
    cells = [line.strip('|').split('|') for line in text.splitlines() if line.startswith('| `')]
    return {row[0].strip(): [cell.strip() for cell in row[1:]] for row in cells}


def test_the_page_is_up_to_date(listing):
    page = listing.page(measured(), listing.drawn())
    assert listing.PAGE.read_text() == page, 'run python scripts/list_models.py'


def test_every_variant_has_a_row(listing):
    rows = rows_of(listing.PAGE.read_text())
    names = {f'`{name}` {key}' for name in model_names() for key in network_class(name).variants}
    assert rows.keys() == names | {'`sgbm`'}
    assert {len(row) for row in rows.values()} == {len(listing.COLUMNS) - 1}
    base = rows['`raft_stereo` base']
    assert base[:5] == ['stereo', '11.12 M', '1671.1', 'MIT', 'not stated']
    assert base[5] == '0.0001'
    assert base[6].startswith('Scene Flow EPE 0.79, ')
    assert base[-1] == '32 iterations, confidence, any size'
    assert rows['`depth_anything_v2` base'][4] == 'CC BY-NC 4.0'


def test_measured_figures_stand_at_their_size(listing):
    fields = {'precision': 'fp32', 'mode': 'eager', 'runtime': 'x 1', 'date': '2026-11-29'}
    figures = [
        ('cpu', 'torch', '640x480', 2, 90.0, 80.0),
        ('cpu', 'onnxruntime', '640x480', 2, 45.2, 100.4),
        ('gpu', 'torch', '640x480', 0, 1.256, None),
        ('gpu', 'torch', '1280x720', 0, 3.0, 50.0),
    ]
    rows = [
        Measured(
            model='nano_stereo-base',
            device=device,
            engine=engine,
            size=size,
            threads=threads,
            latency_ms=ms,
            memory_mib=memory,
            machine=f'a {device}',
            **fields,
        )
        for device, engine, size, threads, ms, memory in figures
    ]
    page = listing.page(rows, [])
    cells = rows_of(page)['`nano_stereo` base']
    assert cells[8:10] == ['CPU 45.2 ms, 100 MiB, GPU 1.26 ms', 'GPU 3 ms, 50 MiB']
    assert '- a cpu, 2 threads, 2026-11-29\n- a gpu, 2026-11-29\n' in page
    assert '## Pictures' not in page


@pytest.fixture(scope='module')
def pair(listing):
    return listing.rendered_pair()


def smooth(picture):
    """JPEG changes single pixels a lot, and areas hardly."""
    return cv2.resize(picture, None, fx=1 / 8, fy=1 / 8, interpolation=cv2.INTER_AREA).astype(int)


def test_the_pictures_are_what_the_models_compute(listing, pair):
    names = ('sgbm', 'nano_stereo')
    assert set(names) <= set(listing.drawn()) <= set(catalogue())
    drawn = {name: smooth(listing.draw(name, pair)) for name in names}
    for name in names:
        kept = smooth(cv2.imread(str(listing.PICTURES / f'{name}.jpg'))[..., ::-1])
        off = {other: np.abs(kept - drawn[other]).mean() for other in names}
        assert off[name] < 1
        assert min(value for other, value in off.items() if other != name) > 4


def test_a_network_without_weights_is_not_drawn(listing, pair, empty_store):
    assert listing.draw('raft_stereo', pair) is None
    assert listing.draw('nano_stereo', pair) is None
