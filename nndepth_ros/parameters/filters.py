"""Parameters of the filters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from nndepth_core.filters import FilterSettings
from nndepth_core.filters.settings import HIGHEST, LOWEST, MEANING
from nndepth_ros.parameters.table import Parameter

PREFIX = 'filter.'
FILTER_PARAMETERS = tuple(
    Parameter(
        f'{PREFIX}{field.name}',
        field.default,  # type: ignore[arg-type]
        f'{MEANING[field.name].capitalize()}.',
        low=LOWEST.get(field.name, 0),
        high=HIGHEST[field.name],
    )
    for field in fields(FilterSettings)
)


def filter_settings(values: Mapping[str, Any]) -> FilterSettings:
    """Read the rows above.

    Raises:
        ValueError: a value is out of its range.
    """
    names = [field.name for field in fields(FilterSettings)]
    try:
        return FilterSettings(**{name: values[f'{PREFIX}{name}'] for name in names})
    except ValueError as error:
        raise ValueError(f'{PREFIX}{error}') from error
