#!/usr/bin/env python3
"""Write docs/models.md from the catalogue, the measured figures, the goldens and the networks.

With --pictures it first draws what each network makes of one rendered pair, in docs/images/models,
for those whose weights are at hand; random weights are never drawn.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import torch

from nndepth_core.camera import PinholeCamera, StereoCamera
from nndepth_core.data.sample import StereoSample
from nndepth_core.data.synthetic.sequence import render_sequence
from nndepth_core.estimator import MonoEstimator, load_estimator
from nndepth_core.models import create_model, network_class
from nndepth_core.visualization import colorize, error_map, panel, value_range
from nndepth_core.weights.catalogue import BENCHMARKS, Network, catalogue
from nndepth_core.weights.choice import figure_of
from nndepth_core.weights.measured import Measured, measured
from nndepth_core.weights.store import stored_weights

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / 'docs' / 'models.md'
PICTURES = ROOT / 'docs' / 'images' / 'models'
GOLDEN = ROOT / 'tests' / 'data' / 'golden'
SIZES = ('640x480', '1280x720')
UNKNOWN = '-'

HEAD = """\
# Models

Written by `python scripts/list_models.py`; do not edit by hand.

`nndepth models --for cpu --license commercial --max-ms 50` lists what fits a device, a licence and
a time. Our code of all networks is Apache-2.0; the licences below are those of the authors' code
and of the published weights, as their authors state them. Weights are fetched by `nndepth weights
fetch`, or imported by `nndepth weights import`; only those of `nano_stereo` come with the package.

`nndepth weights import OWNER/NAME` takes them from the Hugging Face hub as well, with `--revision`
or as `OWNER/NAME@REVISION/FILE`; a path that exists is taken for a path. Files come through
`huggingface_hub` (`nndepth[torch]`) and its cache. Its settings hold: `HF_HOME`, `HF_ENDPOINT`,
`HF_HUB_OFFLINE`, `HF_TOKEN`. The commit is stored with the weights. A broken connection is
taken up again; after a kill the file begins anew. `nndepth weights show MODEL/NAME` prints
licence, commercial use and SHA-256. [hub.md](hub.md) tells of `from_pretrained`, `save_pretrained`
and `--commercial-only`.
"""
COLUMNS = [
    'model',
    'task',
    'parameters',
    'GMACs',
    'code',
    'weights',
    'equal within',
    'published errors',
    'published latency',
    *(f'measured at {size}' for size in SIZES),
    'notes',
]
NOTES = """\
- GMACs: billions of multiply-accumulate operations for one 640x480 input at the default number of
  iterations.
- equal within: the largest difference from the authors' code on the same weights and images that
  the tests allow, in the unit of the output.
- published errors: each of the checkpoint that was trained for that benchmark; EPE in px, the
  others in per cent of the pixels.
- published latency: of one pair or image, by their authors or others, who are named by
  `nndepth models --for gpu`.
- measured: the fastest engine at default iterations, and the peak of memory beyond the loaded
  model. `scripts/benchmark.py survey` and `scripts/check_gpu.py` measure, `scripts/benchmark.py
  record` keeps what they found.
- any size, one size: of the ONNX files that `nndepth export` writes; the number of iterations is
  fixed in them too. Tests load those of the stereo networks in ONNX Runtime and in OpenVINO, and
  let onnxslim work on them; the numbers stay the same."""


def page(rows: Sequence[Measured], pictures: Sequence[str]) -> str:
    """Write the page.

    Args:
        rows: the measurements.
        pictures: names of the networks that there is a picture of.
    """
    lines = [' | '.join(COLUMNS), ' | '.join(['---'] * len(COLUMNS))]
    for network in catalogue().values():
        for variant in network.variants or ('',):
            lines.append(' | '.join(_cells(network, variant, rows)))
    parts = [HEAD, '\n'.join(f'| {line} |' for line in lines), NOTES]
    parts += [_machines(rows)] if rows else ['Nothing has been measured yet.']
    parts += ['## Before commercial use', '\n'.join(_cautions())]
    if drawn := [name for name in catalogue() if name in pictures]:
        text = (
            'One rendered pair, drawn by `python scripts/list_models.py --pictures` for networks '
            'whose weights are at hand.'
        )
        parts += ['## Pictures', text, *(f'![{x}](images/models/{x}.jpg)' for x in drawn)]
    return '\n\n'.join(part.strip() for part in parts) + '\n'


def _cells(network: Network, variant: str, rows: Sequence[Measured]) -> Iterator[str]:
    known = network.variants.get(variant)
    yield f'`{network.name}`' + (f' {variant}' if variant else '')
    yield network.task
    yield f'{known.parameters / 1e6:.2f} M' if known else UNKNOWN
    yield f'{known.macs / 1e9:.1f}' if known and known.macs else UNKNOWN
    yield network.code_license
    licences = dict.fromkeys(entry.license for entry in network.checkpoints_of(variant))
    yield ', '.join(licences) or UNKNOWN
    yield _equal_within(network.name, variant)
    figures = network.figures(variant)
    yield ', '.join(f'{BENCHMARKS[key]} {value:g}' for key, value in figures.items()) or UNKNOWN
    latencies = [
        f'{x.ms:g} ms ({x.machine}, {x.size or "size not stated"})'
        for x in (known.latencies if known else ())
    ]
    yield ', '.join(latencies) or UNKNOWN
    for size in SIZES:
        found = [_measured(network, variant, size, device, rows) for device in ('cpu', 'gpu')]
        yield ', '.join(filter(None, found)) or UNKNOWN
    yield _notes(network.name, variant) if known else 'OpenCV'


def _measured(
    network: Network, variant: str, size: str, device: str, rows: Sequence[Measured]
) -> str:
    figure = figure_of(network, variant, device, size, rows)
    if figure is None or figure.basis != 'measured':
        return ''
    memory = '' if figure.memory_mib is None else f', {figure.memory_mib:.0f} MiB'
    return f'{device.upper()} {float(f"{figure.ms:.3g}"):g} ms{memory}'


def _equal_within(name: str, variant: str) -> str:
    """What the golden of a network allows."""
    file = GOLDEN / f'{name}_{variant}.json'
    facts = json.loads(file.read_text()) if file.exists() else {}
    return f'{facts["tolerance"]:g}' if 'tolerance' in facts else UNKNOWN


@cache
def _notes(name: str, variant: str) -> str:
    cls = network_class(name)
    try:
        with torch.device('meta'):  # without memory for the weights
            spec = create_model(name, variant).spec
    except ModuleNotFoundError:
        spec = cls.spec
    notes = [f'{spec.iterations} iterations'] if spec.iterations else []
    notes += ['confidence'] if spec.confidence else []
    if spec.task == 'mono':
        notes.append({'depth': 'metres'}.get(spec.output, spec.output.replace('_', ' ')))
    one = cls.one_size_graph or spec.fixed_size
    notes.append('one size' if one else 'any size')
    return ', '.join(notes)


def _machines(rows: Sequence[Measured]) -> str:
    """Say where and when the figures of the table were measured."""
    places = dict.fromkeys(
        f'{row.machine}' + (f', {row.threads} threads' if row.threads else '') + f', {row.date}'
        for row in rows
        if row.size in SIZES
    )
    return 'Measured on:\n\n' + '\n'.join(f'- {place}' for place in places)


def _cautions() -> Iterator[str]:
    """Name what may be used commercially, each with what is to be known before."""
    yield 'These weights are stated to be under a licence that allows commercial use. What is not'
    yield 'stated does not count.\n'
    for network in catalogue().values():
        for variant in network.variants:
            free = [entry for entry in network.checkpoints_of(variant) if entry.commercial]
            if free:
                names = ', '.join(entry.name for entry in free)
                text = '; '.join(dict.fromkeys(x.caution for x in free if x.caution))
                text = text or 'trained by this project on pairs that it renders'
                yield f'- `{network.name}` {variant} ({names}), {free[0].license}: {text}.'


def rendered_pair() -> StereoSample:
    """The pair of the pictures."""
    rig = StereoCamera(PinholeCamera(640, 480, 500.0, 500.0, 319.5, 239.5), 0.12, 319.5)
    return next(render_sequence(7, 1, rig, 10.0))


def draw(name: str, pair: StereoSample) -> np.ndarray | None:
    """Draw what a model makes of a pair, uint8 RGB; None if it has no weights at hand."""
    if catalogue()[name].variants and not stored_weights(name):
        return None
    estimator = load_estimator(name, device='cpu')
    if isinstance(estimator, MonoEstimator):
        found = estimator(pair.left, pair.rig.left)
        low, high = value_range(found.depth)
        if 'inverse' not in found.output:
            low, high = high, low
        return panel({'image': pair.left, name: colorize(found.depth, low, high)})
    disparity = estimator(pair.left, pair.right).disparity
    tiles = {'left': pair.left, name: colorize(disparity, *value_range(pair.disparity))}
    return panel({**tiles, 'error, 0 to 4 px': error_map(disparity, pair.disparity)})


def drawn() -> list[str]:
    """Names of the networks that there is a picture of."""
    return sorted(path.stem for path in PICTURES.glob('*.jpg'))


def main() -> None:
    """Parse, draw, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--pictures', action='store_true', help='draw them first')
    if parser.parse_args().pictures:
        PICTURES.mkdir(parents=True, exist_ok=True)
        pair = rendered_pair()
        for name in catalogue():
            picture = draw(name, pair)
            if picture is not None:
                path = PICTURES / f'{name}.jpg'
                cv2.imwrite(str(path), picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])
                print(f'{path.relative_to(ROOT)} is drawn')
    PAGE.write_text(page(measured(), drawn()))
    print(f'{PAGE.relative_to(ROOT)} is written')


if __name__ == '__main__':
    main()
