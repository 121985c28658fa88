"""Whatever is in a message: an error of the conversions' own kind, or a result."""

from nndepth_core.testing.fuzzing import fuzz
from nndepth_ros.fuzzing import conversion_target


def test_damaged_messages_raise_nothing_but_errors_of_ours():
    (*_, found) = fuzz('conversions', conversion_target(), count=2000)
    assert not found.faults
    assert 0 < found.refused < 2000
