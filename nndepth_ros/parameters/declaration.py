"""Declares a table of parameters on a node."""

from __future__ import annotations

from collections.abc import Iterable

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node

from nndepth_ros.parameters.table import Parameter


def declare(node: Node, table: Iterable[Parameter]) -> None:
    """Declare every row with its description and range.

    Raises:
        ValueError: a value given at start has a wrong type or is out of range; it is named.
    """
    for row in table:
        try:
            node.declare_parameter(row.name, row.default, _descriptor(row))
        except (InvalidParameterTypeException, InvalidParameterValueException) as error:
            raise ValueError(f'parameter {row.name}: {error}') from error


def _descriptor(row: Parameter) -> ParameterDescriptor:
    live = 'live' if row.live else 'read-only'
    choices = f' One of: {", ".join(row.choices)}.' if row.choices else ''
    descriptor = ParameterDescriptor(
        description=f'{row.description}{choices} [{live}]',
        read_only=not row.live,
        dynamic_typing=bool(row.words),
    )
    if row.high > row.low:
        if isinstance(row.default, float):
            limits = FloatingPointRange(
                from_value=float(row.low), to_value=float(row.high), step=float(row.step)
            )
            descriptor.floating_point_range = [limits]
        else:
            limits = IntegerRange(
                from_value=int(row.low), to_value=int(row.high), step=int(row.step)
            )
            descriptor.integer_range = [limits]
    return descriptor
