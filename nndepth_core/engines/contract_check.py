"""Checks a contract: what does the graph find on a pair whose disparities are known?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from nndepth_core.engines.base import EngineError
from nndepth_core.engines.contract import (
    IMAGENET,
    OPTIONS,
    PIXEL_RANGE,
    Contract,
    option_text,
)
from nndepth_core.engines.reference import textured_pair

SHIFTS = (8, 16)
"""Disparities in pixels of the upper and the lower half; two of them show scale and sign."""
SIZE = (192, 320)
"""Height and width of the pair if the graph leaves them free."""
_ALLOWED = 0.25
"""How far the result of a half may differ from its disparity, as a share of it."""
_ALLOWED_OF_CURES = 0.15


def stepped_pair(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Make left and right image (1, height, width, 3), uint8 RGB, with the disparities SHIFTS."""
    upper = textured_pair(height // 2, width, SHIFTS[0])
    lower = textured_pair(height - height // 2, width, SHIFTS[1])
    left, right = (np.concatenate(halves, axis=1) for halves in zip(upper, lower, strict=True))
    return left, right


def find_shifts(disparity: np.ndarray) -> np.ndarray:
    """Median disparity of both halves of the pair, without the borders; NaN where unknown."""
    height, width = disparity.shape
    inside = disparity[:, width // 4 : width - width // 8]
    halves = inside[height // 8 : 3 * height // 8], inside[5 * height // 8 : 7 * height // 8]
    known = [half[np.isfinite(half)] for half in halves]
    return np.array([np.median(half) if half.size else np.nan for half in known])


def check_contract(
    contract: Contract,
    names: tuple[str, ...],
    find: Callable[[Contract], np.ndarray],
    file: Path,
) -> None:
    """Check what a graph finds on the pair; if it is wrong, look for the contract that is right.

    Args:
        contract: the contract that is declared or assumed.
        names: the names of the graph's inputs, in its order.
        find: computes the disparity (H, W) of the pair under a contract.
        file: the file into which the user can write a contract.

    Raises:
        EngineError: the result is wrong; the message names the options that make it right.
    """
    disparity = find(contract)
    if not np.isfinite(disparity).any():
        raise EngineError('it gives no number anywhere')
    found = find_shifts(disparity)
    if _is_right(found) or not contract.self_check:
        return
    where = (
        f'it finds disparities of {found[0]:.3g} and {found[1]:.3g} px where a test pair has '
        f'{SHIFTS[0]} and {SHIFTS[1]} px'
    )
    cures = _find_cures(contract, names, find, found)
    if not cures:
        raise EngineError(
            f'{where}, and nothing better with other ranges of values or order of inputs; say '
            f'what the model takes and gives by the options {", ".join(OPTIONS)}, or in {file}; '
            'if you know that it is right, write "self_check: false" there'
        )
    texts = [{name: option_text(name, value) for name, value in cure.items()} for cure in cures]
    lines = (' and '.join(f'"{name}: {text}"' for name, text in cure.items()) for cure in texts)
    name, text = next(iter(texts[0].items()))
    choose = ' (take what those who made it say)' if len(cures) > 1 else ''
    raise EngineError(
        f'{where}; it finds these with {", or with ".join(lines)}{choose}: write this into '
        f'{file}, or give it as options (--{name.replace("_", "-")}={text} ...), of a node as '
        f'parameters (onnx.{name} ...)'
    )


def _find_cures(
    contract: Contract,
    names: tuple[str, ...],
    find: Callable[[Contract], np.ndarray],
    found: np.ndarray,
) -> list[dict[str, Any]]:
    """Look for options that make the result right; an empty list means that none was found."""
    changes = _rescaling(contract, found)
    if changes is not None:
        return [changes]
    cures: list[dict[str, Any]] = []
    for options in _alternatives(contract, names):
        if cures and 'inputs' in options:
            break
        other = contract.changed(options)
        try:
            changes = _rescaling(other, find_shifts(find(other)))
        except EngineError:  # tensors of uint8 take no other range
            continue
        if changes is not None:
            cures.append({**options, **changes})
    return sorted(cures, key=len)


def _is_right(found: np.ndarray, allowed: float = _ALLOWED) -> bool:
    """Tell whether the medians are those of the pair."""
    shifts = np.array(SHIFTS)
    return bool((np.abs(found - shifts) <= allowed * shifts).all())


def _rescaling(contract: Contract, found: np.ndarray) -> dict[str, Any] | None:
    """Sign and scale that differ and would make the medians right; None if there are none."""
    if not np.isfinite(found).all() or not found.any():
        return None
    factor = float(found @ np.array(SHIFTS) / (found @ found))
    changes: dict[str, Any] = {}
    if factor < 0:
        negative = contract.disparity_sign == 'negative'
        changes['disparity_sign'] = 'positive' if negative else 'negative'
    if not 0.8 < abs(factor) < 1.25:
        changes['disparity_scale'] = _rounded(abs(factor) * contract.disparity_scale)
    try:
        factor = contract.changed(changes).factor / contract.factor
    except ValueError:  # the scale is beyond what a contract may hold
        return None
    return changes if _is_right(found * factor, _ALLOWED_OF_CURES) else None


def _alternatives(contract: Contract, names: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """List what published exports differ in: ranges, normalisation, and the order of inputs."""
    ranges: list[dict[str, Any]] = [
        {'input_range': PIXEL_RANGE},
        {'input_range': (0.0, 1.0)},
        {'input_range': (-1.0, 1.0)},
        {'normalize': IMAGENET},
    ]
    others = [options for options in ranges if contract.changed(options).values != contract.values]
    yield from others
    if len(names) > 1:
        swapped = {'inputs': tuple(names[place ^ 1] for place in range(len(names)))}
        yield from ({**swapped, **options} for options in ({}, *others))


def _rounded(scale: float) -> float:
    """Round to a whole number or its inverse if the scale is near one, else to three digits."""
    whole = round(scale) if scale >= 1 else 1 / round(1 / scale)
    return float(f'{whole if abs(scale - whole) < 0.06 * whole else scale:.3g}')
