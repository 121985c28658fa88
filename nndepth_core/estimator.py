"""From two images to a disparity: the one way of node, bags, command line and evaluation."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np

from nndepth_core.engines import AUTO, Engine, EngineError, create_engine
from nndepth_core.engines.memory import check_processing_size

DEFAULT_MODEL = AUTO

# Stands for "unknown" in the right map: NaN would spread to neighbours of weight 0 in remap.
_UNMATCHED = 1e6


@dataclass(frozen=True)
class StereoResult:
    """What one pair gave.

    Attributes:
        disparity: float32 (H, W), pixels of this array's own size, left-referenced, NaN unknown.
        confidence: float32 (H, W) in 0..1, None where it was not asked for.
        processing_size: (width, height) the engine saw before padding.
        milliseconds: time of the stages 'preprocess', 'inference', 'postprocess'.
    """

    disparity: np.ndarray
    confidence: np.ndarray | None
    processing_size: tuple[int, int]
    milliseconds: dict[str, float] = field(default_factory=dict)


class StereoEstimator:
    """Runs a stereo engine on images of any size.

    Args:
        engine: what executes the model.
        processing_size: (width, height) the images are resampled to for the engine; (0, 0) keeps
            their own size, one 0 follows from the other by their aspect.
        output: 'camera' returns maps of the input images' size, 'processing' of the engine's.
        confidence_threshold: estimates less confident than this become NaN; 0 keeps all.
    """

    def __init__(
        self,
        engine: Engine,
        processing_size: tuple[int, int] = (0, 0),
        output: str = 'camera',
        confidence_threshold: float = 0.0,
    ) -> None:
        if min(processing_size) < 0:
            raise ValueError(f'processing size is {processing_size}; use 0 for the image size')
        if output not in ('camera', 'processing'):
            raise ValueError(f'output is {output!r}; choose camera or processing')
        if not 0 <= confidence_threshold <= 1:
            raise ValueError(f'confidence_threshold is {confidence_threshold}; it must be in 0..1')
        self.engine = engine
        self.processing_size = processing_size
        self.output = output
        self.confidence_threshold = confidence_threshold
        self._checked: tuple[tuple[int, int], tuple[int, int]] | None = None

    @classmethod
    def load(
        cls,
        model: str = DEFAULT_MODEL,
        engine: str = 'auto',
        device: str = 'auto',
        options: dict[str, Any] | None = None,
        **settings: Any,
    ) -> StereoEstimator:
        """Make an estimator by names; `options` go to the engine, `settings` to the estimator."""
        return cls(create_engine(model, engine, device, **(options or {})), **settings)

    @classmethod
    def default(cls) -> StereoEstimator:
        """The default model on the best engine present."""
        return cls.load()

    def __call__(
        self, left: np.ndarray, right: np.ndarray, confidence: bool = False
    ) -> StereoResult:
        """Estimate the disparity of a rectified pair, uint8 RGB (H, W, 3) each.

        Args:
            left: left image, the one the result refers to.
            right: right image of the same size.
            confidence: also return the confidence (costs a second run where the model has none).

        Raises:
            ValueError: images of the wrong type, or sizes that differ or are too small.
        """
        check_pair(left, right)
        clock = StageClock()
        size = self._checked_size(left)
        inputs = self._prepare(left, size), self._prepare(right, size)
        clock.lap('preprocess')

        maps = self._infer(*inputs, confidence=confidence or self.confidence_threshold > 0)
        clock.lap('inference')

        maps = {name: self._crop(values, size) for name, values in maps.items()}
        if self.output == 'camera' and size != (left.shape[1], left.shape[0]):
            maps = _resample(maps, left.shape[1], left.shape[0])
        if self.confidence_threshold > 0:
            maps['disparity'] = np.where(
                maps['confidence'] >= self.confidence_threshold, maps['disparity'], np.nan
            ).astype(np.float32)
        clock.lap('postprocess')
        return StereoResult(
            maps['disparity'],
            maps.get('confidence') if confidence else None,
            size,
            clock.milliseconds,
        )

    def self_test(self) -> None:
        """Check that the engine computes what the model should.

        Raises:
            EngineError: the engine gives something else, or fails.
        """
        engine = self.engine
        try:
            engine.self_test()
        except EngineError:
            raise
        except Exception as error:  # whatever a backend raises
            raise EngineError(
                f'{engine.spec.name} on {engine.name} ({engine.device}) fails its self-test '
                f'({error!r}); choose another engine, device or precision'
            ) from error

    def warm_up(self, width: int, height: int) -> None:
        """Prepare for images of a size, so that their first pair takes no longer than others."""
        blank = np.zeros((height, width, 3), np.uint8)
        self(blank, blank)

    @property
    def iterations(self) -> int:
        """Steps of an iterative network, fewer are faster; 0 for other models.

        Setting it does nothing for other models, and raises EngineError where the engine cannot.
        """
        return self.engine.iterations

    @iterations.setter
    def iterations(self, count: int) -> None:
        if self.engine.iterations:
            self.engine.iterations = count

    def processed_size(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) at which images of width x height are processed."""
        wanted_width, wanted_height = self.processing_size
        if wanted_width or wanted_height:
            wanted = (
                wanted_width or max(1, round(width * wanted_height / height)),
                wanted_height or max(1, round(height * wanted_width / width)),
            )
        else:
            wanted = (width, height)
        fixed = self.engine.spec.fixed_size
        if fixed is None or self._padded(wanted) == fixed:
            return wanted
        if self.processing_size == (0, 0):
            return fixed[1], fixed[0]
        raise ValueError(
            f'processing size is {wanted[0]}x{wanted[1]}; this model takes only '
            f'{fixed[1]}x{fixed[0]} (leave the processing size at 0, or export the model anew)'
        )

    def _padded(self, size: tuple[int, int]) -> tuple[int, int]:
        """(height, width) after padding of (width, height)."""
        width, height = size
        above, below, left, right = self.engine.spec.margins(height, width)
        return height + above + below, width + left + right

    def _checked_size(self, image: np.ndarray) -> tuple[int, int]:
        whole = image.shape[1], image.shape[0]
        size = self.processed_size(*whole)
        minimum = self.engine.spec.minimum
        if size[0] < minimum[1] or size[1] < minimum[0]:
            raise ValueError(
                f'images are processed at {size[0]}x{size[1]}; {self.engine.spec.name} needs at '
                f'least {minimum[1]}x{minimum[0]} (set a larger processing size)'
            )
        # Once: afterwards the engine holds the memory, which is no longer free.
        if (size, whole) != self._checked and self.engine.spec.fixed_size is None:
            on_cpu = self.engine.device == 'cpu'
            check_processing_size(size, whole, on_cpu * self.engine.spec.bytes_per_pixel)
            self._checked = size, whole
        return size

    def _prepare(self, image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        if size != (image.shape[1], image.shape[0]):
            shrinks = size[0] * size[1] < image.shape[0] * image.shape[1]
            image = cv2.resize(
                image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
            )
        margins = self.engine.spec.margins(size[1], size[0])
        if any(margins):
            image = cv2.copyMakeBorder(image, *margins, cv2.BORDER_REPLICATE)
        return image

    def _crop(self, values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Take the margins off again."""
        width, height = size
        above, _, left, _ = self.engine.spec.margins(height, width)
        return values[above : above + height, left : left + width]

    def _infer(
        self, left: np.ndarray, right: np.ndarray, confidence: bool
    ) -> dict[str, np.ndarray]:
        outputs = self.engine.run(left[None], right[None])
        maps = {name: values[0] for name, values in outputs.items()}
        if confidence and 'confidence' not in maps:
            mirrored = [np.ascontiguousarray(image[None, :, ::-1]) for image in (right, left)]
            of_right = self.engine.run(*mirrored)['disparity'][0, :, ::-1]
            maps['confidence'] = left_right_confidence(maps['disparity'], of_right)
        return maps


def left_right_confidence(of_left: np.ndarray, of_right: np.ndarray) -> np.ndarray:
    """Agreement of the left and the right disparity map, float32 (H, W) in 0..1.

    The left estimate d at x should be met by the right map at x - d; the confidence is
    exp(-|difference| / 1 px), and 0 where either is unknown or the match lies outside.
    """
    height, width = of_left.shape
    columns = np.arange(width, dtype=np.float32) - of_left
    rows = np.repeat(np.arange(height, dtype=np.float32)[:, None], width, axis=1)
    met = cv2.remap(
        np.nan_to_num(of_right, nan=_UNMATCHED),
        np.nan_to_num(columns, nan=-2.0),
        rows,
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=_UNMATCHED,
    )
    return np.nan_to_num(np.exp(-np.abs(of_left - met)), nan=0.0)


def _resample(maps: dict[str, np.ndarray], width: int, height: int) -> dict[str, np.ndarray]:
    """Bring maps to width x height; disparities change with the width.

    Bilinear inside surfaces, nearest across edges: a blend of two would float between them.
    """
    disparity = np.ascontiguousarray(maps['disparity'])
    scale = np.float32(width / disparity.shape[1])
    nearest = cv2.resize(disparity, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    smooth = cv2.resize(disparity, (width, height), interpolation=cv2.INTER_LINEAR)
    with np.errstate(invalid='ignore'):
        same_surface = np.abs(smooth - nearest) < 1
    resampled: dict[str, np.ndarray] = {
        'disparity': np.where(same_surface, smooth, nearest) * scale
    }
    if 'confidence' in maps:
        resampled['confidence'] = cv2.resize(
            np.ascontiguousarray(maps['confidence']),
            (width, height),
            interpolation=cv2.INTER_LINEAR,
        )
    return resampled


def check_pair(left: np.ndarray, right: np.ndarray) -> None:
    """Raise ValueError unless both images are uint8 RGB (H, W, 3) of one size."""
    for name, image in (('left', left), ('right', right)):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(
                f'{name} image is {image.dtype} {image.shape}; give uint8 RGB (height, width, 3)'
            )
    if left.shape != right.shape:
        raise ValueError(
            f'left is {left.shape[1]}x{left.shape[0]} and right {right.shape[1]}x{right.shape[0]};'
            ' the images of a pair must have one size'
        )


class StageClock:
    """Milliseconds between laps, by stage."""

    def __init__(self) -> None:
        self.milliseconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        """Write the time since the last lap to `stage`."""
        now = time.perf_counter()
        self.milliseconds[stage] = 1000 * (now - self._last)
        self._last = now
