"""## Mixed photographs

Two photographs of a batch become one, and so do their targets, in the same shares: a picture that is half of one
photograph and half of another weighs half of each, and so does its density. What is drawn depends on the place alone,
so a resumed run mixes the same. Partners are sought among the photographs that are computed at once.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch

from kernel_src.data.training_photographs import TrainingBatch
from kernel_src.recipes.training_data import CutMix, Mix, Mixup
from kernel_src.runtime.parts import OptionalPart


@dataclass(frozen=True)
class Pairing:
    """Which photograph each is mixed with, and how much of the mixture that is."""

    partners: np.ndarray  # (B,), places in the batch; never its own, unless it is alone
    shares: np.ndarray  # (B,), of the partner in the mixture, 0 where nothing is mixed


def drawn_pairing(mix: Mix, photographs: int, random: np.random.Generator) -> Pairing:
    """Draw partners and shares; the share of the partner follows Beta(alpha, alpha)."""
    alpha = cast(Any, mix).alpha  # every alternative has one
    shift = int(random.integers(1, photographs)) if photographs > 1 else 0
    partners = (np.arange(photographs) + shift) % photographs
    shares = random.beta(alpha, alpha, photographs)
    mixed = (random.random(photographs) < mix.p) & (photographs > 1)
    return Pairing(partners, np.where(mixed, shares, 0.0))


# %%
TokenMixer = Callable[[torch.Tensor], torch.Tensor]  # patch tokens (B, P, C) to mixed ones


class Mixer:
    """The mixing of photographs computed at once: pictures before the network, patches in it, labels after both."""

    def __init__(self, mix: Mix, photographs: int, seed: int) -> None:
        """Draw for so many photographs; the same seed draws the same."""
        self.mix = mix
        self.random = np.random.default_rng(seed)
        self.pairing = drawn_pairing(mix, photographs, self.random)

    @property
    def tokens(self) -> TokenMixer | None:
        """What the network's patches go through; None where pictures are mixed."""
        return None if isinstance(self.mix, CutMix | Mixup) else self.mix_tokens

    def mix_pictures(self, pictures: torch.Tensor) -> torch.Tensor:
        """Mix pictures (B, C, H, W) uint8; those of `TokenMix` stay as they are."""
        if isinstance(self.mix, CutMix):
            return self._paste(pictures)
        return self._blend(pictures) if isinstance(self.mix, Mixup) else pictures

    def mix_tokens(self, tokens: torch.Tensor) -> torch.Tensor:
        """Put patches of the partners in place of so many drawn ones, (B, P, C); shares become exact."""
        photographs, patches = tokens.shape[:2]
        taken = np.rint(self.pairing.shares * patches).astype(int)
        orders = self.random.random((photographs, patches)).argsort(1)  # each patch's rank, at random
        foreign = torch.from_numpy(orders < taken[:, None]).to(tokens.device)
        self.pairing = Pairing(self.pairing.partners, taken / patches)
        partners = torch.from_numpy(self.pairing.partners).to(tokens.device)
        return torch.where(foreign[:, :, None], tokens[partners], tokens)

    def mix_inputs(self, inputs: torch.Tensor) -> torch.Tensor:
        """Mix numbers of the table (B, I) in the shares of the pictures, after these; of `TokenMix` as drawn."""
        shares = torch.from_numpy(self.pairing.shares).to(inputs.device, inputs.dtype)[:, None]
        return torch.lerp(inputs, inputs[torch.from_numpy(self.pairing.partners).to(inputs.device)], shares)

    def mix_labels(self, batch: TrainingBatch) -> TrainingBatch:
        """Return a batch with mixed targets and weights, and the row of the photograph that has the larger share.

        To be called once what is mixed was mixed: the shares are exact only then.
        """
        values = batch["values"]
        shares = torch.from_numpy(self.pairing.shares).to(values.device, values.dtype)
        partners = torch.from_numpy(self.pairing.partners).to(values.device)
        own, foreign = 1 - shares, shares
        weight, row = batch["weight"], batch["row"]
        mixed = {
            **batch,
            "values": own[:, None] * values + foreign[:, None] * values[partners],
            "weight": own.to(weight.dtype) * weight + foreign.to(weight.dtype) * weight[partners],
            "row": torch.where(shares > 0.5, row[partners], row),
        }
        return cast(TrainingBatch, mixed)

    def _paste(self, pictures: torch.Tensor) -> torch.Tensor:
        """Paste a rectangle of the partner, of the picture's own shape, at the same place (Yun et al. 2019, eq. 2).

        Its centre is drawn over the whole picture and what sticks out is cut off; the share is what is left of it.
        """
        height, width = pictures.shape[2:]
        mixed, shares = pictures.clone(), self.pairing.shares.copy()
        for i in np.flatnonzero(shares):
            side = np.sqrt(shares[i])
            (top, bottom), (left, right) = (
                np.clip(np.rint(self.random.random() * edge + np.array([-0.5, 0.5]) * side * edge), 0, edge).astype(int)
                for edge in (height, width)
            )
            mixed[i, :, top:bottom, left:right] = pictures[self.pairing.partners[i], :, top:bottom, left:right]
            shares[i] = (bottom - top) * (right - left) / (height * width)
        self.pairing = Pairing(self.pairing.partners, shares)
        return mixed

    def _blend(self, pictures: torch.Tensor) -> torch.Tensor:
        """Average the pixels by the shares, rounded to whole levels (Zhang et al. 2018)."""
        mixed = pictures.clone()
        for i in np.flatnonzero(self.pairing.shares):
            partner, share = int(self.pairing.partners[i]), float(self.pairing.shares[i])
            mixed[i] = torch.lerp(pictures[i].float(), pictures[partner].float(), share).round_().to(pictures.dtype)
        return mixed


class MixingParts(OptionalPart):
    """What training asks for where photographs are mixed."""

    part = "mixing"
    Mixer: Any = Mixer
