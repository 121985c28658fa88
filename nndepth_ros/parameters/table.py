"""One row of a parameter table, and how values are checked and taken over by its columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeVar

T = TypeVar('T')


@dataclass(frozen=True)
class Parameter:
    """One row of a table.

    Attributes:
        name: as declared.
        default: value and type.
        description: one sentence for `ros2 param describe`.
        live: can change while the node runs; the others are read-only.
        low: smallest value of a number.
        high: largest value of a number.
        step: numbers are low + n * step; 0: any.
        choices: allowed words of a string; empty: any.
    """

    name: str
    default: bool | int | float | str
    description: str
    live: bool = True
    low: float = 0
    high: float = 0
    step: float = 0
    choices: tuple[str, ...] = ()


def check_choices(table: Iterable[Parameter], values: Mapping[str, Any]) -> None:
    """Raise ValueError for a string that is none of the words its row allows."""
    for row in table:
        value = values[row.name]
        if row.choices and value not in row.choices:
            raise ValueError(f'{row.name} is {value!r}; choose one of {", ".join(row.choices)}')


def filled(make: type[T], values: Mapping[str, Any], **others: Any) -> T:
    """Make a dataclass whose fields are called as the parameters are.

    Args:
        make: the dataclass.
        values: of the parameters, by name.
        others: the fields that are no parameters.
    """
    names = {field.name for field in fields(make)} - others.keys()  # type: ignore[arg-type]
    return make(**{name: values[name] for name in names if name in values}, **others)
