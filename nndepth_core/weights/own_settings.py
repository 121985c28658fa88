"""Settings given for a network and those that it has anyway; told without torch if possible."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from inspect import signature
from pathlib import Path
from typing import Any

from nndepth_core.models import network_class
from nndepth_core.models.declared import DECLARED, read_choice
from nndepth_core.weights.description import RANDOM, Origin
from nndepth_core.weights.loading import settings_of
from nndepth_core.weights.settings import parse_settings


def read_given(name: str, texts: Mapping[str, str]) -> dict[str, Any] | None:
    """Read settings of a network by their names; None where only torch, which is missing, could.

    Raises:
        ValueError: a setting is unknown or not allowed.
    """
    declared = DECLARED.get(name)
    if declared and texts.keys() <= declared.choices.keys():
        return {key: read_choice(key, text, declared.choices[key]) for key, text in texts.items()}
    if not texts:
        return {}
    if find_spec('torch') is None:
        return None
    return parse_settings(network_class(name), [f'{key}={text}' for key, text in texts.items()])


def fewest_settings(
    name: str, variant: str, weights: str | Path, origin: Origin, given: Mapping[str, Any]
) -> tuple[str, Origin, dict[str, Any]]:
    """Describe the same network with as few settings as possible, by which its exports are found.

    Args:
        name: of the network.
        variant: of the network.
        weights: the file, or RANDOM.
        origin: where the weights came from, with the settings that ride with them.
        given: the settings in place of those.

    Returns:
        The variant, which settings may have made another one, the origin, and the settings that
        neither has.
    """
    own = dict(origin.settings)
    if declared := DECLARED.get(name):
        wanted = {**declared.settings(variant), **own, **given}
        wanted = {key: _plain(value) for key, value in wanted.items()}
        for other in (variant, *declared.variants):
            if wanted == declared.settings(other):
                return other, replace(origin, settings={}), {}
        own = {**declared.settings(variant), **own}
    elif given:
        cls = network_class(name)
        defaults = {key: x.default for key, x in signature(cls).parameters.items()}
        stored = {} if weights == RANDOM else settings_of(name, weights, origin)
        own = {**defaults, **cls.variants[variant], **stored}
    rest = {
        key: value
        for key, value in given.items()
        if key not in own or _plain(own[key]) != _plain(value)
    }
    return variant, origin, rest


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
