"""What there is to tell of a fleet of bags, for programs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import nndepth_core
from nndepth_core.spec import title_of
from nndepth_ros.bag_storage import Damage
from nndepth_ros.fleet.run import BagRun
from nndepth_ros.replay.command import counted_in, incomplete

SLOWEST = 10


def describe_fleet(
    bags: Sequence[BagRun],
    problems: Sequence[tuple[str, str]],
    seconds: float,
    interrupted: bool,
    lost: int = 0,
) -> dict[str, Any]:
    """Make the report, ready for JSON.

    Args:
        bags: all of them.
        problems: arguments that name no bag, with the reason.
        seconds: how long this run took.
        interrupted: whether it was ended before its end.
        lost: how many workers were killed.
    """
    described = [_described(bag) for bag in bags]
    described += [
        {'name': name, 'source': name, 'state': 'failed', 'reason': reason}
        for name, reason in problems
    ]
    done = [bag for bag in described if bag['state'] in ('done', 'incomplete')]
    new = sum(bag['processed'] for bag in done if not bag['reused'])
    counts = Counter(bag['state'] for bag in described)
    processed = sum(bag['processed'] for bag in done)
    return {
        'nndepth': nndepth_core.__version__,
        'interrupted': interrupted,
        'bags': {
            'found': len(described),
            **{state: counts[state] for state in ('done', 'incomplete', 'failed', 'open')},
            'reused': sum(bag['reused'] for bag in done),
        },
        'moments': {
            'found': sum(bag['found'] for bag in done),
            'processed': processed,
            'failed': sum(bag['failed'] for bag in done),
        },
        'lost_workers': lost,
        'seconds': round(seconds, 3),
        'moments_per_second': round(new / seconds, 3),
        'density': sum(bag['density'] * bag['processed'] for bag in done) / max(processed, 1),
        'causes': dict(_causes(described).most_common()),
        'slowest': [
            bag['name'] for bag in sorted(done, key=lambda it: -it['milliseconds'])[:SLOWEST]
        ],
        'each': described,
    }


def _described(bag: BagRun) -> dict[str, Any]:
    entry: dict[str, Any] = {'name': bag.source.name, 'source': bag.source.location}
    if bag.finished is None:
        state = 'failed' if bag.reason else 'open'
        return {**entry, 'state': state, 'reason': bag.reason}
    report = bag.finished.report
    if report['problem']:
        return {**entry, 'state': 'failed', 'reason': report['problem']}
    counts = report[counted_in(report)]
    stages = report['milliseconds'].values()
    return {
        **entry,
        'state': 'incomplete' if incomplete(report) else 'done',
        'reason': _why_incomplete(report),
        'output': report['output'],
        'reused': bag.finished.reused,
        'pieces': len(bag.plan.pieces) if bag.plan else 1,
        'bytes': bag.size,
        **counts,
        'rate_hz': next(iter(report['images'].values()))['rate_hz'],
        'coverage': report['coverage'],
        'density': report['density']['mean'],
        'milliseconds': round(sum(stage['mean'] for stage in stages), 3),
        'model': title_of(report['model']['name'], report['model']['variant']),
        'findings': report['findings'],
    }


def _why_incomplete(report: dict[str, Any]) -> str:
    """The first reason for which not all of a bag could be used; '' if all was used."""
    if not incomplete(report):
        return ''
    for failure in report['failures']:
        return failure['reason']
    for reason in report['damaged_messages']:
        return f'messages cannot be read: {reason}'
    for damage in report['damage']:
        return str(Damage(**damage))
    return 'the scale was never known'


def _causes(described: Sequence[dict[str, Any]]) -> Counter[str]:
    """How many bags have which reason, without the names and long numbers in which they differ."""
    return Counter(
        re.sub(r'\b\d[\d.]+\b', 'N', bag['reason'].replace(bag['source'], 'BAG'))
        for bag in described
        if bag['reason']
    )
