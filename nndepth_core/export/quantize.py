"""Convolutions of exported networks in 8-bit integers, calibrated on rendered pairs."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from tempfile import gettempdir

import numpy as np
import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)

from nndepth_core.data.synthetic.procedural import ProceduralStereo
from nndepth_core.files.writing import temporary_folder

_PAIRS = 12
_SEED = 99


class RenderedPairs(CalibrationDataReader):
    """Images that show ONNX Runtime how large activations get.

    Args:
        size: (height, width) of the images.
        names: of the model's inputs, out of left, right and image.
    """

    def __init__(self, size: tuple[int, int], names: Sequence[str]) -> None:
        self._names = names
        data = ProceduralStereo(size=size, length=_PAIRS, seed=_SEED)
        self._samples = (data[index] for index in range(_PAIRS))

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Return the images of the next pair, None after the last one."""
        sample = next(self._samples, None)
        if sample is None:
            return None
        images = {'left': sample.left, 'right': sample.right, 'image': sample.left}
        return {name: images[name][None] for name in self._names}


def quantize(model: onnx.ModelProto, size: tuple[int, int]) -> onnx.ModelProto:
    """Let a model's convolutions compute in 8 bits, weights by channel; all else stays.

    Args:
        model: takes `left` and `right`, or `image`, uint8 (N, H, W, 3).
        size: (height, width) to calibrate at.
    """
    with temporary_folder(Path(gettempdir())) as folder:
        before, after = Path(folder, 'before.onnx'), Path(folder, 'after.onnx')
        onnx.save(model, before)
        logging.disable(logging.WARNING)  # advice on a preparation that exports have had
        try:
            quantize_static(
                before,
                after,
                RenderedPairs(size, [x.name for x in model.graph.input]),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=['Conv'],
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                reduce_range=True,  # pairs of 8-bit products overflow on CPUs without VNNI
            )
        finally:
            logging.disable(logging.NOTSET)
        return onnx.load(after)
