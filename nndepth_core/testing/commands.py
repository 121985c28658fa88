"""Runs `nndepth` within a test."""

from __future__ import annotations

from typing import Any

from nndepth_core import cli


def run_command(capsys: Any, *arguments: object) -> tuple[int, str, str]:
    """Run a command in this process; returns exit code, stdout and stderr.

    Args:
        capsys: pytest's fixture.
        arguments: as typed, the name of the command first.
    """
    try:
        code = cli.main([*map(str, arguments)])
    except SystemExit as stop:  # argparse
        code = int(stop.code or 0)
    return code, *capsys.readouterr()
