"""Draw the rooms of nndepth and what imports what, as docs/images/architecture.svg.

A room is a folder or a file at the top of nndepth_core, or nndepth_ros as a whole. An arrow leads
from a room to one that it imports; arrows that follow from others are left out.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / 'docs' / 'images' / 'architecture.svg'

WIDTH, HEIGHT = 116, 34
GAP_X, GAP_Y = 18, 46

Graph = dict[str, set[str]]


def room_of(name: str) -> str:
    """The room of a module; empty for modules of others and for `nndepth_core` itself."""
    package, *inside = name.split('.')
    if package == 'nndepth_ros':
        return package
    return inside[0] if package == 'nndepth_core' and inside else ''


def imports_of(path: Path) -> set[str]:
    """Modules that a file imports when it runs, inside functions as well as at its top."""
    tree = ast.parse(path.read_text())
    typing_only = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) == 'TYPE_CHECKING'
        for node in ast.walk(block)
    }
    names = set()
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f'{node.module}.{alias.name}' for alias in node.names}
    return names


def read_graph() -> Graph:
    """Find the rooms, each with those that it imports."""
    rooms = {path.stem for path in (ROOT / 'nndepth_core').iterdir() if path.stem[0] != '_'}
    graph: Graph = {room: set() for room in sorted(rooms | {'nndepth_ros'})}
    for package in ('nndepth_core', 'nndepth_ros'):
        for path in (ROOT / package).rglob('*.py'):
            room = room_of('.'.join(path.relative_to(ROOT).with_suffix('').parts))
            found = {room_of(name) for name in imports_of(path)}
            if room in graph:
                graph[room] |= (found & graph.keys()) - {room}
    return graph


def reachable(graph: Mapping[str, set[str]], start: str) -> set[str]:
    """Rooms that a room imports directly or through others."""
    found: set[str] = set()
    waiting = [*graph[start]]
    while waiting:
        room = waiting.pop()
        if room not in found:
            found.add(room)
            waiting += graph[room]
    return found


def rank(graph: Graph) -> dict[str, int]:
    """Give every room a height above all rooms that it imports; 0 for those that import none.

    Rooms that import each other have the same height.
    """
    reach = {room: reachable(graph, room) for room in graph}
    ranks: dict[str, int] = {}

    def height(room: str) -> int:
        if room not in ranks:
            mates = {other for other in reach[room] if room in reach[other]} | {room}
            below = {other for mate in mates for other in graph[mate]} - mates
            level = 1 + max((height(other) for other in sorted(below)), default=-1)
            ranks.update(dict.fromkeys(mates, level))
        return ranks[room]

    for room in graph:
        height(room)
    return ranks


def shown_arrows(graph: Graph) -> list[tuple[str, str]]:
    """List the arrows, without those from a room to one that it also reaches through others."""
    reach = {room: reachable(graph, room) for room in graph}
    arrows = []
    for room, others in graph.items():
        for other in sorted(others):
            around = {
                via for via in others - {other} if other in reach[via] and room not in reach[via]
            }
            if not around or room in reach[other]:
                arrows.append((room, other))
    return arrows


def label(room: str) -> str:
    """The name of a room as it stands in the tree: folders end with a slash, files with .py."""
    return f'{room}.py' if (ROOT / 'nndepth_core' / f'{room}.py').is_file() else f'{room}/'


def draw(graph: Graph) -> str:
    """Draw the picture as SVG; a room stands above all rooms that it imports."""
    ranks = rank(graph)
    rows: dict[int, list[str]] = defaultdict(list)
    for room in graph:
        rows[ranks[room]].append(room)
    widest = max(map(len, rows.values()))
    whole = widest * (WIDTH + GAP_X) + GAP_X
    height = (max(rows) + 1) * (HEIGHT + GAP_Y)
    places = {}
    for level, rooms in rows.items():
        start = (whole - len(rooms) * (WIDTH + GAP_X) + GAP_X) / 2
        for index, room in enumerate(rooms):
            top = height - (level + 1) * (HEIGHT + GAP_Y) + GAP_Y / 2
            places[room] = start + index * (WIDTH + GAP_X), top
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{whole}" height="{height}" '
        f'viewBox="0 0 {whole} {height}" font-family="sans-serif" font-size="13">',
        '<rect width="100%" height="100%" fill="white"/>',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" fill="#678"/></marker></defs>',
    ]
    for room, other in shown_arrows(graph):
        (x, y), (to_x, to_y) = places[room], places[other]
        if y == to_y:
            side = WIDTH if to_x > x else 0
            ends = x + side, y + HEIGHT / 2, to_x + WIDTH - side, to_y + HEIGHT / 2
        else:
            ends = x + WIDTH / 2, y + HEIGHT, to_x + WIDTH / 2, to_y
        x1, y1, x2, y2 = (f'{value:g}' for value in ends)
        lines.append(
            f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="#678" marker-end="url(#tip)"/>'
        )
    for room, (x, y) in places.items():
        fill = '#fde9c8' if room == 'nndepth_ros' else '#dcebf7'
        lines += [
            f'<rect x="{x:g}" y="{y:g}" width="{WIDTH}" height="{HEIGHT}" rx="6" fill="{fill}" '
            'stroke="#345"/>',
            f'<text x="{x + WIDTH / 2:g}" y="{y + HEIGHT / 2 + 5:g}" text-anchor="middle">'
            f'{label(room)}</text>',
        ]
    return '\n'.join([*lines, '</svg>', ''])


if __name__ == '__main__':
    PICTURE.write_text(draw(read_graph()))
    print(f'{PICTURE.relative_to(ROOT)} is drawn')
