"""The names of the measures: how a user gives them and how tables show them."""

from __future__ import annotations

from collections.abc import Mapping

from nndepth_core.evaluation.metrics import BAD_PIXELS

_BAD = {f'bad_{limit}': f'bad-{limit} %' for limit in BAD_PIXELS} | {'d1_all': 'D1-all %'}

STEREO_TITLES = {
    'epe': 'EPE px',
    'rmse': 'RMSE px',
    **_BAD,
    'density': 'density %',
    'epe_estimated': 'EPE of estimates px',
    **{f'{name}_filled': title.replace(' %', ' filled %') for name, title in _BAD.items()},
    'ause': 'AUSE px',
    'ause_normalized': 'AUSE of EPE',
    'aurg': 'AURG px',
}
MONO_TITLES = {
    'abs_rel': 'AbsRel',
    'sq_rel': 'SqRel m',
    'rmse': 'RMSE m',
    'rmse_log': 'RMSE-log',
    'log10': 'log10',
    'delta_1': 'δ1',
    'delta_2': 'δ2',
    'delta_3': 'δ3',
    'density': 'density %',
}
MONO_DEFAULT = ('abs_rel', 'rmse', 'log10', 'delta_1', 'delta_2', 'delta_3', 'density')
STEREO_DEFAULT = ('epe', 'rmse', *_BAD, 'density')

_ALIASES = {'kitti_d1': 'd1_all', 'd1': 'd1_all', 'kitti_epe': 'epe'}


def metric_key(name: str, titles: Mapping[str, str]) -> str:
    """Find the key of a measure: 'kitti-d1' is 'd1_all', 'bad-1.0' is 'bad_1', 'EPE' is 'epe'.

    Raises:
        ValueError: no measure has this name.
    """
    key = name.strip().lower().replace('-', '_').removesuffix('.0')
    key = _ALIASES.get(key, key)
    if key not in titles:
        raise ValueError(f'metric {name!r} is unknown; choose one of {", ".join(titles)}')
    return key
