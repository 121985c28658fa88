"""Tables of the parameters of a node, in the groups and order of its file in config/."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from nndepth_ros.parameters import (
    COMPARE_PARAMETERS,
    MONO_PARAMETERS,
    STEREO_PARAMETERS,
    Parameter,
)
from nndepth_ros.parameters.rigs import RIGS_PARAMETERS
from reference import ROOT

TABLES = {
    'stereo': STEREO_PARAMETERS,
    'mono': MONO_PARAMETERS,
    'compare': COMPARE_PARAMETERS,
    'multi_stereo': RIGS_PARAMETERS,
}
TYPES = {bool: 'bool', int: 'int', float: 'float', str: 'string', list: 'list'}
_HEADING = re.compile(r'# --- ([^,:;]+)(?:[,:;].*)? ---')
_SETTING = re.compile(r'( *)(?:# )?(\w+):')


def parameters(node: str) -> str:
    """Write the tables of all parameters of a node, one for each group of its file.

    Args:
        node: one of TABLES.
    """
    rows = {row.name: row for row in TABLES[node]}
    parts = []
    for heading, names in _groups((ROOT / 'config' / f'{node}.yaml').read_text()):
        if found := [rows.pop(name) for name in names if name in rows]:
            parts += [f'### {heading}'] if heading else []
            parts.append(_table(found))
    if rows:
        raise ValueError(f'config/{node}.yaml has no {", ".join(rows)}; add what is missing')
    return '\n\n'.join(parts)


def _groups(text: str) -> Iterator[tuple[str, list[str]]]:
    """Read the headings of a file of parameters, each with the names that stand below it."""
    heading, names, above = '', [], ''
    for line in text.splitlines():
        if match := _HEADING.match(line.strip()):
            yield heading, names
            heading, names = match[1], []
            if heading.split()[0].isalpha():
                heading = f'{heading[0].upper()}{heading[1:]}'
        elif match := _SETTING.match(line):
            deep = len(match[1]) > 4
            above = above if deep else match[2]
            names.append(f'{above}.{match[2]}' if deep else match[2])
    yield heading, names


def _table(rows: Iterable[Parameter]) -> str:
    lines = ['| parameter | default | allowed | |', '|---|---|---|---|']
    for row in rows:
        fixed = '' if row.live else ' *Read-only.*'
        allowed = f'{TYPES[type(row.default)]}{_allowed(row)}'
        text = row.description.replace('|', r'\|')
        lines.append(f'| `{row.name}` | `{_shown(row.default)}` | {allowed} | {text}{fixed} |')
    return '\n'.join(lines)


def _allowed(row: Parameter) -> str:
    """Write what a value may be, after its type."""
    words = ', '.join(f'`{word}`' for word in (*row.choices, *row.words))
    limits = f'{row.low:.10g} to {row.high:.10g}' if row.high > row.low else ''
    return ''.join(f', {part}' for part in (limits, words) if part)


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str([] if value == [''] else value) if value != '' else "''"
