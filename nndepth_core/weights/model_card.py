"""Model cards as the Hugging Face hub shows them, made by huggingface_hub."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from nndepth_core.spec import ModelSpec, title_of
from nndepth_core.weights.catalogue import BENCHMARKS, Checkpoint, Network, catalogue
from nndepth_core.weights.checkpoint import CheckpointError
from nndepth_core.weights.licenses import NOT_STATED, card_of_license
from nndepth_core.weights.settings import LIBRARY, show_settings


def require_hub() -> None:
    """Refuse to go on without huggingface_hub.

    Raises:
        CheckpointError: it is not installed.
    """
    if find_spec('huggingface_hub') is None:
        raise CheckpointError(
            'a model card cannot be written without huggingface_hub; pip install "nndepth[torch]"'
        )


def model_card(config: Mapping[str, Any], spec: ModelSpec) -> str:
    """Write the card of a saved model.

    Args:
        config: its configuration, see `saved.config_of`.
        spec: what the model takes and gives.

    Returns:
        The text of README.md, with the metadata that the hub reads.
    """
    from huggingface_hub import ModelCard, ModelCardData

    network = catalogue().get(config['model'])
    published = network.checkpoints.get(config['checkpoint'] or '') if network else None
    terms = card_of_license(config['license'])
    data = ModelCardData(
        library_name=LIBRARY,
        pipeline_tag='depth-estimation',
        tags=[spec.task, spec.output.replace('_', '-'), config['model']],
        license=terms.get('license'),
        license_name=terms.get('license_name'),
    )
    facts = _facts(config, spec, network, published)
    rows = '\n'.join(f'| {name} | {fact} |' for name, fact in facts.items() if fact)
    title = title_of(config['model'], config['variant'])
    kind = f'{spec.task.capitalize()}Estimator'
    extra = 'cpu' if config['file'].endswith('.onnx') else 'torch'
    text = f"""\
# {title}

{f'{network.title}. ' if network else ''}Saved by nndepth, which gives it images of any size.

```bash
pip install "nndepth[{extra}]"
```

```python
from nndepth_core import {kind}

result = {kind}.from_pretrained('OWNER/NAME')({', '.join(spec.images)})
```

OWNER/NAME is this repository, or give the folder of a copy.

| | |
|---|---|
{rows}
"""
    return str(ModelCard(f'---\n{data.to_yaml()}\n---\n\n{text}'))


def _facts(
    config: Mapping[str, Any],
    spec: ModelSpec,
    network: Network | None,
    published: Checkpoint | None,
) -> dict[str, str | None]:
    """What is known of the model, by what it is called."""
    figures = published.metrics.items() if published else ()
    unit = f', {spec.unit}' if spec.unit else ''
    return {
        'takes': ', '.join(spec.inputs),
        'gives': ', '.join(spec.maps).replace('_', ' ') + unit,
        'settings': show_settings(config['settings']),
        'weights licence': config['license'] or NOT_STATED,
        'commercial use, by the licence': config['commercial_use'],
        'caution': published.caution if published and published.commercial else '',
        'trained on': published.trained_on if published else '',
        'published errors': ', '.join(f'{BENCHMARKS[key]} {value}' for key, value in figures),
        'made from': f'`{config["source"]}`',
        'on the hub': config['hub'],
        'sha256 of that file': f'`{config["source_sha256"]}`',
        f'sha256 of {config["file"]}': f'`{config["sha256"]}`',
        'paper': network.paper if network else '',
        "authors' code": network.code if network else '',
    }
