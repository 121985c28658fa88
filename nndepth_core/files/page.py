"""Pages that are one HTML file, with their pictures in it; all text is escaped."""

from __future__ import annotations

import base64
from collections.abc import Collection, Iterable, Sequence
from html import escape
from itertools import chain, repeat

import cv2
import numpy as np

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 110em;
  padding: 0 1em; color: #1c1c1c; background: #fff }
table { border-collapse: collapse; margin: 1em 0; display: block; overflow-x: auto }
th, td { padding: .25em .8em; border-bottom: 1px solid #ddd; text-align: right;
  white-space: nowrap }
th:first-child, td:first-child, .sentence { text-align: left }
th { white-space: normal; overflow-wrap: anywhere; min-width: 4em; vertical-align: bottom }
td.sentence { white-space: normal; overflow-wrap: anywhere; min-width: 18em }
.row { display: flex; flex-wrap: wrap; gap: .8em; margin: .4em 0 }
figure { margin: 0; flex: 0 1 32%; min-width: 16em }
img { width: 100%; display: block }
figcaption { font-size: .88em; color: #555; overflow-wrap: anywhere }
h3 { margin: 1.6em 0 .3em; overflow-wrap: anywhere }
"""


def html_page(title: str, parts: Iterable[str], style: str = '') -> str:
    """Make a page of parts that are HTML already, and further rules of style."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f'<title>{escape(title)}</title><style>{_STYLE}{style}</style></head>\n'
        f'<body>{"".join(parts)}</body></html>\n'
    )


def html_table(rows: Sequence[Sequence[str]], sentences: Collection[int] = ()) -> str:
    """Make a table.

    Args:
        rows: the first one holds the headings.
        sentences: the columns that hold sentences, which are broken into lines.
    """
    lines = []
    for row, tag in zip(rows, chain(['th'], repeat('td')), strict=False):
        marks = [' class="sentence"' if at in sentences else '' for at in range(len(row))]
        cells = zip(marks, map(escape, row), strict=True)
        lines.append(''.join(f'<{tag}{mark}>{cell}</{tag}>' for mark, cell in cells))
    return f'<table>{"".join(f"<tr>{line}</tr>" for line in lines)}</table>'


def html_figure(caption: str, picture: np.ndarray) -> str:
    """Show a picture, uint8 RGB (H, W, 3), as a JPEG above its caption."""
    bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    jpeg = cv2.imencode('.jpg', bgr, [cv2.IMWRITE_JPEG_QUALITY, 88])[1]
    data = base64.b64encode(jpeg.tobytes()).decode()
    return (
        f'<figure><img alt="{escape(caption)}" src="data:image/jpeg;base64,{data}">'
        f'<figcaption>{escape(caption)}</figcaption></figure>'
    )


def reduced(picture: np.ndarray, width: int) -> np.ndarray:
    """Reduce a picture (H, W) or (H, W, 3) that is wider than so many pixels."""
    height, present = picture.shape[:2]
    if present <= width:
        return picture
    size = (width, max(1, round(height * width / present)))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
