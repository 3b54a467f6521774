"""## Fusing picture and depth

A small convolutional encoder turns the depth map into a vector that joins the backbone's. Four ways to join them; a
fifth number of channels in the stem (RGBD) needs no encoder at all.
"""

import torch
from torch import nn

from kernel_src.recipes.network import Perceptron
from kernel_src.recipes.predictor import Predictor
from kernel_src.runtime.parts import OptionalPart

DEPTH_FEATURES = 256
FUSED_FEATURES = 512  # of add and attention, which need both vectors in one width
ATTENTION_HEADS = 8


def _activation(name: str) -> nn.Module:
    return nn.ReLU() if name == "relu" else nn.GELU()


class DepthEncoder(nn.Sequential):
    """Three convolutions, pooled: depth maps (B, C, H, W) to features (B, 256)."""

    def __init__(self, channels: int, activation: str, dropout: float) -> None:
        """Build as the seed's table says; the widths are 32, 64, 128."""
        super().__init__(
            nn.Conv2d(channels, 32, 7, stride=2, padding=3, bias=False),
            nn.BatchNorm2d(32),
            _activation(activation),
            nn.MaxPool2d(3, stride=2, padding=1),
            nn.Conv2d(32, 64, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(64),
            _activation(activation),
            nn.Conv2d(64, 128, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(128),
            _activation(activation),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(128, DEPTH_FEATURES),
            _activation(activation),
            nn.Dropout(dropout),
        )


# %%
class ConcatFusion(nn.Module):
    """One vector after the other."""

    def __init__(self, width: int) -> None:
        """Join `width` picture features with those of the depth."""
        super().__init__()
        self.out_features = width + DEPTH_FEATURES

    def forward(self, picture: torch.Tensor, depth: torch.Tensor) -> torch.Tensor:
        """Join (B, F) and (B, 256) to (B, F + 256)."""
        return torch.cat([picture, depth], 1)


class AddFusion(nn.Module):
    """Both projected to one width and added."""

    def __init__(self, width: int) -> None:
        """Join `width` picture features with those of the depth."""
        super().__init__()
        self.out_features = FUSED_FEATURES
        self.picture = nn.Linear(width, FUSED_FEATURES)
        self.depth = nn.Linear(DEPTH_FEATURES, FUSED_FEATURES)

    def forward(self, picture: torch.Tensor, depth: torch.Tensor) -> torch.Tensor:
        """Join (B, F) and (B, 256) to (B, 512)."""
        return self.picture(picture) + self.depth(depth)


class AttentionFusion(nn.Module):
    """Two tokens that attend to each other, averaged."""

    def __init__(self, width: int) -> None:
        """Join `width` picture features with those of the depth."""
        super().__init__()
        self.out_features = FUSED_FEATURES
        self.picture = nn.Linear(width, FUSED_FEATURES)
        self.depth = nn.Linear(DEPTH_FEATURES, FUSED_FEATURES)
        self.attention = nn.MultiheadAttention(FUSED_FEATURES, ATTENTION_HEADS, batch_first=True)
        self.norm = nn.LayerNorm(FUSED_FEATURES)

    def forward(self, picture: torch.Tensor, depth: torch.Tensor) -> torch.Tensor:
        """Join (B, F) and (B, 256) to (B, 512)."""
        tokens = torch.stack([self.picture(picture), self.depth(depth)], 1)  # (B, 2, 512)
        attended, _ = self.attention(tokens, tokens, tokens, need_weights=False)
        return self.norm(tokens + attended).mean(1)


FUSIONS: dict[str, type[ConcatFusion] | type[AddFusion] | type[AttentionFusion]] = {
    "concat": ConcatFusion,
    "add": AddFusion,
    "attention": AttentionFusion,
}


def depth_branch(experiment: Predictor, width: int) -> nn.ModuleDict:
    """Build what joins the depth with `width` picture features: an encoder, and the fusion of both vectors."""
    depth, head = experiment.depth, experiment.head
    assert depth is not None and isinstance(head, Perceptron)  # what `Predictor` lets pass
    fusion = FUSIONS[depth.fusion](width)
    encoder = DepthEncoder(depth.channels, head.activation, head.dropout)
    return nn.ModuleDict({"encoder": encoder, "fusion": fusion})


class FusionParts(OptionalPart):
    """What a network asks for where it has a depth branch."""

    part = "depth"
    depth_branch = staticmethod(depth_branch)
