"""The list of findings, read from the source that makes them: code, level, and what they say."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from reference import ROOT
from reference.wordings import Environment, Wordings, constants, name_of

_HEADINGS = {
    'nndepth_core/plausibility/baseline': 'Cameras and topics',
    'nndepth_core/plausibility/projections': 'Cameras and topics',
    'nndepth_ros/doctor': 'Cameras and topics',
    'nndepth_ros/subscriptions': 'Cameras and topics',
    'nndepth_core/plausibility/pixels': 'Images',
    'nndepth_core/rectification': 'Images',
    'nndepth_core/plausibility/estimates': 'Estimates',
    'nndepth_core/scale': 'Scale of single images',
    'nndepth_ros/live_scale': 'Scale of single images',
    'nndepth_ros/': 'Nodes',
    'nndepth_core/plausibility/truth': 'Ground truth',
    'nndepth_ros/replay': 'Recordings',
    'nndepth_core/evaluation': 'Comparison of two models',
    'nndepth_ros/compare': 'Comparison of two models',
}
"""The heading under which findings of a file stand: that of the longest beginning of its path."""
_OTHERS = 'Others'
_TEXT_AT = {'Finding': 2, 'ScaleError': 1}
"""What makes a finding, and which of its arguments is the text. The first one is the code."""
_LEVELS = {'ERROR': 'error', 'WARN': 'warning', 'INFO': 'note'}
_WAITING = 'scale_waiting'
"""The one ScaleError that is no more than a warning."""
_ELSEWHERE = '*what cannot be read or used, and why*'
"""What stands for the text of an error that is passed on."""


@dataclass(frozen=True)
class Entry:
    """A finding as it stands in the source.

    Attributes:
        heading: what it is about.
        code: its code; what varies is in angle brackets.
        levels: the levels that it can have.
        texts: its wordings, in Markdown.
    """

    heading: str
    code: str
    levels: tuple[str, ...]
    texts: tuple[str, ...]


def findings() -> str:
    """Write all findings."""
    parts, found = [], entries()
    for heading in dict.fromkeys([*_HEADINGS.values(), _OTHERS]):
        below = [entry for entry in found if entry.heading == heading]
        parts += [f'## {heading}'] if below else []
        for entry in below:
            levels = ' or '.join(_LEVELS[level] for level in entry.levels)
            parts.append(f'### `{entry.code}` ({levels})')
            if len(entry.texts) > 1:
                parts.append('\n'.join(f'- {text}' for text in entry.texts))
            else:
                parts += entry.texts
    return '\n\n'.join(parts)


def entries() -> list[Entry]:
    """Read all findings; those of one code under one heading are brought together."""
    paths = [path for x in ('nndepth_core', 'nndepth_ros') for path in (ROOT / x).rglob('*.py')]
    trees = {path: ast.parse(path.read_text()) for path in sorted(paths)}
    known = constants(trees.values())
    found: dict[tuple[str, str], Entry] = {}
    for path, tree in trees.items():
        heading = _heading(path)
        for code, levels, texts in _made(Wordings(tree, known)):
            before = found.get((heading, code))
            if before:
                levels, texts = [*before.levels, *levels], [*before.texts, *texts]
            unique = tuple(dict.fromkeys(levels)), tuple(dict.fromkeys(texts))
            found[heading, code] = Entry(heading, code, *unique)
    return list(found.values())


def _heading(path: Path) -> str:
    name = path.relative_to(ROOT).as_posix()
    beginnings = [x for x in _HEADINGS if name.startswith(x)]
    return _HEADINGS[max(beginnings, key=len)] if beginnings else _OTHERS


def _made(source: Wordings) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield code, levels and wordings of every finding that a file makes."""
    for call in source.calls():
        maker = name_of(call.func)
        if len(call.args) <= _TEXT_AT.get(maker, len(call.args)):
            continue
        for given in source.environments(call):
            texts = source.texts(call.args[_TEXT_AT[maker]], given)
            wordings = [_markdown(text) for text in texts] or [_ELSEWHERE]
            for code in source.texts(call.args[0], given):
                if not code.startswith('<'):  # made elsewhere, and passed on here
                    yield code, _levels(source, call, given, code), wordings


def _levels(source: Wordings, call: ast.Call, given: Environment, code: str) -> list[str]:
    if name_of(call.func) == 'ScaleError':
        return ['WARN' if code == _WAITING else 'ERROR']
    values = source.values(call.args[1], given)
    return re.findall(r'Level\.(\w+)', ' '.join(ast.unparse(value) for value in values))


def _markdown(text: str) -> str:
    """Write a text so that Markdown shows it as it is, and words that vary in italics."""
    text = re.sub(r'([\\*_|\[\]])', r'\\\1', ' '.join(text.split()))
    return re.sub(r'<([^<>]+)>', r'*\1*', text)
