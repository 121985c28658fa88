"""Joining the answers of two models, on a clock of the test."""

from dataclasses import asdict

from hypothesis import given
from hypothesis import strategies as st

from nndepth_ros.answers import MOST_WAITING, AnswerCounts, Answers


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def joined(answers: Answers, *order: str) -> list[tuple[str, str]]:
    """Give answers written as 'a7': model and stamp."""
    found = [answers.add(text[0], int(text[1:]), text) for text in order]
    return [pair for pair in found if pair]


def test_answers_of_one_stamp_are_joined_in_any_order():
    answers = Answers(2.0, Clock())
    assert joined(answers, 'a1', 'b1', 'b2', 'a2') == [('a1', 'b1'), ('a2', 'b2')]
    assert answers.counts == AnswerCounts(joined=2)


def test_a_slow_model_leaves_frames_out():
    answers = Answers(2.0, Clock())
    assert joined(answers, 'a1', 'a2', 'a3', 'b1', 'a4', 'b3') == [('a1', 'b1'), ('a3', 'b3')]
    assert answers.counts == AnswerCounts(joined=2, only_a=1)  # a4 may still be answered
    assert answers.waiting == 1


def test_what_comes_twice_or_too_late_counts_no_frame_again():
    answers = Answers(2.0, Clock())
    assert joined(answers, 'a1', 'a1', 'b1', 'b1', 'a1') == [('a1', 'b1')]
    assert joined(answers, 'a2', 'a3', 'b3', 'b2') == [('a3', 'b3')]
    assert answers.counts == AnswerCounts(joined=2, only_a=1, repeated=4)


def test_nothing_waits_longer_than_it_may():
    clock = Clock()
    answers = Answers(2.0, clock)
    joined(answers, 'a1', 'b2')
    clock.now = 2.0
    answers.expire()
    assert answers.waiting == 2
    clock.now = 2.1
    answers.expire()
    assert (answers.waiting, answers.counts) == (0, AnswerCounts(only_a=1, only_b=1))
    assert joined(answers, 'b1') == []
    assert answers.counts.repeated == 1


def test_a_bag_in_a_loop_is_compared_again():
    clock = Clock()
    answers = Answers(1.0, clock)
    assert len(joined(answers, 'a8', 'b8', 'a9', 'b9')) == 2
    clock.now = 1.5
    assert len(joined(answers, 'a8', 'b8', 'a9', 'b9')) == 2
    assert answers.counts == AnswerCounts(joined=4)


def test_memory_is_bounded_where_one_model_is_dead():
    answers = Answers(60.0, Clock())
    joined(answers, *(f'a{stamp}' for stamp in range(MOST_WAITING + 50)))
    assert answers.waiting == MOST_WAITING
    assert answers.counts.only_a == 50


EVENTS = st.lists(st.tuples(st.sampled_from('ab'), st.integers(0, 12), st.floats(0, 1)))


@given(EVENTS)
def test_every_answer_has_one_fate(events):
    clock = Clock()
    answers = Answers(2.0, clock)
    pairs = 0
    for model, stamp, pause in events:
        clock.now += pause
        pair = answers.add(model, stamp, (model, stamp))
        if pair:
            pairs += 1
            assert pair == (('a', stamp), ('b', stamp))
    counts = asdict(answers.counts)
    assert counts.pop('joined') == pairs
    assert 2 * pairs + sum(counts.values()) + answers.waiting == len(events)
    clock.now += 10
    answers.expire()
    assert answers.waiting == 0


@given(st.sets(st.integers(0, 40)), st.sets(st.integers(0, 40)), st.randoms())
def test_streams_in_order_are_counted_exactly(of_a, of_b, random):
    """However two ordered streams interleave, every frame ends in the right count."""
    clock = Clock()
    answers = Answers(2.0, clock)
    queues = {'a': sorted(of_a), 'b': sorted(of_b)}
    while any(queues.values()):
        model = random.choice([name for name, queue in queues.items() if queue])
        stamp = queues[model].pop(0)
        answers.add(model, stamp, stamp)
    clock.now = 10
    answers.expire()
    counts = AnswerCounts(len(of_a & of_b), len(of_a - of_b), len(of_b - of_a))
    assert answers.counts == counts
