"""The results of a run: speed, latency and errors from the two bags, a picture and a cloud."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from nndepth_core.cli.table import table as aligned
from nndepth_core.evaluation.metrics import stereo_metrics
from nndepth_core.io import write_image, write_ply
from nndepth_core.visualization import colorize, error_map, panel, value_range
from nndepth_ros.bag import BagReader
from nndepth_ros.conversions import stamp_ns
from nndepth_ros.demo import DemoError
from nndepth_ros.demo.sequence import NAMESPACE, RIG, Truth, float_image, read_truth

WORST_ERROR = 3.0  # pixels, the red end of the error picture


@dataclass(frozen=True)
class ModelReport:
    """The results of one model's run.

    Attributes:
        model: the name as given.
        engine: the engine and its device.
        size: the processing size, with how many were worked on at it if there were others.
        reason: why the node worked at the last size.
        pairs_in: the number of pairs published.
        pairs_out: the number of disparities received.
        rate: disparities per second.
        latency_p50: median of the milliseconds from the stamp of the left image until another
            process has received the disparity; p95 and p99 in the same way.
        inference: median of the milliseconds in the engine.
        epe: mean error in pixels over all pixels; holes are filled from the background.
        bad_3: percentage of all pixels that are missing or wrong by more than 3 pixels.
        bad_3_visible: the same over pixels that both cameras see.
        density: percentage of pixels with an estimate.
        picture: a picture with left image, disparity, depth and error side by side.
        cloud: the coloured points of the same frame.
        bag: all that the node published.
    """

    model: str
    engine: str
    size: str
    reason: str
    pairs_in: int
    pairs_out: int
    rate: float
    latency_p50: float
    latency_p95: float
    latency_p99: float
    inference: float
    epe: float
    bad_3: float
    bad_3_visible: float
    density: float
    picture: str
    cloud: str
    bag: str

    @property
    def dropped(self) -> int:
        """The number of pairs without a disparity."""
        return self.pairs_in - self.pairs_out

    def complete(self) -> bool:
        """Whether all figures are known."""
        return all(math.isfinite(v) for v in asdict(self).values() if isinstance(v, float))


_COLUMNS = {
    'model': ('model', '{}'),
    'engine': ('engine', '{}'),
    'size': ('size', '{}'),
    'pairs_in': ('in', '{}'),
    'pairs_out': ('out', '{}'),
    'dropped': ('dropped', '{}'),
    'rate': ('Hz', '{:.1f}'),
    'latency_p50': ('p50 ms', '{:.1f}'),
    'latency_p95': ('p95 ms', '{:.1f}'),
    'latency_p99': ('p99 ms', '{:.1f}'),
    'inference': ('infer ms', '{:.1f}'),
    'epe': ('EPE px', '{:.2f}'),
    'bad_3': ('bad-3 %', '{:.1f}'),
    'bad_3_visible': ('visible bad-3 %', '{:.1f}'),
    'density': ('density %', '{:.1f}'),
}


def table(reports: list[ModelReport]) -> str:
    """Write the figures in aligned columns, one row per model."""
    rows = [[title for title, _ in _COLUMNS.values()]]
    for report in reports:
        rows.append([form.format(getattr(report, name)) for name, (_, form) in _COLUMNS.items()])
    return aligned(rows, right=range(len(_COLUMNS)))


def evaluate(model: str, sequence: Path, bag: Path, stamps: list[int], base: Path) -> ModelReport:
    """Compare what a node published with the truth.

    Args:
        model: the name for the report.
        sequence: the bag of the inputs and the truth.
        bag: the recorded bag, which is not empty.
        stamps: the stamps in nanoseconds with which the frames were played.
        base: the path of the picture and the cloud, without suffix.
    """
    disparities = {stamp: (time, found) for stamp, time, found in read_outputs(bag, 'disparity')}
    received = [time for time, _ in disparities.values()]
    latency = [(time - stamp) / 1e6 for stamp, (time, _) in disparities.items()]
    stats = [message for _, _, message in read_outputs(bag, 'stats')]
    whole, visible = [], []
    for stamp, truth in zip(stamps, read_truth(sequence), strict=True):
        if stamp in disparities:
            disparity = disparity_pixels(disparities[stamp][1])
            whole.append(stereo_metrics(disparity, truth.disparity))
            visible.append(stereo_metrics(disparity, truth.disparity, truth.visible))
    if not stats or not whole:
        raise DemoError(f'{bag} holds {len(whole)} disparities and {len(stats)} statistics')
    p50, p95, p99 = np.percentile(latency, (50, 95, 99))
    picture, cloud = show(sequence, bag, stamps, base)
    return ModelReport(
        model=model,
        engine=f'{stats[-1].engine}/{stats[-1].device}',
        size=_usual_size(stats),
        reason=stats[-1].rate_reason,
        pairs_in=len(stamps),
        pairs_out=len(disparities),
        rate=(len(received) - 1) * 1e9 / max(1, received[-1] - received[0]),
        latency_p50=float(p50),
        latency_p95=float(p95),
        latency_p99=float(p99),
        inference=float(np.median([message.inference_ms for message in stats])),
        epe=_mean(whole, 'epe'),
        bad_3=_mean(whole, 'bad_3'),
        bad_3_visible=_mean(visible, 'bad_3'),
        density=_mean(whole, 'density'),
        picture=str(picture),
        cloud=str(cloud),
        bag=str(bag),
    )


def show(sequence: Path, bag: Path, stamps: list[int], base: Path) -> tuple[Path, Path]:
    """Write picture and cloud of the frame after two thirds; return their paths."""
    names = ('disparity', 'depth/image', 'points2')
    complete = set.intersection(*({out[0] for out in read_outputs(bag, name)} for name in names))
    if not complete:
        raise DemoError(f'{bag} has no frame with all of {", ".join(names)}')
    shown = sorted(complete)[2 * len(complete) // 3]
    disparity, depth, points = (
        next(message for stamp, _, message in read_outputs(bag, name) if stamp == shown)
        for name in names
    )
    truth = next(islice(read_truth(sequence), stamps.index(shown), None))
    picture, cloud = Path(f'{base}.png'), Path(f'{base}.ply')
    write_image(picture, _panel(truth, disparity_pixels(disparity), float_image(depth)))
    values = np.frombuffer(points.data, '<f4').reshape(points.height, points.width, 4)
    bgra = np.ascontiguousarray(values[..., 3:]).view(np.uint8)
    write_ply(cloud, values[..., :3], bgra[..., 2::-1])
    return picture, cloud


def read_outputs(bag: Path, name: str) -> Iterator[tuple[int, int, Any]]:
    """Yield stamp and time of reception in nanoseconds and the message, for one output."""
    with BagReader(bag) as reader:
        for record in reader.messages([f'{NAMESPACE}/{name}']):
            message = reader.decode(record)
            yield stamp_ns(message.header.stamp), record.time, message


def disparity_pixels(message: Any) -> np.ndarray:
    """The disparity of a DisparityImage as float32 (H, W), NaN where unknown."""
    values = float_image(message.image)
    known = values >= message.min_disparity
    return np.where(known, values + np.float32(RIG.cx_offset), np.float32(np.nan))


def _panel(truth: Truth, disparity: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Put left image, disparity, depth and error side by side, uint8 RGB."""
    low, high = value_range(truth.disparity)
    _, farthest = value_range(RIG.disparity_to_depth(truth.disparity), 5)
    return panel(
        {
            'left image': truth.left,
            f'disparity, {low:.0f} to {high:.0f} px': colorize(disparity, low, high),
            f'depth, 0 to {farthest:.0f} m': colorize(depth, farthest, 0),
            f'error, 0 to {WORST_ERROR:.0f} px; white: no estimate': error_map(
                disparity, truth.disparity, WORST_ERROR
            ),
        }
    )


def _usual_size(stats: list[Any]) -> str:
    """The processing size of most of the results."""
    sizes = Counter((message.processing_width, message.processing_height) for message in stats)
    ((width, height), count), *others = sizes.most_common()
    return f'{width}x{height}' + (f' ({count} of {len(stats)})' if others else '')


def _mean(metrics: list[dict[str, float]], name: str) -> float:
    return float(np.mean([entry[name] for entry in metrics]))
