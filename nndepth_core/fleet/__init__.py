"""Spreads independent work over processes of this machine, or over a cluster by Ray."""

from nndepth_core.fleet.local import LocalPool
from nndepth_core.fleet.pool import Pool, Task, WorkerLostError, run_all

__all__ = ['LocalPool', 'Pool', 'Task', 'WorkerLostError', 'run_all']
