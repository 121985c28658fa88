"""The demo: plays a rendered stereo sequence to the node and compares its outputs with the truth.

sequence.py makes the input bag, session.py plays it to a node and records its outputs, and
report.py compares both bags.
"""


class DemoError(RuntimeError):
    """The demo cannot show its results; the message says why."""
