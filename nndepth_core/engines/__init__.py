"""Engines: how a model is executed."""

from __future__ import annotations

from typing import Any

from nndepth_core.engines.base import Engine, EngineError, ModelSpec
from nndepth_core.engines.sgbm import SgbmEngine, SgbmSettings

__all__ = [
    'ENGINES',
    'MODELS',
    'Engine',
    'EngineError',
    'ModelSpec',
    'check_names',
    'create_engine',
]

MODELS = ('sgbm',)
ENGINES = ('auto', 'opencv')
DEVICES = ('auto', 'cpu')


def check_names(model: str, engine: str = 'auto', device: str = 'auto') -> None:
    """Raise EngineError if a name is unknown."""
    for kind, value, known in (
        ('model', model, MODELS),
        ('engine', engine, ENGINES),
        ('device', device, DEVICES),
    ):
        if value not in known:
            raise EngineError(f'{kind} {value!r} is unknown; choose one of {", ".join(known)}')


def create_engine(
    model: str, engine: str = 'auto', device: str = 'auto', **options: Any
) -> Engine:
    """Make the engine that executes `model`.

    Args:
        model: a name of MODELS.
        engine: a name of ENGINES; 'auto' takes the best one present for the model.
        device: a name of DEVICES.
        options: settings of the model, e.g. those of SgbmSettings.

    Raises:
        EngineError: a name is unknown or does not fit the others.
    """
    check_names(model, engine, device)
    try:
        return SgbmEngine(SgbmSettings(**options))
    except (TypeError, ValueError) as error:
        raise EngineError(f'{model}: {error}') from error
