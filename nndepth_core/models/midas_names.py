"""How the files of MiDaS 3.1, and of ZoeDepth, which is built on it, name their entries.

The encoders in them are those of the package timm.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from nndepth_core.models.library_network import FUSION_NAMES, split_projections

_BLOCK = r'^(pretrained\.model\.(?:layers|blocks)\..+)'

MIDAS_ALIASES = (
    (rf'{_BLOCK}\.norm1\.', r'\1.layernorm_before.'),
    (rf'{_BLOCK}\.norm2\.', r'\1.layernorm_after.'),
    (rf'{_BLOCK}\.mlp\.fc1\.', r'\1.intermediate.dense.'),
    (rf'{_BLOCK}\.mlp\.fc2\.', r'\1.output.dense.'),
    (rf'{_BLOCK}\.gamma_(\d)$', r'\1.lambda_\2'),
    (rf'{_BLOCK}\.attn\.proj\.', r'\1.attention.output.dense.'),
    (rf'{_BLOCK}\.attn\.q_bias$', r'\1.attn.query.bias'),
    (rf'{_BLOCK}\.attn\.v_bias$', r'\1.attn.value.bias'),
    (rf'{_BLOCK}\.attn\.cpb_mlp\.', r'\1.attn.continuous_position_bias_mlp.'),
    (rf'{_BLOCK}\.attn\.(\w+_bias_table)$', r'\1.attn.relative_position_bias.\2'),
    (r'^pretrained\.model\.(layers\..+)\.attn\.', r'backbone.encoder.\1.attention.self.'),
    (r'^pretrained\.model\.layers\.', 'backbone.encoder.layers.'),
    (r'^pretrained\.model\.blocks\.', 'backbone.encoder.layer.'),
    (r'^(backbone\.encoder\.layer\..+)\.attn\.', r'\1.attention.attention.'),
    (r'^pretrained\.model\.cls_token$', 'backbone.embeddings.cls_token'),
    (
        r'^pretrained\.model\.patch_embed\.proj\.',
        'backbone.embeddings.patch_embeddings.projection.',
    ),
    (r'^pretrained\.model\.patch_embed\.norm\.', 'backbone.embeddings.norm.'),
    *(
        (rf'^pretrained\.act_postprocess{level + 1}\.{theirs}', f'neck.reassemble_stage.{ours}')
        for level in range(4)
        for theirs, ours in (
            (r'0\.project', f'readout_projects.{level}'),
            (r'3', f'layers.{level}.projection'),
            (r'4', f'layers.{level}.resize'),
        )
    ),
    *FUSION_NAMES,
)
"""Patterns and replacements, for `Network.official_aliases`; the last convolutions are missing."""

MIDAS_UNUSED = (
    r'pretrained\.model\.(head|norm|fc_norm)\.',
    r'.+\.(relative_position_index|relative_coords_table|attn_mask|k_bias)$',
)
"""The classifier of the pre-training, and what follows from the size, for `official_unused`.

The keys have no bias: where a file holds one, it is zero.
"""


def split_timm_attention(official: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Split the fused matrices of queries, keys and values in a file of MiDaS."""
    return split_projections(
        official, r'(.*pretrained\.model\..+\.attn)\.qkv\.(weight|bias)', r'\1.{part}.\2'
    )
