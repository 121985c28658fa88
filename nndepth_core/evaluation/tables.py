"""Evaluations as tables, JSON and CSV."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from typing import Any

from nndepth_core.evaluation.evaluate import Evaluation


def summary(
    evaluation: Evaluation,
    metrics: Sequence[str],
    regions: Sequence[str],
) -> list[list[str]]:
    """Make the table of an evaluation: its headings, and a row for each model and region.

    Args:
        evaluation: what was found; the first row of each model also tells its speed, and a column
            of its own what was fitted to the truth, if something was.
        metrics: the measures to show.
        regions: the regions to show, as far as the data set has them.
    """
    titles = evaluation.measures.titles
    fitted = [model.about.get('fitted', '') for model in evaluation.models]
    heads = ['MODEL', 'REGION', *(['FITTED'] if any(fitted) else [])]
    rows = [[*heads, *(titles[key] for key in metrics), 'p50 ms', 'p95 ms']]
    for model, what in zip(evaluation.models, fitted, strict=True):
        mean = model.mean()
        speed = [f'{value:.1f}' for value in model.speed().values()]
        for region in [name for name in regions if name in mean]:
            cells = [cell(mean[region].get(key), titles[key]) for key in metrics]
            rows.append(
                [model.model, region, *([what or '-'] if any(fitted) else []), *cells, *speed]
            )
            speed = [''] * len(speed)
    return rows


def about_times(evaluation: Evaluation) -> str:
    """What is to be known of the times; '' if they are those of one process."""
    if evaluation.workers == 1:
        return ''
    return (
        f'times are of {evaluation.workers} workers at once, which make each other slower; '
        'measure speed without --workers and --ray'
    )


def json_text(evaluation: Evaluation, **more: Any) -> str:
    """Write everything that was found, and more entries, as JSON; null stands for NaN."""
    models = [
        {
            'model': model.model,
            'runs_on': model.runs_on,
            **model.about,
            'milliseconds': model.speed(),
            'mean': model.mean(),
            'samples': [
                {
                    'name': sample.name,
                    'width': sample.size[0],
                    'height': sample.size[1],
                    'milliseconds': sample.milliseconds,
                    'metrics': sample.metrics,
                }
                for sample in model.samples
            ],
        }
        for model in evaluation.models
    ]
    content = {
        'dataset': evaluation.dataset,
        'samples': len(evaluation.models[0].samples),
        'workers': evaluation.workers,
        'skipped': evaluation.skipped,
        'findings': [{'where': at, **what.described()} for at, what in evaluation.findings],
        'models': models,
        **more,
    }
    return json.dumps(finite(content), indent=2)


def csv_text(evaluation: Evaluation) -> str:
    """Write a row for each model, sample and region."""
    found = [
        (model, sample, region, metrics)
        for model in evaluation.models
        for sample in model.samples
        for region, metrics in sample.metrics.items()
    ]
    measures = [*found[0][3]] if found else []
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(['model', 'sample', 'width', 'height', 'milliseconds', 'region', *measures])
    for model, sample, region, metrics in found:
        values = [f'{metrics[key]:.6g}' for key in measures]
        time = f'{sample.milliseconds:.3f}'
        names = [_text(model.model), _text(sample.name)]
        writer.writerow([*names, *sample.size, time, region, *values])
    return text.getvalue()


def _text(name: str) -> str:
    """Turn a name into a CSV cell that no spreadsheet takes for a formula."""
    return f"'{name}" if name.startswith(('=', '+', '-', '@', '\t', '\r')) else name


def cell(value: float | None, title: str) -> str:
    """Write a figure with the digits that suit its heading."""
    if value is None or math.isnan(value):
        return '-'
    return f'{value:.2f}' if title.endswith('%') else f'{value:.3f}'


def finite(value: Any) -> Any:
    """Return the value with None in place of what JSON cannot hold."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
