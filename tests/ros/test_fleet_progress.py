"""What is shown of a long run where there is no terminal."""

from __future__ import annotations

from nndepth_ros.fleet.progress import EVERY, Progress


def test_a_line_each_minute_and_one_at_the_end(capsys):
    now = [100.0]
    with Progress(1000, lambda: now[0]) as progress:
        progress.advance(0, '0 of 4 bags, 0 failed')
        progress.tick()
        progress.advance(250, '1 of 4 bags, 0 failed')
        for _ in range(3):
            now[0] += EVERY / 2
            progress.tick()
        progress.advance(750, '4 of 4 bags, 1 failed')
    assert capsys.readouterr().err.splitlines() == [
        'nndepth: 1 of 4 bags, 0 failed; 25 %; 1 min 0 s; about 3 min 0 s to go',
        'nndepth: 4 of 4 bags, 1 failed; 100 %; 1 min 30 s',
    ]


def test_a_short_run_needs_no_lines(capsys):
    with Progress(0, lambda: 0.0) as progress:
        progress.advance(0, '1 of 1 bags, 0 failed')
        progress.tick()
    assert capsys.readouterr().err == ''
