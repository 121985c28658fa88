"""What the result of a bag was made from, as it stands beside it in origin.json."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from nndepth_ros.bag import BagError
from nndepth_ros.bag_writer import ORIGIN_NAME, REPORT_NAME
from nndepth_ros.fleet.sources import Source, files_of, fingerprint


@dataclass(frozen=True)
class Origin:
    """A bag as it was opened, and what it is processed with.

    Attributes:
        source: the bag.
        mark: its fingerprint, taken before it was read.
        content: the hash of all that it holds.
        means: what else the result depends on: `options`, `model` and the version `nndepth`.
    """

    source: Source
    mark: str
    content: str
    means: dict[str, Any]

    @cached_property
    def key(self) -> str:
        """The hash of all that the result depends on."""
        return hashlib.sha256(_text([self.content, self.means]).encode()).hexdigest()

    def check(self) -> None:
        """Raise BagError if the bag is no longer what it was when it was opened."""
        try:
            same = fingerprint(self.source) == self.mark
        except FileNotFoundError:
            same = False
        if not same:
            raise BagError('it changed while it was read; run the command again')

    @contextmanager
    def explaining(self) -> Iterator[None]:
        """Raise BagError in place of an error that comes from a change of the bag."""
        try:
            yield
        except (ValueError, OSError):
            self.check()
            raise

    def text(self, result: Path) -> str:
        """Write what the folder of a result was made from; BagError if that has changed."""
        self.check()
        facts = {
            'source': self.source.location,
            'mark': self.mark,
            'content': self.content,
            **self.means,
            'files': _sizes(result),
        }
        return json.dumps(facts, indent=2)

    def made(self, found: Found) -> bool:
        """Whether a result was made from the same."""
        return found.facts.get('content') == self.content and made_with(found, self.means)

    def difference(self, found: Found) -> str:
        """Say from what a result was made that is there and is not of the same."""
        if not found.facts:
            return 'its place in DIR is taken by what no fleet has made'
        parts = []
        if found.facts.get('content') != self.content:
            parts.append('from another content of the bag')
        old, new = found.facts.get('options', {}), self.means['options']
        names = sorted(it for it in {*old, *new} if _text(old.get(it)) != _text(new.get(it)))
        if names:
            listed = ', '.join(f'--{name.replace("_", "-")}' for name in names)
            parts.append(f'with other options ({listed})')
        if _text(found.facts.get('model')) != _text(self.means['model']):
            parts.append('with another model, other weights or another device')
        if found.facts.get('nndepth') != self.means['nndepth']:
            parts.append(f'by nndepth {found.facts.get("nndepth")}')
        return f'its result in DIR was made {" and ".join(parts)}'


@dataclass(frozen=True)
class Found:
    """A result that is there.

    Attributes:
        facts: what it was made from; empty if there is none, or that is not known.
        whole: whether its files are as they were written.
    """

    facts: dict[str, Any]
    whole: bool

    @classmethod
    def at(cls, target: Path) -> Found:
        """Look at the folder of a result."""
        facts = _read(target / ORIGIN_NAME)
        whole = facts and _read(target / REPORT_NAME) and facts.get('files') == _sizes(target)
        return cls(facts, bool(whole))


def made_with(found: Found, means: dict[str, Any]) -> bool:
    """Whether a result was made with the same options, model and version."""
    return all(_text(found.facts.get(name)) == _text(value) for name, value in means.items())


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def _sizes(result: Path) -> dict[str, int]:
    """The bytes of the messages of a result and of their metadata."""
    return {name: file.stat().st_size for name, file in files_of(result)}


def _read(file: Path) -> dict[str, Any]:
    """What a file of JSON holds; empty if it cannot be read."""
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
