"""Links of pages to files of the repository, and parts of the README on pages."""

from __future__ import annotations

import os.path
import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from reference import ROOT

DOCS = PurePosixPath('docs')
README = PurePosixPath('README.md')
_LINK = re.compile(r'(\]\()([^()\s]+)(\))')
_NAMED_AS_FILE = re.compile(r'\[([\w/]+)\.md(?=\]\()')
_FENCE = re.compile(r'(^```.*?^```$)', re.MULTILINE | re.DOTALL)
_PART = re.compile(r'<!-- reference: readme (.+?) -->')


class BrokenLinkError(ValueError):
    """A link leads nowhere."""


def readme(heading: str) -> str:
    """Return what stands in the README under a heading, or before the first one for 'top'.

    Raises:
        ValueError: there is no such heading.
    """
    before, *sections = re.split('^## ', (ROOT / README).read_text(), flags=re.MULTILINE)
    if heading == 'top':
        return before.partition('\n')[2].strip()
    for section in sections:
        title, _, text = section.partition('\n')
        if title == heading:
            return text.strip()
    raise ValueError(f'README.md has no heading {heading!r}')


def relinked(text: str, source: PurePosixPath, page: PurePosixPath, repository: str) -> str:
    """Make links fit for the site.

    Links to pages and pictures become relative to the page; other files of the repository are
    linked where it is browsed. Pages are called by their names, not by those of their files.

    Args:
        text: Markdown.
        source: the file that the text stands in, relative to the repository.
        page: the page that it is shown on, relative to the repository.
        repository: the address at which the repository is browsed.

    Raises:
        BrokenLinkError: there is no such file.
    """

    def of(match: re.Match[str]) -> str:
        target, hash_, anchor = match[2].partition('#')
        if ':' in target:
            return match[0]
        place, anchor = _place(target, hash_ + anchor, source)
        if place.parts[:1] == DOCS.parts:
            target = os.path.relpath(place, page.parent) if place != page or not anchor else ''
        else:
            kind = 'tree' if (ROOT / place).is_dir() else 'blob'
            target = f'{repository}/{kind}/main/{place}'
        return f'{match[1]}{target}{anchor}{match[3]}'

    def changed(part: str) -> str:
        part = _NAMED_AS_FILE.sub(lambda match: f'[{match[1].replace("_", " ")}', part)
        return _LINK.sub(of, part)

    return outside_code(text, changed)


def _place(target: str, anchor: str, source: PurePosixPath) -> tuple[PurePosixPath, str]:
    """The file that a link means, relative to the repository, and the anchor in it."""
    place = PurePosixPath(os.path.normpath(source.parent / target)) if target else source
    if not (ROOT / place).exists():
        raise BrokenLinkError(f'a link in {source} leads to {target}, which does not exist')
    if place == README and anchor:
        heading = anchor.lstrip('#')
        for page in sorted((ROOT / DOCS).rglob('*.md')):
            if heading in map(_slug, _PART.findall(page.read_text())):
                return PurePosixPath(page.relative_to(ROOT).as_posix()), ''
        raise BrokenLinkError(f'a link in {source} leads to {anchor} of README.md, shown nowhere')
    return place, anchor


def _slug(heading: str) -> str:
    return re.sub(r'[^\w\- ]', '', heading).lower().replace(' ', '-')


def outside_code(text: str, change: Callable[[str], str]) -> str:
    """Change what stands outside of fenced blocks of code."""
    parts = _FENCE.split(text)
    parts[::2] = map(change, parts[::2])
    return ''.join(parts)


def source_file(path: str) -> str:
    """Show a file of the repository as a block of code."""
    return f'```text\n{(ROOT / Path(path)).read_text().strip()}\n```'
