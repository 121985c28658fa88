#!/usr/bin/env python3
"""Write the parts of the documentation that follow from the code; mkdocs uses it as a hook.

A line `<!-- reference: parameters stereo -->` of a page is replaced by the part of that name. The
command prints a part: `python scripts/write_reference.py parameters stereo`.
"""

from __future__ import annotations

import argparse
import re
from typing import Any

from reference.commands import commands
from reference.findings import findings
from reference.links import DOCS, README, outside_code, readme, relinked, source_file
from reference.parameters import parameters

PARTS = {
    'commands': commands,
    'file': source_file,
    'findings': findings,
    'parameters': parameters,
    'readme': readme,
}
"""What can stand on a page; each takes the words behind its name."""
_MARK = re.compile(r'^<!-- reference: (\w+) ?(.*?) -->$', re.MULTILINE)


def part(name: str, *words: str) -> str:
    """Write a part of the documentation, Markdown.

    Raises:
        ValueError: there is no such part.
    """
    if name not in PARTS:
        raise ValueError(f'{name!r} is no part of the reference; choose one of {", ".join(PARTS)}')
    return PARTS[name](*words)


def filled(text: str, path: str, repository: str) -> str:
    """Put the parts into a page, and make its links fit for the site.

    Args:
        text: of the page, Markdown.
        path: of the page, relative to docs/.
        repository: the address at which the repository is browsed.
    """
    here = DOCS / path

    def written(match: re.Match[str]) -> str:
        name, words = match.groups()
        made = part(name, *([words] if words else []))
        return relinked(made, README, here, repository) if name == 'readme' else made

    return outside_code(
        relinked(text, here, here, repository), lambda shown: _MARK.sub(written, shown)
    )


def on_page_markdown(markdown: str, *, page: Any, config: Any, **_: Any) -> str:
    """Called by mkdocs with each page; what is wrong ends the build with one line."""
    from mkdocs.exceptions import PluginError

    try:
        return filled(markdown, page.file.src_uri, config['repo_url'])
    except ValueError as error:
        raise PluginError(f'docs/{page.file.src_uri}: {error}') from error


def main() -> None:
    """Print a part."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('part', choices=PARTS)
    parser.add_argument('words', nargs='*', help='as on the pages, such as stereo')
    args = parser.parse_args()
    print(part(args.part, *args.words))


if __name__ == '__main__':
    main()
