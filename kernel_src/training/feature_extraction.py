"""## Frozen features of photographs

What a regressor is fitted on: each photograph is decoded once, and each of its pictures passes the frozen backbone
once, as it will in inference. Features are fp32; the arithmetic is fp16 where a comparison of the two allows it.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from kernel_src.bundle.bundle_prediction import PhotographFiles
from kernel_src.bundle.bundles import framings_of
from kernel_src.models.frozen_features import FrozenFeatures, load_frozen_features
from kernel_src.models.half_precision import in_full_precision, keep_in_half
from kernel_src.models.precision import COMPARED_PHOTOGRAPHS, PrecisionChoice, choose_precision
from kernel_src.models.prediction import not_finite
from kernel_src.models.starting_weights import preprocessing_of
from kernel_src.recipes.changes import changed
from kernel_src.recipes.experiment import Experiment
from kernel_src.runtime.device import DeviceReport
from kernel_src.runtime.memory import is_out_of_memory

TOO_LITTLE_MEMORY = (
    "one photograph at a time needs more memory than the device has: take smaller pictures.scales, or a smaller encoder"
)


class FeatureExtractor:
    """A frozen backbone on a device, and how many photographs it takes at once."""

    def __init__(self, experiment: Experiment, weights: Path, device: DeviceReport, at_once: int) -> None:
        """Load the backbone; where fp16 is fast its weights are kept in it, so that a larger one finds room.

        Raises:
            WeightsError: the weights do not fit.
            ValueError: the backbone cannot do what the experiment asks of it.
        """
        self.experiment, self.weights, self.device = experiment, weights, device
        self.at_once = 1 if device.spread else at_once  # beside one that is spread there is little room
        self.preprocessing = preprocessing_of(experiment.encoder.timm)
        self.framings = framings_of(experiment, self.preprocessing)
        self.half = device.half and experiment.encoder.precision != "fp32"
        self.overflows = 0  # photographs that were computed once more, in fp32
        self.net = self._load()

    def _load(self) -> FrozenFeatures:
        experiment, spread = self.experiment, self.device.spread
        if spread and not self.half:
            experiment = changed(experiment, {"encoder.precision": "fp32"})
        net = load_frozen_features(experiment, self.weights, spread)
        if self.half:
            keep_in_half(net)
        net.to(self.device.kind).to(memory_format=torch.channels_last)  # as inference does
        return net

    def choose_precision(self, paths: Sequence[Path]) -> PrecisionChoice:
        """Decide as the experiment says; `auto` compares the features of the first few of these photographs.

        Of a backbone that is spread over several GPUs its loading has decided.

        Raises:
            ImageError: one cannot be read.
        """
        if self.net.settled is not None:
            return self.net.settled
        files = PhotographFiles(paths[:COMPARED_PHOTOGRAPHS], self.framings)

        def compute(half: bool) -> torch.Tensor:
            pictures = [torch.stack(one) for one in zip(*(files[row] for row in range(len(files))), strict=True)]
            rows = [self._pass([one[row : row + 1] for one in pictures], half) for row in range(len(files))]
            return torch.cat(rows)

        try:
            choice = choose_precision(self.experiment.encoder.precision, self.device.half, compute)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            choice = PrecisionChoice(True, "the memory is too small for fp32, so nothing was compared")
        self.use(choice.half)
        return choice

    def use(self, half: bool) -> None:
        """Compute in fp16 or fp32 from now on; for fp32 the weights are read again, as they were never rounded."""
        if half != self.half and self.net.settled is None:
            self.half = half
            del self.net  # there may be no room for both
            self.net = self._load()

    def features(self, pictures: Sequence[torch.Tensor]) -> np.ndarray:
        """Return the features (B, F) in fp32 of uint8 pictures (B, 3, H, W), one tensor for each framing.

        What does not fit into the memory is tried again in halves, and no more at once from then on. A row may hold
        what is not finite in fp32 either.

        Raises:
            RuntimeError: not even one photograph finds room.
        """
        parts, done = [], 0
        while done < len(pictures[0]):
            part = [one[done : done + self.at_once] for one in pictures]
            found = self._pass_or_halve(part)
            if found is not None:
                parts.append(found.cpu().numpy())
                done += len(part[0])
        return np.concatenate(parts)

    def _pass_or_halve(self, part: Sequence[torch.Tensor]) -> torch.Tensor | None:
        try:
            return self._pass(part, self.half)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if len(part[0]) == 1:
                raise RuntimeError(TOO_LITTLE_MEMORY) from error
        self.at_once = len(part[0]) // 2  # outside the clause, which holds the tensors that found no room
        if self.device.kind == "cuda":
            torch.cuda.empty_cache()
        print(f"too little memory for {len(part[0])} photographs at once: {self.at_once} from now on", flush=True)
        return None

    @torch.inference_mode()
    def _pass(self, part: Sequence[torch.Tensor], half: bool) -> torch.Tensor:
        pictures = [self.preprocessing.normalise(one.to(self.device.kind)) for one in part]
        if not half:
            with in_full_precision(self.net):
                return self.net(*pictures)
        with torch.autocast(self.device.kind, torch.float16):
            features: torch.Tensor = self.net(*pictures)
        bad = not_finite(features)
        if bool(bad.any()) and self.net.settled is None:
            with in_full_precision(self.net):
                features[bad] = self.net(*(one[bad] for one in pictures))
            self.overflows += int(bad.sum())
        return features
