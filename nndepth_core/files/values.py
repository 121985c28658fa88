"""Checks of values from files and options; errors name the value and what is allowed."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from typing import Any, TypeVar

Item = TypeVar('Item')


def number(name: str, value: Any, low: float, high: float) -> float:
    """Return a finite number in low..high.

    Raises:
        ValueError: the value is no such number.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ValueError(f'{name} is {reprlib.repr(value)}; give a number in {low:g}..{high:g}')
    return float(value)


def integer(name: str, value: Any, low: int, high: int) -> int:
    """Return a whole number in low..high.

    Raises:
        ValueError: the value is no such number.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValueError(f'{name} is {reprlib.repr(value)}; give a whole number in {low}..{high}')
    return value


def within(settings: Any, lowest: Mapping[str, float], highest: Mapping[str, float]) -> None:
    """Check the fields of a dataclass whose defaults are numbers; whole ones stay whole.

    Args:
        settings: the dataclass.
        lowest: the smallest values that are not 0, by field.
        highest: the largest values, by field.

    Raises:
        ValueError: a value is no number, or out of its range.
    """
    for field in fields(settings):
        check: Callable[..., float] = integer if isinstance(field.default, int) else number
        value = getattr(settings, field.name)
        check(field.name, value, lowest.get(field.name, 0), highest[field.name])


def text(name: str, value: Any, longest: int = 1000) -> str:
    """Return a text.

    Raises:
        ValueError: the value is no text, or too long.
    """
    if not isinstance(value, str) or len(value) > longest:
        raise ValueError(
            f'{name} is {reprlib.repr(value)}; give a text of at most {longest} characters'
        )
    return value


def choice(name: str, value: Any, allowed: Iterable[str]) -> str:
    """Return one of the words that are allowed.

    Raises:
        ValueError: the value is none of them.
    """
    words = tuple(allowed)
    if not isinstance(value, str) or value not in words:
        raise ValueError(f'{name} is {reprlib.repr(value)}; choose one of {", ".join(words)}')
    return value


def tuple_of(
    name: str, value: Any, counts: Iterable[int], item: Callable[[str, Any], Item]
) -> tuple[Item, ...]:
    """Return a sequence as a tuple of checked items.

    Args:
        name: the name of the value, for messages.
        value: a list or tuple.
        counts: the numbers of items that are allowed.
        item: checks one item; it gets a name and the item.

    Raises:
        ValueError: the value is no list, has another number of items, or an item is refused.
    """
    allowed = tuple(counts)
    if not isinstance(value, list | tuple) or len(value) not in allowed:
        raise ValueError(
            f'{name} is {reprlib.repr(value)}; give {" or ".join(map(str, allowed))} values'
        )
    return tuple(item(name, x) for x in value)
