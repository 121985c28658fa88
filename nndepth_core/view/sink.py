"""Where frames are shown: a viewer, a server for viewers, or a file for later."""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from nndepth_core.files.writing import check_folder, replaced_at_once
from nndepth_core.view.frame import Coloring, Frame

Viewer = Literal['rerun', 'foxglove']
SUFFIXES: dict[str, Viewer] = {'.rrd': 'rerun', '.mcap': 'foxglove'}
"""The suffixes of files, and the viewer that opens them."""
_PACKAGES = {'rerun': 'rerun-sdk', 'foxglove': 'foxglove-sdk'}
HOST, PORT = '127.0.0.1', 8765


class ViewerClosedError(ValueError):
    """The viewer was closed before all was shown."""


class SourceLostError(OSError):
    """A camera or video gives no more frames, although it was not at its end."""


class UnwritableError(OSError):
    """A recording cannot be written to its end.

    Args:
        reason: what the system says.
    """

    def __init__(self, reason: object) -> None:
        super().__init__(
            f'the recording cannot be written ({reason}); is the disk full? give another --save'
        )


class Sink(Protocol):
    """Shows frames."""

    def show(self, frame: Frame) -> None:
        """Show a frame after those before.

        Raises:
            OSError: it cannot be written.
            ViewerClosedError: nobody sees it.
        """

    def stay(self) -> None:
        """Return when what was shown can be seen without this process, if it ever can."""


@dataclass(frozen=True)
class SinkSettings:
    """Where frames are shown.

    Attributes:
        viewer: for which viewer.
        save: the file to write; None shows frames at once.
        overwrite: whether it may replace a file.
        connect: the URL of a running rerun viewer; '' starts one.
        memory_limit: of the rerun viewer that is started, as a size such as 4GB or a share such
            as 50%; it drops the oldest frames beyond that.
        host: where the server for Foxglove listens.
        port: the port of that server; 0 takes a free one.
        live: whether frames are of now, which wait for nobody.

    Raises:
        ValueError: some of them exclude each other.
    """

    viewer: Viewer = 'rerun'
    save: Path | None = None
    overwrite: bool = False
    connect: str = ''
    memory_limit: str = '75%'
    host: str = HOST
    port: int = PORT
    live: bool = False

    def __post_init__(self) -> None:
        if self.save is None:
            if self.overwrite:
                raise ValueError('--overwrite is for the file of --save; leave it out')
        elif self.save.suffix not in SUFFIXES:
            raise ValueError(
                f'{self.save} has neither suffix of a recording: give FILE.rrd for rerun, or '
                'FILE.mcap for Foxglove'
            )
        elif self.viewer != SUFFIXES[self.save.suffix]:
            raise ValueError(
                f'{self.save.suffix} files are for {SUFFIXES[self.save.suffix]}; leave out --to '
                f'{self.viewer}, or save another file'
            )
        if self.connect and (self.save or self.viewer != 'rerun'):
            raise ValueError('--connect is for a rerun viewer without --save; leave it out')
        if (self.host, self.port) != (HOST, PORT) and (self.save or self.viewer != 'foxglove'):
            raise ValueError('--host and --port are for --to foxglove without --save')
        if not re.fullmatch(r'\d+(\.\d+)?(%|[kKMGT]i?B|B)', self.memory_limit):
            raise ValueError(
                f'--memory-limit is {self.memory_limit!r}; give a size such as 4GB, or a share '
                'such as 50%'
            )
        if not 0 <= self.port <= 65535:
            raise ValueError(f'--port is {self.port}; give a number from 0 to 65535')


def check_sink(settings: SinkSettings) -> None:
    """Refuse what could not be shown, before a model is loaded.

    Raises:
        ValueError, OSError: what is wrong, and the cure.
        ModuleNotFoundError: the package of the viewer is not installed.
    """
    try:
        importlib.import_module(f'nndepth_core.view.{settings.viewer}_sink')
    except ModuleNotFoundError as error:
        raise ValueError(
            f'{_PACKAGES[settings.viewer]} is not installed; pip install "nndepth[view]"'
        ) from error
    if settings.save is not None:
        if settings.save.is_dir():
            raise IsADirectoryError(f'{settings.save} is a folder; name a file')
        if settings.save.exists() and not settings.overwrite:
            raise FileExistsError(
                f'{settings.save} is there already; give --overwrite or another name'
            )
        check_folder(settings.save.parent)
    elif settings.viewer == 'rerun' and not settings.connect and not has_display():
        raise ValueError(
            'there is no display for the rerun viewer, for neither DISPLAY nor WAYLAND_DISPLAY '
            'is set; give --save FILE.rrd to look at it elsewhere, --connect URL of a viewer that '
            'runs, or --to foxglove to serve it'
        )


def has_display() -> bool:
    """Whether a window can be opened here."""
    on_x_or_wayland = os.environ.get('DISPLAY') or os.environ.get('WAYLAND_DISPLAY')
    return bool(on_x_or_wayland) or not sys.platform.startswith('linux')


@contextmanager
def open_sink(settings: SinkSettings, say: Callable[[str], None]) -> Iterator[Sink]:
    """Open what the settings name; a file appears when it is whole.

    Args:
        settings: where frames are shown.
        say: takes what the user needs to know to see them.

    Raises:
        ValueError, OSError: it cannot be opened; the message says what is wrong, and the cure.
    """
    if settings.save is None:
        with _opened(settings, None, say) as sink:
            yield sink
        return
    with (
        replaced_at_once(settings.save) as unfinished,
        _opened(settings, unfinished, say) as sink,
    ):
        yield sink


def _opened(
    settings: SinkSettings, path: Path | None, say: Callable[[str], None]
) -> AbstractContextManager[Sink]:
    if settings.viewer == 'rerun':
        from nndepth_core.view import rerun_sink

        if path is not None:
            return rerun_sink.saved(path)
        if settings.connect:
            return rerun_sink.connected(settings.connect)
        return rerun_sink.spawned(settings.memory_limit)
    from nndepth_core.view import foxglove_sink

    if path is not None:
        return foxglove_sink.saved(path)
    return foxglove_sink.served(settings.host, settings.port, settings.live, say)


def view(
    settings: SinkSettings,
    feed: Callable[[Callable[[Frame], None]], None],
    say: Callable[[str], None],
) -> None:
    """Show frames until there are no more, or it is interrupted.

    Args:
        settings: where they are shown.
        feed: gets what shows a frame, and shows all of them by it.
        say: takes what the user needs to know to see them.

    Raises:
        KeyboardInterrupt, SourceLostError: from `feed`; what was shown before is in the file.
        ViewerClosedError: the viewer was closed before all was shown.
        ValueError: nothing was shown.
    """
    coloring, count = Coloring(), 0
    ended: BaseException | None = None
    with open_sink(settings, say) as sink:

        def show(frame: Frame) -> None:
            nonlocal count
            sink.show(coloring(frame))
            count += 1

        try:
            feed(show)
            if count:
                sink.stay()
        except (KeyboardInterrupt, SourceLostError) as error:
            ended = error
        if not count:  # leaves no file
            raise ended or ValueError('nothing was shown, for nothing could be estimated')
    if settings.save is not None:
        by = f'`rerun {settings.save}`' if settings.viewer == 'rerun' else 'Foxglove'
        say(f'{settings.save} is written; open it by {by}')
    if ended is not None:
        raise ended
