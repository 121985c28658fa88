"""Runs the whole demo: renders or finds the sequence, plays it to each model, and reports."""

from __future__ import annotations

from pathlib import Path

from nndepth_ros.demo import DemoError
from nndepth_ros.demo.report import ModelReport, evaluate
from nndepth_ros.demo.sequence import SequenceSettings, cached_sequence
from nndepth_ros.demo.session import play, prepare_environment
from nndepth_ros.parameters.rate import CAMERA, TARGET_RATE


def run_demo(
    models: list[str],
    folder: Path,
    settings: SequenceSettings,
    parameters: list[str],
    timeout: float,
    domain: int | None,
) -> list[ModelReport]:
    """Run the models one after the other on the same sequence, at the rate of its frames.

    Args:
        models: values of the node's parameter `model`.
        folder: the folder for sequence, outputs and pictures.
        settings: what to render.
        parameters: further parameters of the node, each as 'name:=value'.
        timeout: seconds that a model may need until its first output.
        domain: ROS_DOMAIN_ID; None takes one that only the demo uses.

    Raises:
        DemoError: a model gives nothing, or figures are missing in the report.
    """
    folder.mkdir(parents=True, exist_ok=True)
    prepare_environment(folder / 'log', domain)
    sequence = cached_sequence(folder, settings)
    given = any(parameter.startswith(f'{TARGET_RATE.name}:=') for parameter in parameters)
    paced = [] if given else [f'{TARGET_RATE.name}:={CAMERA}']
    reports = []
    for model in models:
        name = Path(model).stem
        bag, log = folder / 'output' / name, folder / f'{name}.log'
        values = [f'model:={model}', *paced, *parameters]
        stamps = play(sequence, bag, values, log, timeout)
        report = evaluate(model, sequence, bag, stamps, folder / name)
        if not report.complete():
            raise DemoError(f'figures are missing: {report}')
        reports.append(report)
    return reports
