"""Settings in the manner of OmegaConf's dot lists, training.batch_size=16, as options."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

_SETTING = re.compile(r'(model|data|trainer|training)\.([\w.]+)=(.*)', re.DOTALL)


def as_options(arguments: Sequence[str], of_data: Collection[str]) -> list[str]:
    """Turn settings such as model.mask_ratio=0.75 into --model.mask_ratio=0.75.

    Args:
        arguments: of a command; those that are no such settings, and the values of options, stay.
        of_data: the settings that training.NAME takes from the data; others are the trainer's.
    """
    options: list[str] = []
    for index, argument in enumerate(arguments):
        before = arguments[index - 1] if index else ''
        match = _SETTING.fullmatch(argument)
        if match is None or (before.startswith('--') and '=' not in before):
            options.append(argument)
            continue
        part, name, value = match.groups()
        if part == 'training':
            part = 'data' if name.partition('.')[0] in of_data else 'trainer'
        options.append(f'--{part}.{name}={value}')
    return options
