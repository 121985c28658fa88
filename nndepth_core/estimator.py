"""From images to a map, in one way for nodes, bags, command line, evaluation and training."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import cv2
import numpy as np

from nndepth_core.camera import PinholeCamera
from nndepth_core.engines import AUTO, Engine, EngineError, create_engine
from nndepth_core.engines.maps import (
    left_right_confidence,
    resampled,
    resampled_depth,
    resampled_disparity,
)
from nndepth_core.engines.memory import check_processing_size
from nndepth_core.point_maps import metric_depth
from nndepth_core.spec import Output, Task

if TYPE_CHECKING:
    from typing import Self

DEFAULT_MODEL = AUTO

_SEES = {'stereo': 'a left and a right image', 'mono': 'one image'}


@dataclass(frozen=True)
class StereoResult:
    """The result for one stereo pair.

    Attributes:
        disparity: float32 (H, W), of the left image, in pixels of this array, NaN where unknown.
        confidence: float32 (H, W) in 0..1, None if it was not asked for.
        processing_size: (width, height) of the images before padding, as the engine got them.
        milliseconds: the times of the stages 'preprocess', 'inference' and 'postprocess'.
        filled: indices (K,) in the flat map of pixels that a filter filled, None for nowhere.
    """

    disparity: np.ndarray
    confidence: np.ndarray | None
    processing_size: tuple[int, int]
    milliseconds: dict[str, float] = field(default_factory=dict)
    filled: np.ndarray | None = None

    @property
    def scale(self) -> float:
        """Pixels of the disparity's size in one pixel of the processing size."""
        return self.disparity.shape[1] / self.processing_size[0]


@dataclass(frozen=True)
class DepthResult:
    """The result for one image.

    Attributes:
        depth: float32 (H, W), NaN where unknown; `output` says what it holds.
        confidence: float32 (H, W) in 0..1, None if it was not asked for.
        output: 'depth' for metres along Z; 'relative_depth' or 'inverse_depth' (larger is nearer)
            up to an unknown scale and shift.
        processing_size: (width, height) the engine saw before padding.
        milliseconds: time of the stages 'preprocess', 'inference', 'postprocess'.
    """

    depth: np.ndarray
    confidence: np.ndarray | None
    output: Output
    processing_size: tuple[int, int]
    milliseconds: dict[str, float] = field(default_factory=dict)


class Estimator:
    """Runs an engine on images of any size; its subclasses tell how to call it.

    Args:
        engine: the engine that executes the model.
        processing_size: (width, height) to which images are resized for the engine. (0, 0) keeps
            their own size, or takes the size that the model prefers; if only one value is 0, it
            follows from the other by the aspect ratio.
        output: 'camera' returns maps of the size of the images, 'processing' of the engine's size.
        confidence_threshold: estimates with less confidence than this become NaN; 0 keeps all of
            which the model says that they stand for something.
    """

    task: ClassVar[Task]

    def __init__(
        self,
        engine: Engine,
        processing_size: tuple[int, int] = (0, 0),
        output: str = 'camera',
        confidence_threshold: float = 0.0,
    ) -> None:
        if engine.spec.task != self.task:
            raise EngineError(
                f'{engine.spec.name} takes {_SEES[engine.spec.task]} and {_SEES[self.task]} '
                f'{"are" if self.task == "stereo" else "is"} given; choose a {self.task} model'
            )
        if min(processing_size) < 0:
            raise ValueError(f'processing size is {processing_size}; use 0 for the image size')
        if output not in ('camera', 'processing'):
            raise ValueError(f'output is {output!r}; choose camera or processing')
        if not 0 <= confidence_threshold <= 1:
            raise ValueError(f'confidence_threshold is {confidence_threshold}; it must be in 0..1')
        self.engine = engine
        self.processing_size = processing_size
        self.output = output
        self.confidence_threshold = max(confidence_threshold, engine.spec.least_confidence)
        self._checked: tuple[tuple[int, int], tuple[int, int]] | None = None

    @classmethod
    def load(
        cls,
        model: str = DEFAULT_MODEL,
        engine: str = 'auto',
        device: str = 'auto',
        options: dict[str, Any] | None = None,
        **settings: Any,
    ) -> Self:
        """Make an estimator by names; `options` are for the engine, `settings` for itself."""
        made = create_engine(model, engine, device, task=cls.task, **(options or {}))
        return cls(made, **settings)

    def self_test(self) -> None:
        """Check that the engine computes what the model should.

        Raises:
            EngineError: the engine computes something else, or fails.
        """
        engine = self.engine
        try:
            engine.self_test()
        except EngineError:
            raise
        except Exception as error:  # a backend may raise anything
            raise EngineError(
                f'{engine.spec.name} on {engine.name} ({engine.device}) fails its self-test '
                f'({error!r}); choose another engine, device or precision'
            ) from error

    def warm_up(self, width: int, height: int) -> None:
        """Prepare for images of a size, so that their first run takes no longer than others."""
        blank = np.zeros((height, width, 3), np.uint8)
        self._run(dict.fromkeys(self.engine.spec.images, blank), StageClock())

    @property
    def iterations(self) -> int:
        """The steps of an iterative network, of which fewer are faster; 0 for other models.

        Setting it has no effect on other models; EngineError if the engine cannot change it.
        """
        return self.engine.iterations

    @iterations.setter
    def iterations(self, count: int) -> None:
        if self.engine.iterations:
            self.engine.iterations = count

    def processed_size(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) at which images of width x height are processed."""
        spec = self.engine.spec
        wanted_width, wanted_height = self.processing_size
        if wanted_width or wanted_height:
            wanted = (
                wanted_width or max(1, round(width * wanted_height / height)),
                wanted_height or max(1, round(height * wanted_width / width)),
            )
        else:
            wanted = spec.working_size(width, height)
        fixed = spec.fixed_size
        if fixed is None or self._padded(wanted) == fixed:
            return wanted
        if self.processing_size == (0, 0):
            return fixed[1], fixed[0]
        raise ValueError(
            f'processing size is {wanted[0]}x{wanted[1]}; this model takes only '
            f'{fixed[1]}x{fixed[0]} (leave the processing size at 0, or export the model again)'
        )

    def _padded(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return (height, width) of images of (width, height) after padding."""
        width, height = size
        return self.engine.spec.padded_size(height, width)

    def _checked_size(self, image: np.ndarray) -> tuple[int, int]:
        whole = image.shape[1], image.shape[0]
        size = self.processed_size(*whole)
        minimum = self.engine.spec.minimum
        if size[0] < minimum[1] or size[1] < minimum[0]:
            raise ValueError(
                f'images are processed at {size[0]}x{size[1]}; {self.engine.spec.name} needs at '
                f'least {minimum[1]}x{minimum[0]} (set a larger processing size)'
            )
        # Checked once, since the engine holds the memory from then on and it is no longer free.
        if (size, whole) != self._checked and self.engine.spec.fixed_size is None:
            on_cpu = self.engine.device == 'cpu'
            check_processing_size(size, whole, on_cpu * self.engine.spec.bytes_per_pixel)
            self._checked = size, whole
        return size

    def _run(
        self,
        images: Mapping[str, np.ndarray],
        clock: StageClock,
        numbers: Mapping[str, np.ndarray] | None = None,
        confidence: bool = False,
    ) -> tuple[dict[str, np.ndarray], tuple[int, int]]:
        """Bring images to the engine and its maps back; return the maps and the processing size.

        Args:
            images: uint8 RGB (H, W, 3) by the names of the inputs.
            clock: measures the times of the stages.
            numbers: the other inputs, without a batch dimension.
            confidence: whether to return the confidence too.
        """
        first = next(iter(images.values()))
        height, width = first.shape[:2]
        size = self._checked_size(first)
        spec = self.engine.spec
        batch = {name: spec.pad(resampled(image, size))[None] for name, image in images.items()}
        batch |= {name: values[None] for name, values in (numbers or {}).items()}
        clock.lap('preprocess')

        maps = self._infer(batch, confidence or self.confidence_threshold > 0)
        clock.lap('inference')

        maps = {name: spec.crop(values, size[1], size[0]) for name, values in maps.items()}
        if self.output == 'camera' and size != (width, height):
            maps = self._enlarged(maps, width, height)
        if self.confidence_threshold > 0:
            maps[spec.output] = np.where(
                maps['confidence'] >= self.confidence_threshold, maps[spec.output], np.nan
            ).astype(np.float32)
        if not confidence:
            maps.pop('confidence', None)
        return maps, size

    def _infer(self, batch: Mapping[str, np.ndarray], confidence: bool) -> dict[str, np.ndarray]:
        """Run the engine on a batch of one image; return maps (H, W)."""
        return {name: values[0] for name, values in self.engine.run(batch).items()}

    def _enlarged(
        self, maps: Mapping[str, np.ndarray], width: int, height: int
    ) -> dict[str, np.ndarray]:
        """Resize maps to width x height; disparities are scaled with the width."""
        name = self.engine.spec.output
        values = np.ascontiguousarray(maps[name])
        resample = resampled_disparity if name == 'disparity' else resampled_depth
        enlarged: dict[str, np.ndarray] = {name: resample(values, width, height)}
        for other in maps.keys() - {name}:
            enlarged[other] = cv2.resize(
                np.ascontiguousarray(maps[other]),
                (width, height),
                interpolation=cv2.INTER_LINEAR,
            )
        return enlarged


class StereoEstimator(Estimator):
    """Estimates the disparity of rectified pairs; see `Estimator` for its arguments."""

    task = 'stereo'

    @classmethod
    def default(cls) -> Self:
        """Make an estimator of the default model on the best engine that is installed."""
        return cls.load()

    def __call__(
        self, left: np.ndarray, right: np.ndarray, confidence: bool = False
    ) -> StereoResult:
        """Estimate the disparity of a rectified pair, uint8 RGB (H, W, 3) each.

        Args:
            left: the left image, to which the result belongs.
            right: the right image, of the same size.
            confidence: whether to return it too; a model that has none of its own runs twice then.

        Raises:
            ValueError: images have the wrong type, or their sizes differ or are too small.
        """
        check_pair(left, right)
        clock = StageClock()
        maps, size = self._run({'left': left, 'right': right}, clock, confidence=confidence)
        clock.lap('postprocess')
        return StereoResult(maps['disparity'], maps.get('confidence'), size, clock.milliseconds)

    def _infer(self, batch: Mapping[str, np.ndarray], confidence: bool) -> dict[str, np.ndarray]:
        maps = super()._infer(batch, confidence)
        if confidence and 'confidence' not in maps:
            mirrored = {
                name: np.ascontiguousarray(batch[other][:, :, ::-1])
                for name, other in (('left', 'right'), ('right', 'left'))
            }
            of_right = self.engine.run(mirrored)['disparity'][0, :, ::-1]
            maps['confidence'] = left_right_confidence(maps['disparity'], of_right)
        return maps


class MonoEstimator(Estimator):
    """Estimates the depth of single images; see `Estimator` for its arguments.

    Raises:
        ValueError: a confidence threshold was given for a model without confidence.
    """

    task = 'mono'

    def __init__(self, engine: Engine, *settings: Any, **named_settings: Any) -> None:
        super().__init__(engine, *settings, **named_settings)
        if self.confidence_threshold > 0 and engine.spec.confidence is None:
            raise ValueError(
                f'confidence_threshold is {self.confidence_threshold} and {engine.spec.name} has '
                'no confidence; set it to 0'
            )

    def __call__(
        self, image: np.ndarray, camera: PinholeCamera | None = None, confidence: bool = False
    ) -> DepthResult:
        """Estimate the depth of an image, uint8 RGB (H, W, 3).

        Args:
            image: the image.
            camera: the camera, at the size of the image; only some networks need it. Those that
                give points up to a shift find a better one with its focal length.
            confidence: whether to return the confidence too, if the model has one.

        Raises:
            ValueError: the image has the wrong type or size, or the model needs the camera.
        """
        check_image('image', image)
        clock = StageClock()
        spec = self.engine.spec
        height, width = image.shape[:2]
        if spec.needs_camera and camera is None:
            raise ValueError(
                f'{spec.name} needs the camera to tell metres; give its camera_info or calibration'
            )
        used = None
        if camera is not None and spec.needs_camera:
            used = camera.resized(*self.processed_size(width, height))
        numbers = {}
        if used is not None and 'intrinsics' in spec.inputs:
            above, _, left, _ = spec.margins(used.height, used.width)
            numbers['intrinsics'] = np.array(
                [[used.fx, 0, used.cx + left], [0, used.fy, used.cy + above], [0, 0, 1]],
                np.float32,
            )
        maps, size = self._run({'image': image}, clock, numbers, confidence)
        depth = maps[spec.output]
        if spec.affine_points:
            focal = camera.fx * depth.shape[1] / width if camera else None
            depth = metric_depth(maps['x'], maps['y'], depth, focal)
        if used is not None and spec.canonical_focal is not None:
            depth = depth * np.float32(used.fx / spec.canonical_focal)
        clock.lap('postprocess')
        return DepthResult(depth, maps.get('confidence'), spec.output, size, clock.milliseconds)


def load_estimator(
    model: str = DEFAULT_MODEL,
    engine: str = 'auto',
    device: str = 'auto',
    options: dict[str, Any] | None = None,
    **settings: Any,
) -> StereoEstimator | MonoEstimator:
    """Make the estimator for the task of a model, by names; see `Estimator.load`."""
    made = create_engine(model, engine, device, **(options or {}))
    return (
        MonoEstimator(made, **settings)
        if made.spec.task == 'mono'
        else StereoEstimator(made, **settings)
    )


def check_image(name: str, image: np.ndarray) -> None:
    """Raise ValueError unless an image is uint8 RGB (H, W, 3)."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(
            f'{name} is {image.dtype} {image.shape}; give uint8 RGB (height, width, 3)'
        )


def check_pair(left: np.ndarray, right: np.ndarray) -> None:
    """Raise ValueError unless both images are uint8 RGB (H, W, 3) of one size."""
    check_image('left image', left)
    check_image('right image', right)
    if left.shape != right.shape:
        raise ValueError(
            f'left is {left.shape[1]}x{left.shape[0]} and right {right.shape[1]}x{right.shape[0]};'
            ' the images of a pair must have one size'
        )


class StageClock:
    """Measures the milliseconds of stages, from one lap to the next."""

    def __init__(self) -> None:
        self.milliseconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        """Store the time since the last lap under the name of a stage."""
        now = time.perf_counter()
        self.milliseconds[stage] = 1000 * (now - self._last)
        self._last = now
