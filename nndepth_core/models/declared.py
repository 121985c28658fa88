"""What is known without torch of the settings of networks whose exports come with the package.

So the settings that these exports have need no torch, and wrong ones are told before anything is
made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml


@dataclass(frozen=True)
class Declared:
    """The settings of a network that differ between its variants, or that users mostly change.

    Attributes:
        variants: constructor arguments by variant; the first is the default.
        defaults: the others, which all variants share.
        choices: the values that each of these settings may have.
    """

    variants: Mapping[str, Mapping[str, Any]]
    defaults: Mapping[str, Any]
    choices: Mapping[str, Sequence[Any]]

    def settings(self, variant: str) -> dict[str, Any]:
        """The settings of a variant."""
        return {**self.defaults, **self.variants[variant]}


NANO_STEREO = Declared(
    variants={'base': {'looks': (1,)}, 'small': {'looks': (0.5,)}, 'fine': {'looks': (1, 2)}},
    defaults={'max_disparity': 192},
    choices={
        'looks': ((1,), (0.5,), (0.5, 1), (1, 2), (0.5, 1, 2)),
        'max_disparity': range(64, 1024 + 1, 64),
    },
)

DECLARED = {'nano_stereo': NANO_STEREO}


def read_choice(name: str, text: str, choices: Sequence[Any]) -> Any:
    """Read one of the choices of a setting as it is typed, such as [1,2].

    Raises:
        ValueError: it is none of them; says which there are.
    """
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        value = text
    return chosen(name, value, choices)


def chosen(name: str, value: Any, choices: Sequence[Any]) -> Any:
    """Return the choice that a value is.

    Raises:
        ValueError: it is none of them; says which there are.
    """
    wanted = tuple(value) if isinstance(value, list) else value
    if not isinstance(wanted, bool) and wanted in choices:
        return choices[choices.index(wanted)]
    shown = [*wanted] if isinstance(wanted, tuple) else wanted
    if isinstance(choices, range):
        known = f'a multiple of {choices.step} in {choices[0]}..{choices[-1]}'
    else:
        known = 'one of ' + ', '.join(str([*x] if isinstance(x, tuple) else x) for x in choices)
    raise ValueError(f'{name} is {shown!r}; give {known}')
