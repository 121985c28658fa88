"""Parameters of a process with several rigs, besides those of each rig."""

from __future__ import annotations

from nndepth_core.engines.shared import LARGEST_BATCH, LONGEST_WINDOW
from nndepth_ros.parameters.table import Parameter

RIGS_PARAMETERS = (
    Parameter(
        'rigs',
        [''],
        'Names of the rigs: the namespaces of their nodes and topics.',
        live=False,
    ),
    Parameter(
        'batch',
        0,
        'Most pairs of different rigs that a network computes at once; 0: on a GPU as many as '
        'there are rigs, else 1.',
        live=False,
        high=LARGEST_BATCH,
    ),
    Parameter(
        'batch_window',
        0.0,
        'Milliseconds for which a pair waits for those of other rigs until the batch is full; 0: '
        'it is computed with those that wait already.',
        live=False,
        high=LONGEST_WINDOW,
    ),
)
