"""## Joining pictures

Several pictures of a photograph have a vector of features each; a join makes one vector of them, or leaves each to be
answered by itself.
"""

from typing import Any

import torch
from torch import nn

from kernel_src.recipes.pictures import Attention, Pictures, SideBySide, Sum
from kernel_src.recipes.predictor import Predictor


class SumJoin(nn.Module):
    """Each picture is answered by itself and the values are added; the sizes of one part are averaged.

    A picture's answer is what the whole photograph would weigh if it all looked like this one; so it is weighed by the
    share of the photograph that it shows. The values so added are those of the parts: with z-scores z of pictures with
    shares w, Σ w (z σ + μ) = (Σ w z) σ + μ.
    """

    def __init__(self, pictures: Pictures) -> None:
        """Take the shares of the parts."""
        super().__init__()
        total = sum(pictures.shares) * len(pictures.scales)
        shares = [share / total for _ in pictures.scales for share in pictures.shares]
        self.shares = shares  # of the pictures, in their order; they add up to 1

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Leave (B, pictures, F) as it is."""
        return features

    def total(self, answers: torch.Tensor) -> torch.Tensor:
        """Add (B, pictures, K), answers that each stand for a whole photograph, to (B, K)."""
        weights = answers.new_tensor(self.shares)
        return (answers * weights[:, None]).sum(1)


class MeanJoin(nn.Module):
    """The features of all pictures are averaged."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Join (B, pictures, F) to (B, F)."""
        return features.mean(1)


class SideBySideJoin(nn.Module):
    """The features stand beside one another."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Join (B, pictures, F) to (B, pictures F)."""
        return features.flatten(1)


class AttentionJoin(nn.Module):
    """The features attend to one another, with a place learnt for each picture, and are averaged.

    One layer of self-attention with residual and norm (Vaswani et al. 2017), as the 1st of the competition had it
    across the two halves.
    """

    def __init__(self, pictures: int, width: int, heads: int) -> None:
        """Join so many pictures of `width` features, which the heads share out among them."""
        super().__init__()
        self.place = nn.Parameter(nn.init.trunc_normal_(torch.empty(pictures, width), std=0.02))
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm = nn.LayerNorm(width)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Join (B, pictures, F) to (B, F)."""
        tokens = features + self.place
        attended, _ = self.attention(tokens, tokens, tokens, need_weights=False)
        joined: torch.Tensor = self.norm(tokens + attended).mean(1)
        return joined


# %%
def build_join(experiment: Predictor, width: int) -> tuple[Any, int]:
    """Build what joins the pictures of a photograph, `width` features each; also return how many features it leaves.

    Raises:
        ValueError: the features cannot be shared out among the attention heads.
    """
    pictures, join = experiment.pictures, experiment.pictures.join
    if isinstance(join, Sum):
        return SumJoin(pictures), width
    if isinstance(join, SideBySide):
        return SideBySideJoin(), width * pictures.count
    if isinstance(join, Attention):
        if width % join.heads:
            raise ValueError(
                f"{experiment.name}: pictures.join={join}: {width} features cannot be shared out among so many heads"
            )
        return AttentionJoin(pictures.count, width, join.heads), width
    return MeanJoin(), width
