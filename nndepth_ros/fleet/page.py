"""What there is to tell of a fleet of bags, for people: a page with pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from nndepth_core.data.sample import spread
from nndepth_core.files.page import html_figure, html_page, html_table, reduced
from nndepth_core.spec import Output
from nndepth_core.visualization import colorize, value_range
from nndepth_ros.bag import BagReader
from nndepth_ros.conversions import to_rgb
from nndepth_ros.fleet.progress import duration
from nndepth_ros.known_depths import COMPARED

PICTURES = 48
"""The most bags that are shown in pictures, so that a page of many thousand bags can be opened."""
WIDTH = 320
_STYLE = """
.tiles { display: flex; flex-wrap: wrap; gap: .8em; margin: 1em 0 }
.tile { border: 1px solid #ddd; border-radius: .5em; padding: .6em 1.1em }
.tile b { display: block; font-size: 1.6em; font-weight: 600 }
.bad b { color: #b3261e }
td { vertical-align: top }
th { overflow-wrap: normal }
figure { flex: 0 1 18em; min-width: 12em }
"""
_HEADINGS = (
    *('bag', 'state', 'processed', 'failed', 'recorded Hz', 'density %', 'ms each', 'pieces'),
    'remark',
)


def fleet_page(report: dict[str, Any]) -> str:
    """Make the page.

    Args:
        report: see `describe_fleet`; pictures are read from the bags that it names.
    """
    each = report['each']
    done = [bag for bag in each if 'output' in bag]
    by_name = {bag['name']: bag for bag in done}
    failed = [bag for bag in each if bag['state'] == 'failed']
    parts = ['<h1>nndepth replay: fleet of bags</h1>', _tiles(report)]
    if report['interrupted']:
        parts.append('<p>The run was interrupted; the same command goes on.</p>')
    if any(count > 1 for count in report['causes'].values()):
        why = [('bags', 'why'), *((str(n), why) for why, n in report['causes'].items())]
        parts.append(f'<h2>What went wrong</h2>{html_table(why, [1])}')
    if failed:
        rows = [('bag', 'source', 'why'), *(_texts(bag) for bag in failed)]
        parts.append(f'<h2>Failed bags</h2>{html_table(rows, [1, 2])}')
    if done:
        slowest = [by_name[name] for name in report['slowest']]
        if len(slowest) < len(done):
            parts.append(f'<h2>Slowest</h2>{_table(slowest)}')
        parts.append(f'<h2>Pictures</h2>{_pictures(done)}')
        parts.append(f'<h2>All bags</h2>{_table(done)}')
    return html_page('nndepth replay: fleet of bags', parts, _STYLE)


def _tiles(report: dict[str, Any]) -> str:
    bags, moments = report['bags'], report['moments']
    tiles = [
        ('bags', bags['found'], False),
        ('complete', bags['done'], False),
        ('incomplete', bags['incomplete'], bags['incomplete'] > 0),
        ('failed', bags['failed'], bags['failed'] > 0),
        ('not finished', bags['open'], bags['open'] > 0),
        ('from earlier runs', bags['reused'], False),
        ('pairs or images', f'{moments["processed"]} of {moments["found"]}', False),
        ('a second, in this run', f'{report["moments_per_second"]:.1f}', False),
        ('mean density', f'{100 * report["density"]:.1f} %', False),
        ('this run', duration(report['seconds']), False),
    ]
    shown = [
        f'<div class="tile{" bad" if bad else ""}"><b>{escape(str(value))}</b>{name}</div>'
        for name, value, bad in tiles
    ]
    return f'<div class="tiles">{"".join(shown)}</div>'


def _texts(bag: dict[str, Any]) -> tuple[str, str, str]:
    return bag['name'], bag['source'], bag['reason']


def _table(bags: Sequence[dict[str, Any]]) -> str:
    rows = [_HEADINGS]
    for bag in bags:
        rate = bag['rate_hz']
        remarks = [bag['reason'], *(it['text'] for it in bag['findings'])]
        rows.append(
            (
                bag['name'],
                'complete' if bag['state'] == 'done' else bag['state'],
                f'{bag["processed"]} of {bag["found"]}',
                str(bag['failed']),
                '-' if rate is None else f'{rate:.1f}',
                f'{100 * bag["density"]:.1f}',
                f'{bag["milliseconds"]:.1f}',
                str(bag['pieces']),
                '; '.join(it for it in remarks if it),
            )
        )
    return html_table(rows, [len(_HEADINGS) - 1])


def _pictures(bags: Sequence[dict[str, Any]]) -> str:
    figures = []
    for at in spread(len(bags), PICTURES):
        bag = bags[at]
        picture = picture_of(Path(bag['output']), _half(bag))
        if picture is not None:
            caption = f'{bag["name"]}: density {100 * bag["density"]:.1f} %'
            figures.append(html_figure(caption, reduced(picture, WIDTH)))
    if not figures:
        return '<p>No bag holds a map that can be shown.</p>'
    shown = f'<p>{len(figures)} of {len(bags)} bags, evenly spread.</p>'
    return f'{shown if len(figures) < len(bags) else ""}<div class="row">{"".join(figures)}</div>'


def _half(bag: dict[str, Any]) -> float:
    """Half of the time of a bag, seconds."""
    return bag['found'] / bag['rate_hz'] / 2 if bag['rate_hz'] else 0.0


def picture_of(path: Path, seconds: float = 0.0) -> np.ndarray | None:
    """A map of a bag that `replay` wrote, uint8 RGB (H, W, 3); None if there is none to show.

    Args:
        path: the bag.
        seconds: the map is the first one so long after the beginning of the bag.
    """
    try:
        with BagReader(path) as bag:
            show, topic = next(
                (show, topic)
                for end, show in _SHOWN
                for topic in sorted(bag.topics)
                if topic.endswith(end)
            )
            begin = bag.start_time + round(seconds * 1e9)
            record = next(bag.messages({topic}, begin), None) or next(bag.messages({topic}))
            return show(bag.decode(record))
    except (OSError, ValueError, StopIteration):  # or it was removed or changed by others
        return None


def _colored(output: Output, values: Callable[[Any], np.ndarray]) -> Callable[[Any], np.ndarray]:
    """Colour the map of a message by its own range; near is red."""

    def show(message: Any) -> np.ndarray:
        found = values(message)
        low, high = value_range(found)
        return colorize(found, *((high, low) if output == 'depth' else (low, high)))

    return show


_SHOWN = (
    *((topic, _colored(output, values)) for output, topic, values in COMPARED.values()),
    ('image_color', to_rgb),
)
"""How topics end that hold a map -> what makes a picture of a message."""
