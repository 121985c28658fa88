"""`nndepth train`: train or fine-tune a network."""

from __future__ import annotations

from collections.abc import Sequence

from nndepth_core.cli.saying import telling_more


def main(arguments: Sequence[str]) -> int:
    """Train as the arguments and the files they name say; see `nndepth train --help`."""
    from nndepth_core.config.training import read_run

    with telling_more():
        run = read_run(arguments, 'nndepth train')
        weights = run.train()
    if run.trainer.accelerator.is_main_process:  # the others may be on machines without the file
        print(f'trained; the weights to use are in {weights}')
    return 0
