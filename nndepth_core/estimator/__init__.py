"""From images to a map, in one way for nodes, bags, command line, evaluation and training."""

from __future__ import annotations

from typing import Any

from nndepth_core.engines import create_engine
from nndepth_core.estimator.base import DEFAULT_MODEL, Estimator
from nndepth_core.estimator.images import check_image, check_pair
from nndepth_core.estimator.mono import MonoEstimator
from nndepth_core.estimator.results import DepthResult, StageClock, StereoResult
from nndepth_core.estimator.stereo import REFINE, StereoEstimator

__all__ = [
    'DEFAULT_MODEL',
    'REFINE',
    'DepthResult',
    'Estimator',
    'MonoEstimator',
    'StageClock',
    'StereoEstimator',
    'StereoResult',
    'check_image',
    'check_pair',
    'load_estimator',
]


def load_estimator(
    model: str = DEFAULT_MODEL,
    engine: str = 'auto',
    device: str = 'auto',
    options: dict[str, Any] | None = None,
    align_rows: bool = False,
    refine: bool | None = None,
    **settings: Any,
) -> StereoEstimator | MonoEstimator:
    """Make the estimator for the task of a model, by names.

    See `Estimator.load`; `align_rows` and `refine` are for pairs, see `StereoEstimator`.
    """
    made = create_engine(model, engine, device, **(options or {}))
    return (
        MonoEstimator(made, **settings)
        if made.spec.task == 'mono'
        else StereoEstimator(made, align_rows=align_rows, refine=refine, **settings)
    )
