"""Plain text tables for terminals."""

from __future__ import annotations

from collections.abc import Sequence


def table(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Align rows of cells in columns.

    Args:
        rows: the headings first, all of one length.
        right: columns to align right instead of left.
    """
    columns = []
    for index, cells in enumerate(zip(*rows, strict=True)):
        width = max(map(len, cells))
        align = str.rjust if index in right else str.ljust
        columns.append([align(cell, width) for cell in cells])
    return '\n'.join('  '.join(row).rstrip() for row in zip(*columns, strict=True))
