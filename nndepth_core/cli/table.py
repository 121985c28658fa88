"""The tables that commands print."""

from __future__ import annotations

from collections.abc import Sequence


def table(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Lay out rows of cells as text whose columns are aligned.

    Args:
        rows: the cells of each row, all rows of one length; the headings come first.
        right: indices of the columns that are aligned at their right end instead of the left.
    """
    columns = []
    for index, cells in enumerate(zip(*rows, strict=True)):
        width = max(map(len, cells))
        align = str.rjust if index in right else str.ljust
        columns.append([align(cell, width) for cell in cells])
    return '\n'.join('  '.join(row).rstrip() for row in zip(*columns, strict=True))
