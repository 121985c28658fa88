"""What a process leaves that is killed while it writes."""

import subprocess
import sys
from pathlib import Path

_WRITE = """
import os, signal, sys
from pathlib import Path
from nndepth_core.files.writing import replaced_at_once

with replaced_at_once(Path(sys.argv[1])) as folder:
    folder.mkdir()
    (folder / 'state.pt').write_bytes(b'half')
    os.kill(os.getpid(), signal.SIGKILL)
"""


def killed_while_writing(path: Path) -> Path:
    """Return what a process leaves that is killed while it writes a folder."""
    before = {*path.parent.iterdir()}
    subprocess.run([sys.executable, '-c', _WRITE, str(path)], check=False)
    (leftover,) = {*path.parent.iterdir()} - before
    return leftover
