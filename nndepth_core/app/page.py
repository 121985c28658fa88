"""The Gradio page: two images or one go in; pictures, a cloud to turn and files come out."""

from __future__ import annotations

import html
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import gradio as gr

from nndepth_core.app.actions import AnyEstimator, Request, answer
from nndepth_core.cli import explain
from nndepth_core.cli.errors import EXPECTED_ERRORS

_KEPT = 3600
"""Seconds after which the files of a visitor are removed."""
_LOADED = 2
"""How many models stay in memory."""
_LARGEST_UPLOAD = '256mb'


@contextmanager
def served(
    load: Callable[[str], AnyEstimator],
    host: str,
    port: int,
    max_pixels: int,
    models: list[tuple[str, str]],
    folder: Path,
) -> Iterator[str]:
    """Serve the page and give its address.

    Args:
        load: makes the estimator of a model by its name.
        host: the address of this machine at which to listen.
        port: the port, which must be free.
        max_pixels: larger images are refused.
        models: label and name of each model, the one that is chosen at first in front.
        folder: where files of a request lie until they are shown.

    Raises:
        EngineError: the first model cannot be run.
    """
    busy, load = threading.Lock(), lru_cache(_LOADED)(load)
    load(models[0][1])
    page = make_page(load, max_pixels, models, folder, busy)
    try:
        _, address, _ = page.launch(
            server_name=host,
            server_port=port,
            share=False,
            quiet=True,
            prevent_thread_lock=True,
            show_error=True,
            ssr_mode=False,
            pwa=False,
            run_history=False,
            mcp_server=False,
            footer_links=[],
            max_file_size=_LARGEST_UPLOAD,
        )
        yield address
    finally:
        page.close(verbose=False)
        busy.acquire()  # an engine that still runs when Python ends would abort the process


def make_page(
    load: Callable[[str], AnyEstimator],
    max_pixels: int,
    models: list[tuple[str, str]],
    folder: Path,
    busy: threading.Lock,
) -> gr.Blocks:
    """Make the page; see `served`. One estimate is made at a time, while `busy` is held."""

    def estimate(
        left: Path | None,
        right: Path | None,
        model: str,
        focal: float | None,
        baseline: float | None,
        files: list[str] | None,
        confidence: bool,
    ) -> Iterator[tuple[Any, ...]]:
        paths = tuple(map(Path, files or ()))
        request = Request(left, right, model, focal, baseline, paths, confidence, max_pixels)
        with tempfile.TemporaryDirectory(dir=folder) as own:
            try:
                with busy:
                    made = answer(request, load, Path(own))
            except EXPECTED_ERRORS as error:
                raise _shown(explain(error)) from error
            except MemoryError as error:
                raise _shown('memory ran out; give smaller images') from error
            pictures = [(picture, title) for title, picture in made.pictures.items()]
            if made.confidence is not None:
                pictures.append((made.confidence, 'confidence, 0 (black) to 1 (white)'))
            # what is yielded has been copied when this goes on, and the folder can be removed
            yield (
                gr.Gallery(pictures, selected_index=0),
                gr.Model3D(str(made.cloud) if made.cloud else None, visible=bool(made.cloud)),
                [str(path) for path in made.files],
                '\n'.join(f'- {html.escape(note)}' for note in made.notes),
            )

    with gr.Blocks(
        title='nndepth', analytics_enabled=False, delete_cache=(_KEPT // 6, _KEPT)
    ) as page:
        gr.Markdown('# nndepth\nDepth from a rectified stereo pair, or from a single image.')
        with gr.Row():
            with gr.Column():
                with gr.Row():
                    left = _image('Left image, or the only one', 'left')
                    right = _image('Right image', 'right')
                swap = gr.Button('Exchange left and right', size='sm')
                model = gr.Dropdown(models, value=models[0][1], label='Model')
                with gr.Accordion('Metres', open=False):
                    with gr.Row():
                        focal = gr.Number(None, label='Focal length, pixels')
                        baseline = gr.Number(None, label='Baseline, metres')
                    files = gr.Files(
                        label='or the calibration: one file, or those of both cameras', height=120
                    )
                confidence = gr.Checkbox(True, label='Confidence')
                run = gr.Button('Estimate', variant='primary', elem_id='estimate')
            with gr.Column(scale=2):
                gallery = gr.Gallery(
                    label='Maps',
                    preview=True,
                    height=480,
                    object_fit='contain',
                    format='png',
                    interactive=False,
                    buttons=['download', 'fullscreen'],
                    elem_id='maps',
                )
                cloud = gr.Model3D(label='Cloud', height=400, elem_id='cloud')
                results = gr.Files(label='Download', interactive=False, elem_id='files')
                notes = gr.Markdown(elem_id='notes')
        swap.click(lambda one, other: (other, one), [left, right], [left, right])
        run.click(
            estimate,
            [left, right, model, focal, baseline, files, confidence],
            [gallery, cloud, results, notes],
        )
    return page


def _image(label: str, name: str) -> gr.Image:
    image = gr.Image(
        label=label,
        sources=['upload', 'clipboard'],
        buttons=['fullscreen'],
        elem_id=name,
        height=240,
    )
    # gr.Image decodes by Pillow; nndepth reads the file itself and says what is wrong with it
    image.preprocess = _path_of  # type: ignore[method-assign, assignment]
    return image


def _path_of(payload: Any) -> Path | None:
    return Path(payload.path) if payload and payload.path else None


def _shown(text: str) -> gr.Error:
    """An error that stays on the page until it is closed; it takes HTML."""
    return gr.Error(html.escape(text), duration=None, print_exception=False)
