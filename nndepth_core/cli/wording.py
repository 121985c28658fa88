"""How messages call what a user sets: parameters of the library and of nodes as options."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from contextlib import contextmanager

from nndepth_core.plausibility.findings import RANGE_SETTINGS

_WORDS = {'rectify', 'weights'}


def as_flags(text: str, args: argparse.Namespace) -> str:
    """Write the parameters that a message names as the options of this command that set them.

    What stands behind 'is' is a value, as in 'scale_source is camera_height', camera_info is a
    kind of messages, what follows a quotation mark is a line of a file, and what follows --set is
    the setting of a network. Names that are also ordinary words count where they are to be set, as
    in 'set rectify'.
    """
    text = text.replace(RANGE_SETTINGS, '--max-disparity')
    words = '|'.join(_WORDS & vars(args).keys()) or '$^'
    text = re.sub(rf'(?<=\bset )({words})\b', lambda found: flag(found[1]), text)
    known = [name for name in vars(args) if '_' in name and name != 'camera_info']
    names = '|'.join(name.replace('_', '[_.]', 1) for name in known)  # also cloud.far_depth
    parameter = rf'(?<![\w./"-])(?<!is )(?<!--set )({names})(?![\w./-])'
    text = re.sub(parameter, lambda found: flag(found[1].replace('.', '_')), text)
    return re.sub(r'(?<![\w./-])filter\.\*', '--filter-*', text)


@contextmanager
def naming_flags(args: argparse.Namespace) -> Iterator[None]:
    """Let the messages of what is wrong with the arguments name options; see `as_flags`."""
    try:
        yield
    except (ValueError, RuntimeError) as error:
        if len(error.args) == 1:
            error.args = (as_flags(str(error), args),)
        raise


def flag(name: str) -> str:
    """The option that sets an argument."""
    return '--set' if name == 'network_settings' else f'--{name.replace("_", "-")}'
