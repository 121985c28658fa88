"""Which of the options that a front end has are for which model; needs no engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from nndepth_core.engines.contract import OPTIONS as CONTRACT_OPTIONS
from nndepth_core.engines.sgbm import SgbmSettings

NETWORK_OPTIONS = ('weights', 'precision', 'iterations', 'threads')


def options_for(model: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Choose what `create_engine` takes for a model out of the options of all kinds of models.

    Args:
        model: 'sgbm', a network, or the path of an .onnx file; 'auto' is resolved before.
        values: name -> value of NETWORK_OPTIONS, `SgbmSettings` and the contract of .onnx files.
    """
    if model == 'sgbm':
        names = tuple(field.name for field in fields(SgbmSettings))
    elif model.endswith('.onnx'):
        names = (*(name for name in NETWORK_OPTIONS if name != 'weights'), *CONTRACT_OPTIONS)
    else:
        names = NETWORK_OPTIONS
    return {name: value for name, value in values.items() if name in names}
