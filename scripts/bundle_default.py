#!/usr/bin/env python3
"""Writes the exports of the default model that come with the package, from its weights there.

The exports of all variants share one file of weights, so that the package holds these once.
"""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx.external_data_helper import set_external_data

from nndepth_core.engines.request import find_request
from nndepth_core.engines.torch import load_network
from nndepth_core.export.onnx import export_onnx
from nndepth_core.models.declared import NANO_STEREO
from nndepth_core.spec import title_of

BUNDLED = Path(__file__).resolve().parents[1] / 'nndepth_core' / 'weights' / 'bundled'
NETWORK = 'nano_stereo'
WEIGHTS = BUNDLED / 'weights' / NETWORK / 'default.safetensors'
SMALLEST = 256
"""Constants of fewer bytes stay in the graphs."""
ALIGNMENT = 64
"""Constants begin at multiples of this in the file of weights."""


class SharedConstants:
    """The constants of several graphs, equal ones once."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.data = bytearray()
        self._offsets: dict[bytes, int] = {}

    def move(self, model: onnx.ModelProto) -> None:
        """Replace the large constants of a graph by references to the file."""
        for constant in model.graph.initializer:
            content = constant.raw_data
            if len(content) < SMALLEST:
                continue
            if content not in self._offsets:
                self.data.extend(bytes(-len(self.data) % ALIGNMENT))
                self._offsets[content] = len(self.data)
                self.data.extend(content)
            set_external_data(constant, self.name, self._offsets[content], len(content))
            constant.ClearField('raw_data')


def main() -> None:
    """Replace the exports in the package."""
    folder = BUNDLED / 'onnx'
    for old in folder.glob(f'{NETWORK}-*'):
        old.unlink()
    requests = [
        find_request(title_of(NETWORK, variant), str(WEIGHTS)) for variant in NANO_STEREO.variants
    ]
    # The name tells the weights, so that files which refer to others differ.
    shared = SharedConstants(f'{NETWORK}-{requests[0].origin.key}.weights')
    for asked in requests:
        path = folder / asked.export('fp32').name
        network = load_network(
            asked.name, asked.variant, asked.weights, asked.settings, asked.origin
        )
        export_onnx(network, path, origin=asked.origin)
        model = onnx.load(path)
        shared.move(model)
        onnx.save(model, path)
        print(path.name)
    (folder / shared.name).write_bytes(shared.data)


if __name__ == '__main__':
    main()
