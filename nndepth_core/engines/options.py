"""Chooses, among all the options of a front end, those for one model; imports no engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from nndepth_core.engines.contract import OPTIONS as CONTRACT_OPTIONS
from nndepth_core.engines.sgbm import SgbmSettings

OPTIONS_OF_ALL = ('commercial_only',)
NETWORK_OPTIONS = (
    *('weights', 'network_settings', 'precision', 'iterations', 'threads'),
    *OPTIONS_OF_ALL,
)
_OF_FILES = ('precision', 'iterations', 'threads', *OPTIONS_OF_ALL)
"""Those that an .onnx file takes too, in which weights and settings are fixed."""


def options_for(model: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Choose the options that `create_engine` takes for a model among those of all models.

    Args:
        model: 'sgbm', a network, or the path of an .onnx file; not 'auto', which the caller
            must resolve before.
        values: values by the names of NETWORK_OPTIONS, `SgbmSettings` and contracts.
    """
    if model == 'sgbm':
        names = (*(field.name for field in fields(SgbmSettings)), *OPTIONS_OF_ALL)
    elif model.endswith('.onnx'):
        names = (*_OF_FILES, *CONTRACT_OPTIONS)
    else:
        names = NETWORK_OPTIONS
    return {name: value for name, value in values.items() if name in names}
