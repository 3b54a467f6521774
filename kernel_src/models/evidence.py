"""## What the heads read

Everything beyond the backbone's own pooling of the whole photograph: several pictures of it and how they are joined,
layers from the middle, other poolings, every patch by itself; and heads whose outputs become values.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from kernel_src.competitions.held_facts import facts
from kernel_src.models.cutting import PictureCutter
from kernel_src.models.joins import SumJoin, build_join
from kernel_src.models.layer_features import (
    layer_widths,
    missing_layers,
    patch_count,
    patch_tokens,
    pooled_layers,
    pooled_width,
)
from kernel_src.models.sum_heads import PatchTotal, SummedAnswers, raw_outputs
from kernel_src.recipes.network import DenseHead, Perceptron, PooledHead
from kernel_src.recipes.predictor import Predictor
from kernel_src.runtime.parts import OptionalPart


class Evidence(nn.Module):
    """What the heads read of a photograph, and what their outputs mean."""

    def __init__(self, experiment: Predictor, backbone: Any) -> None:
        """Take from the experiment what to read of the backbone; only an attention join has weights of its own.

        Raises:
            ValueError: the backbone has not what is to be read.
        """
        super().__init__()
        head, pictures = experiment.head, experiment.pictures
        assert isinstance(head, Perceptron)  # what BackboneNet lets pass
        self.layers, self.parts = experiment.encoder.layers, len(pictures.parts)
        self.poolings = head.pool if isinstance(head, PooledHead) else ()  # none: the heads read patches
        for what in missing_layers(backbone, self.layers, self.poolings):
            raise ValueError(f"{experiment.name}: {experiment.encoder.timm} {what}")
        interpolation = str(backbone.pretrained_cfg["interpolation"])
        self.cutter = None if pictures.is_whole else PictureCutter(pictures, interpolation)
        self.grams: SummedAnswers | None = None  # named so in the weights; None: z-scores
        outputs = len(facts().targets)
        if isinstance(head, DenseHead) or head.targets != "five":
            self.grams, outputs = SummedAnswers(head.targets), raw_outputs(head.targets)
        self.join: Any = None
        # Makes one answer of those of several pictures or patches; None where a photograph has one anyway.
        self.total: Callable[[torch.Tensor], torch.Tensor] | None = None
        if isinstance(head, DenseHead):
            self.width, self.outputs = sum(layer_widths(backbone, self.layers)), [outputs]
            patches = patch_count(backbone, self.layers, pictures.sizes_px * self.parts)
            self.total = PatchTotal(head.reduce, patches)
            return
        self.width = pooled_width(backbone, self.layers, self.poolings)
        self.outputs = [outputs] if facts().are_classes else [1] * outputs
        if pictures.join is not None:
            self.join, self.width = build_join(experiment, self.width)
            self.total = self.join.total if isinstance(self.join, SumJoin) else None

    def forward(
        self, backbone: Any, photographs: torch.Tensor, mix_tokens: Callable[[torch.Tensor], torch.Tensor] | None = None
    ) -> torch.Tensor:
        """Map photographs (B, 3, H, W) to their features (B, F), or to those of their pictures or patches (B, n, F).

        Raises:
            ValueError: there are no patches to mix.
        """
        if mix_tokens is not None and self.poolings:
            raise ValueError("there are no patches to mix: the head is not a DenseHead()")
        if self.poolings:
            return self._pooled(backbone, photographs)
        tokens = self._patches(backbone, photographs)
        return tokens if mix_tokens is None else mix_tokens(tokens)

    def answers(self, outputs: torch.Tensor) -> torch.Tensor:
        """Turn the heads' outputs (B, K), or (B, n, K), into answers (B, targets)."""
        if self.grams is not None:
            values: torch.Tensor = self.grams(outputs, self.total)
            return values
        return outputs if self.total is None else self.total(outputs)

    def summary(self, features: torch.Tensor) -> torch.Tensor:
        """Return the features of each photograph (B, F): those that `forward` gave, or their mean."""
        return features if self.total is None else features.float().mean(1)

    def _pooled(self, backbone: Any, photographs: torch.Tensor) -> torch.Tensor:
        def pooled(pictures: torch.Tensor) -> torch.Tensor:
            blocks = pooled_layers(backbone, pictures, self.layers, self.poolings)
            return blocks[0] if len(blocks) == 1 else torch.cat([block.float() for block in blocks], 1)

        if self.cutter is None:
            return pooled(photographs)
        each = torch.cat([self._by_part(pooled(pictures)) for pictures in self.cutter(photographs)], 1)
        joined: torch.Tensor = each[:, 0] if self.join is None else self.join(each)
        return joined

    def _patches(self, backbone: Any, photographs: torch.Tensor) -> torch.Tensor:
        if self.cutter is None:
            return patch_tokens(backbone, photographs, self.layers)
        tokens = [patch_tokens(backbone, pictures, self.layers) for pictures in self.cutter(photographs)]
        return torch.cat([self._by_part(one).flatten(1, 2) for one in tokens], 1)

    def _by_part(self, features: torch.Tensor) -> torch.Tensor:
        """Sort (parts B, …), part by part as they were cut, by photograph: (B, parts, …)."""
        return features.unflatten(0, (self.parts, -1)).transpose(0, 1)


class EvidenceParts(OptionalPart):
    """What a network asks for that is not plain."""

    part = "evidence"
    Evidence = Evidence
