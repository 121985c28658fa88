"""The demo: a rendered stereo sequence played to the node, what comes out compared with the truth.

sequence.py makes the input bag, session.py plays it to a node of its own and records the outputs,
report.py reads both bags and judges.
"""


class DemoError(RuntimeError):
    """The demo cannot show what it should; the message says why."""
