"""An evaluation as one HTML file with its pictures in it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

import numpy as np

from nndepth_core.evaluation.evaluate import Evaluation, SampleScore
from nndepth_core.evaluation.measures import Measures, View
from nndepth_core.evaluation.regions import ALL
from nndepth_core.evaluation.tables import about_times, cell
from nndepth_core.files.page import html_figure, html_page, html_table, reduced
from nndepth_core.visualization import colorize


@dataclass
class Gallery:
    """Pictures of the samples with the largest mean error of any model; an `Observer`.

    Attributes:
        models: what to call them, in their order.
        measures: of their task.
        most: samples to keep.
        width: wider pictures are reduced to this, pixels.
    """

    models: Sequence[str]
    measures: Measures
    most: int = 12
    width: int = 640
    _kept: list[tuple[float, str]] = field(default_factory=list)

    def __call__(self, view: View, scores: Sequence[SampleScore]) -> None:
        """Keep the pictures of the sample if it is among the worst so far."""
        worst = self.rank(scores)
        if len(self._kept) == self.most and not any(worst > other for other, _ in self._kept):
            return
        self._kept.append((worst, self.section(view, scores)))
        self._kept.sort(key=lambda kept: -kept[0])
        del self._kept[self.most :]

    def rank(self, scores: Sequence[SampleScore]) -> float:
        """The largest error of any model, by which samples are ranked."""
        first = next(iter(self.measures.brief))
        errors = [score.metrics[ALL][first] for score in scores]
        return max(math.inf if math.isnan(error) else error for error in errors)

    def take(self, sections: Sequence[str]) -> None:
        """Keep sections that were made elsewhere, that of the worst sample first."""
        self._kept = [(math.inf, section) for section in sections]

    def html(self) -> str:
        """Return the pictures that were kept, those of the worst sample first."""
        return ''.join(section for _, section in self._kept)

    def section(self, view: View, scores: Sequence[SampleScore]) -> str:
        """Make the pictures of a sample, under its name."""
        low, high = view.limits()
        ends = ('blue', 'red') if view.near_is_high else ('red', 'blue')
        span = f'{low:.1f} ({ends[0]}) to {high:.1f} {view.unit} ({ends[1]})'
        pictures = self._figure(view.title, view.image)
        rows = [pictures + self._map(f'truth, {span}', view.colored(view.truth))]
        for model, values, confidence, score in zip(
            self.models, view.maps, view.confidences, scores, strict=True
        ):
            worst = self.measures.worst
            figures = self.measures.caption.format(**score.metrics[ALL])
            row = self._map(f'{model}: {view.kind}', view.colored(values)) + self._map(
                f'{model}: {figures}; error of 0 (blue) to {worst:g} '
                f'{self.measures.difference_unit} (red), no estimate white',
                view.difference(values, view.truth, worst),
            )
            if confidence is not None:
                picture = colorize(confidence, 0, 1)
                row += self._map(f'{model}: confidence, 0 (blue) to 1 (red)', picture)
            rows.append(row)
        text = ''.join(f'<div class="row">{row}</div>' for row in rows)
        return f'<h3>{escape(scores[0].name)}</h3>{text}'

    def _figure(self, caption: str, picture: np.ndarray) -> str:
        return html_figure(caption, reduced(picture, self.width))

    def _map(self, caption: str, picture: np.ndarray) -> str:
        """Show a map; unknown pixels, which are black, do not darken the known ones around them.

        Otherwise nothing would be seen of sparse truth.
        """
        known = reduced(np.asarray(picture.any(axis=2), np.float32), self.width)[..., None]
        picture = reduced(picture.astype(np.float32), self.width) / np.maximum(known, 1e-6)
        return self._figure(caption, np.clip(picture, 0, 255).astype(np.uint8))


def report_html(
    evaluation: Evaluation, rows: Sequence[Sequence[str]], gallery: Gallery | None = None
) -> str:
    """Write an evaluation as a page.

    Args:
        evaluation: what was found.
        rows: the table of results with its headings first, see `tables.summary`.
        gallery: the pictures; it must have observed the evaluation.
    """
    count = len(evaluation.models[0].samples)
    engines = ', '.join(f'{model.model} on {model.runs_on}' for model in evaluation.models)
    title = f'{", ".join(model.model for model in evaluation.models)} on {evaluation.dataset}'
    parts = [
        f'<h1>{escape(title)}</h1>',
        f'<p>{count} samples; {escape(engines)}. {escape(evaluation.measures.note)}</p>',
        html_table(rows),
    ]
    if remark := about_times(evaluation):
        parts.append(f'<p>{remark}</p>')
    if evaluation.skipped:
        skipped = [['sample', 'skipped because'], *map(list, evaluation.skipped.items())]
        parts.append(f'<h2>{len(evaluation.skipped)} skipped</h2>{html_table(skipped)}')
    if gallery is not None and (pictures := gallery.html()):
        parts.append(f'<h2>Largest errors</h2>{pictures}')
    parts.append(f'<h2>Samples</h2>{html_table(_samples(evaluation))}')
    return html_page(title, parts)


def _samples(evaluation: Evaluation) -> list[list[str]]:
    """Make a row for each sample, with the columns of each model side by side."""
    brief = evaluation.measures.brief
    headings = [
        f'{model.model} {what}' for model in evaluation.models for what in (*brief.values(), 'ms')
    ]
    rows = [['sample', 'size', *headings]]
    for scores in zip(*(model.samples for model in evaluation.models), strict=True):
        row = [scores[0].name, '{}x{}'.format(*scores[0].size)]
        for score in scores:
            row += [cell(score.metrics[ALL][key], title) for key, title in brief.items()]
            row.append(f'{score.milliseconds:.1f}')
        rows.append(row)
    return rows
