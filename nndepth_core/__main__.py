"""Where the `nndepth` executable begins: Ctrl-C is handled before anything slow is imported.

Importing this module changes how the process ends; only executables may.
"""

import os
import signal


def end_at_once(number: int, _frame: object = None) -> None:
    """End the process by a signal that comes while there is nothing to tidy up."""
    os.write(2, b'nndepth: interrupted\n')
    os._exit(128 + number)


if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else it is ignored
    signal.signal(signal.SIGINT, end_at_once)


def command(*arguments: str) -> int:
    """Run `nndepth` with these arguments and those of the command line; return the exit code."""
    import sys

    from nndepth_core.cli import main

    try:
        return main([*arguments, *sys.argv[1:]])
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # the process is about to end anyway


if __name__ == '__main__':
    raise SystemExit(command())
