"""A row of a parameter table, and functions that check and use the values of a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeVar

T = TypeVar('T')


@dataclass(frozen=True)
class Parameter:
    """One row of a table.

    Attributes:
        name: the name as declared.
        default: the default, which also gives the type.
        description: one sentence for `ros2 param describe`.
        live: whether it can change while the node runs; the others are read-only.
        low: the smallest value of a number.
        high: the largest value of a number.
        step: numbers must be low + n * step; 0 allows any.
        choices: the allowed words of a string; empty allows any.
        words: what may stand in place of a number, whose range is then checked by the config only.
    """

    name: str
    default: bool | int | float | str | list[str]
    description: str
    live: bool = True
    low: float = 0
    high: float = 0
    step: float = 0
    choices: tuple[str, ...] = ()
    words: tuple[str, ...] = ()


def check_choices(table: Iterable[Parameter], values: Mapping[str, Any]) -> None:
    """Raise ValueError for a string that its row does not allow."""
    for row in table:
        value = values[row.name]
        if row.choices and value not in row.choices:
            raise ValueError(f'{row.name} is {value!r}; choose one of {", ".join(row.choices)}')


def group(
    prefix: str,
    make: type,
    meaning: Mapping[str, str],
    lowest: Mapping[str, float],
    highest: Mapping[str, float],
) -> tuple[Parameter, ...]:
    """Make a row for every field of a dataclass whose defaults are numbers.

    Args:
        prefix: the first part of the names, with its dot.
        make: the dataclass.
        meaning: what each field means, without a full stop.
        lowest: the smallest values that are not 0.
        highest: the largest values.
    """
    return tuple(
        Parameter(
            f'{prefix}{field.name}',
            field.default,  # type: ignore[arg-type]
            f'{meaning[field.name].capitalize()}.',
            low=lowest.get(field.name, 0),
            high=highest[field.name],
        )
        for field in fields(make)
    )


def group_of(prefix: str, make: type[T], values: Mapping[str, Any]) -> T:
    """Make a dataclass of the rows of `group` that are there; a ValueError names the parameter."""
    names = {f'{prefix}{field.name}': field.name for field in fields(make)}  # type: ignore[arg-type]
    try:
        return make(**{name: values[row] for row, name in names.items() if row in values})
    except ValueError as error:
        raise ValueError(f'{prefix}{error}') from error


def filled(make: type[T], values: Mapping[str, Any], **others: Any) -> T:
    """Make a dataclass whose fields have the names of the parameters.

    Args:
        make: the dataclass.
        values: the values of the parameters, by name.
        others: the fields that are no parameters.
    """
    names = {field.name for field in fields(make)} - others.keys()  # type: ignore[arg-type]
    return make(**{name: values[name] for name in names if name in values}, **others)
