"""What the estimators of all tasks share: sizes, padding, and the way through an engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import cv2
import numpy as np

from nndepth_core.engines import AUTO, Engine, EngineError, create_engine, task_of
from nndepth_core.engines.maps import resampled, resampled_map
from nndepth_core.engines.memory import check_processing_size
from nndepth_core.estimator.results import StageClock
from nndepth_core.spec import Task

if TYPE_CHECKING:
    from pathlib import Path

    from typing_extensions import Self

DEFAULT_MODEL = AUTO

_SEES = {'stereo': 'a left and a right image', 'mono': 'one image'}


def _other_task(name: str, task: Task, wanted: Task) -> str:
    """Say that a model is for the other kind of estimator."""
    return (
        f'{name} takes {_SEES[task]} and {_SEES[wanted]} '
        f'{"are" if wanted == "stereo" else "is"} given; choose a {wanted} model'
    )


class Estimator:
    """Runs an engine on images of any size; its subclasses tell how to call it.

    Args:
        engine: the engine that executes the model.
        processing_size: (width, height) to which images are resized for the engine. (0, 0) keeps
            their own size, or takes the size that the model prefers; if only one value is 0, it
            follows from the other by the aspect ratio.
        output: 'camera' returns maps of the size of the images, 'processing' of the engine's size.
        confidence_threshold: estimates whose confidence, at the size of the output, is less than
            this become NaN, and no others change; 0 keeps all.
    """

    task: ClassVar[Task]
    align_rows = False
    """Whether results follow from those before, as `StereoEstimator` can have it."""

    def __init__(
        self,
        engine: Engine,
        processing_size: tuple[int, int] = (0, 0),
        output: str = 'camera',
        confidence_threshold: float = 0.0,
    ) -> None:
        if engine.spec.task != self.task:
            raise EngineError(_other_task(engine.spec.title, engine.spec.task, self.task))
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
    ) -> Self:
        """Make an estimator by names; `options` are for the engine, `settings` for itself."""
        made = create_engine(model, engine, device, task=cls.task, **(options or {}))
        return cls(made, **settings)

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        revision: str | None = None,
        engine: str = 'auto',
        device: str = 'auto',
        *,
        model: str = '',
        options: dict[str, Any] | None = None,
        **settings: Any,
    ) -> Self:
        """Make an estimator of the model in a folder or in a repository of the Hugging Face hub.

        Args:
            source: a folder that `save_pretrained` or transformers wrote, a file of weights, or
                `owner/name[@revision][/file]` on the hub. A path that exists is taken for a path.
            revision: of the repository: a branch, a tag or a commit; None takes main.
            engine: see `create_engine`.
            device: see `create_engine`.
            model: the network, with or without its variant, where the source does not tell it.
            options: further ones of `create_engine`, such as {'commercial_only': True}.
            settings: of the estimator itself.

        Raises:
            ValueError: there is no such model, it is damaged, or it does not come from the hub.
            EngineError: no engine runs it, or it is for the other kind of estimator.
        """
        from nndepth_core.estimator.pretrained import find_pretrained

        given = options or {}
        found = find_pretrained(source, revision, model, given.get('network_settings', ''))
        if found.weights and (task := task_of(found.model.partition('-')[0])) != cls.task:
            raise EngineError(_other_task(f'{found.model} of {source}', task, cls.task))
        options = {**given, 'weights': found.weights, 'origin': found.origin}
        return cls(create_engine(found.model, engine, device, **options), **settings)

    def save_pretrained(self, folder: str | Path, license: str | None = None) -> None:
        """Write the model into a folder that `from_pretrained` and `hf upload` take.

        It holds the weights (model.safetensors) with the settings of the network, their origin
        and licence, config.json and a model card; a model that was loaded from an .onnx file is
        kept as model.onnx. Engine, device, precision and the settings of the estimator are not
        saved.

        Args:
            folder: new, empty, or an earlier one of the same kind, whose model is replaced; a
                README.md that was changed by hand stays.
            license: of the weights, such as 'MIT', where they do not state it.

        Raises:
            EngineError: the model has no file of weights, such as sgbm.
            ValueError: the folder holds something else or cannot be written, the weights have
                changed since they were loaded, or are known to be under another licence.
        """
        from nndepth_core.estimator.pretrained import save_pretrained

        save_pretrained(self.engine, folder, license)

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
                f'{engine.spec.title} on {engine.name} ({engine.device}) fails its self-test '
                f'({error!r}); choose another engine, device or precision'
            ) from error

    def warm_up(self, width: int, height: int) -> None:
        """Prepare for images of a size, so that their first run takes no longer than others."""
        spec, blank = self.engine.spec, np.zeros((height, width, 3), np.uint8)
        camera = np.array([[width, 0, width / 2], [0, width, height / 2], [0, 0, 1]], np.float32)
        numbers = dict.fromkeys(set(spec.inputs) - set(spec.images), camera)
        self._run(dict.fromkeys(spec.images, blank), StageClock(), numbers)

    @property
    def refines(self) -> bool:
        """Whether what the model gives is refined, as `StereoEstimator` can."""
        return False

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
        """(width, height) at which images of width x height are processed, with their border."""
        spec = self.engine.spec
        width, height = self._bordered(width, height)
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
            f'{fixed[1]}x{fixed[0]} (leave processing_size at 0, or export the model again)'
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
                f'images are processed at {size[0]}x{size[1]}; {self.engine.spec.title} needs at '
                f'least {minimum[1]}x{minimum[0]} (set a larger processing_size)'
            )
        # Checked once, since the engine holds the memory from then on and it is no longer free.
        if (size, whole) != self._checked and self.engine.spec.fixed_size is None:
            check_processing_size(size, whole, self._bytes_per_pixel())
            self._checked = size, whole
        return size

    def _bytes_per_pixel(self) -> int:
        """The memory beside that of other devices that a run needs at least for each pixel."""
        return self.engine.spec.bytes_per_pixel if self.engine.device == 'cpu' else 0

    def _run(
        self,
        images: Mapping[str, np.ndarray],
        clock: StageClock,
        numbers: Mapping[str, np.ndarray] | None = None,
        confidence: bool = False,
    ) -> tuple[dict[str, np.ndarray], tuple[int, int]]:
        """Bring images to the engine; return its maps (H, W) and their size, the processing size.

        Args:
            images: uint8 RGB (H, W, 3) by the names of the inputs.
            clock: measures the times of the stages.
            numbers: the other inputs, without a batch dimension.
            confidence: whether to return the confidence too, if it is not needed anyway.
        """
        size = self._checked_size(next(iter(images.values())))
        spec = self.engine.spec
        batch = {
            name: spec.pad(resampled(spec.bordered(image), size))[None]
            for name, image in images.items()
        }
        batch |= {name: values[None] for name, values in (numbers or {}).items()}
        clock.lap('preprocess')

        judged = max(self.confidence_threshold, spec.least_confidence) > 0
        maps = self._infer(batch, confidence or judged)
        clock.lap('inference')

        maps = {name: spec.crop(values, size[1], size[0]) for name, values in maps.items()}
        if spec.least_confidence:
            at_infinity = maps['confidence'] < spec.least_confidence
            maps[spec.output] = np.where(at_infinity, np.float32(np.inf), maps[spec.output])
        return maps, size

    def _infer(self, batch: Mapping[str, np.ndarray], confidence: bool) -> dict[str, np.ndarray]:
        """Run the engine on a batch of one image; return maps (H, W)."""
        return {name: values[0] for name, values in self.engine.run(batch).items()}

    def _bordered(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) of images of width x height with their mirrored border."""
        rows, columns = self.engine.spec.border_size(height, width)
        return width + 2 * columns, height + 2 * rows

    def _resized(
        self, maps: Mapping[str, np.ndarray], width: int, height: int
    ) -> dict[str, np.ndarray]:
        """Return the output and its confidence without border, at the size that is asked for.

        What is not confident enough there becomes NaN.
        """
        output = self.engine.spec.output
        shown = {name: maps[name] for name in (output, 'confidence') if name in maps}
        size = shown[output].shape[::-1] if self.output == 'processing' else (width, height)
        rows, columns = self.engine.spec.border_size(height, width)
        if rows or columns:
            whole = self._at(shown, *self._bordered(width, height))
            inner = np.s_[rows : rows + height, columns : columns + width]
            shown = {name: values[inner] for name, values in whole.items()}
        shown = self._at(shown, *size)
        if self.confidence_threshold > 0:
            values, confidence = shown[output], shown['confidence']
            kept = confidence >= self.confidence_threshold
            # What shows nothing at a finite distance is known to be far, and not doubted.
            kept |= (values == np.inf) & (confidence < self.engine.spec.least_confidence)
            shown[output] = np.where(kept, values, np.float32(np.nan))
        return shown

    def _at(
        self, maps: Mapping[str, np.ndarray], width: int, height: int
    ) -> dict[str, np.ndarray]:
        """Bring the output and its confidence to a size."""
        output = self.engine.spec.output
        if maps[output].shape == (height, width):
            return dict(maps)
        resized = {}
        for name, values in maps.items():
            values = np.ascontiguousarray(values)
            resized[name] = (
                resampled_map(values, width, height, output)
                if name == output
                else cv2.resize(values, (width, height), interpolation=cv2.INTER_LINEAR)
            )
        return resized
