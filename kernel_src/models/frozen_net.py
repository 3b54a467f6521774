"""## The frozen net

A regressor on frozen features, in the place of a fine-tuned network: the rest of the notebook need not know which of
the two it has. The backbone works on the device in its precision, the regressor on the CPU in fp64.
"""

import numpy as np
import torch

from kernel_src.competitions.held_facts import facts
from kernel_src.models.frozen_features import FrozenFeatures
from kernel_src.models.model import TargetScaling, TargetsNet
from kernel_src.models.regressor import Regressor


class FrozenNet(TargetsNet):
    """Frozen features and the regressor that reads them."""

    def __init__(self, features: FrozenFeatures, regressor: Regressor) -> None:
        """Take both as they are; nothing here is trained."""
        super().__init__()
        self.features, self.regressor = features, regressor
        self.settled = features.settled
        self.scaling = TargetScaling()  # the identity: a regressor answers in values

    def forward(self, *pictures: torch.Tensor, depth: torch.Tensor | None = None) -> torch.Tensor:
        """Map normalised pictures (B, 3, H, W), one for each framing, to values (B, targets).

        A photograph with a feature that is not finite has NaN.

        Raises:
            ValueError: there is depth, or the regressor was fitted on another number of features.
        """
        if depth is not None:
            raise ValueError("a regressor on frozen features has no use for depth")
        features = self.features(*pictures).cpu().numpy()
        values = np.full((len(features), len(facts().targets)), np.nan)
        there = np.isfinite(features).all(1)
        if there.any():
            values[there] = self.regressor.predict(features[there])
        return torch.from_numpy(values).float().to(pictures[0].device)
