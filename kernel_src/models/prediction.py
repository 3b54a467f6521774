"""## Prediction

One pass over the photographs: each is decoded once, its depth is estimated once, and every fold and every view sees the
batch before the next one is read. Memory does not grow with the number of photographs.
"""

import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
from tqdm.auto import tqdm

from kernel_src.competition.constants import TARGETS
from kernel_src.data.preprocessing import Preprocessing
from kernel_src.data.symmetries import UPRIGHT, apply_view
from kernel_src.models.depth import DepthEstimator
from kernel_src.models.half_precision import in_full_precision
from kernel_src.models.model import GramsNet
from kernel_src.runtime.device import DeviceReport

LOADING_PROCESSES = 4  # more do not help: a GPU cannot take pictures so fast


def loading_processes(device: DeviceReport) -> int:
    """Return how many processes decode: none beside a CPU that computes, beside a GPU its share of the cores."""
    if device.kind != "cuda":
        return 0
    return max(1, min(LOADING_PROCESSES, len(os.sched_getaffinity(0)) // device.processes))


def forward_grams(
    model: GramsNet,
    pictures: torch.Tensor | Sequence[torch.Tensor],
    half: bool,
    depth: torch.Tensor | None = None,
    on_overflow: Callable[[int], None] = lambda _: None,
) -> torch.Tensor:
    """Predict grams (B, 5) from normalised pictures (B, 3, H, W) and their depth (B, C, H, W), in fp16 where faster.

    A net that sees each photograph in several framings is given as many pictures. Pictures whose half-precision result
    overflows are computed again in fp32, with their depth, and `on_overflow` is told how many. What is not finite then
    either is returned as it is.
    """
    seen = [pictures] if isinstance(pictures, torch.Tensor) else pictures
    half = half and not model.in_fp32
    with torch.autocast(seen[0].device.type, torch.float16, enabled=half):
        z = model(*seen, depth=depth)
    grams = model.scaling.to_grams(z)
    bad = ~torch.isfinite(grams).all(1)
    if half and bool(bad.any()):
        with in_full_precision(model):
            again = model(*(picture[bad] for picture in seen), depth=None if depth is None else depth[bad])
        grams[bad] = model.scaling.to_grams(again)
        on_overflow(int((bad & torch.isfinite(grams).all(1)).sum()))
    return grams


@torch.inference_mode()
def estimate_depth(estimator: DepthEstimator, pictures: torch.Tensor, channels: int) -> torch.Tensor:
    """Estimate depth (B, C, H, W) of uint8 pictures (B, 3, H, W) as training does: in fp32, rounded as its cache is."""
    with torch.autocast(pictures.device.type, enabled=False):
        return estimator(pictures, channels).half().float()


def not_finite(values: torch.Tensor) -> torch.Tensor:
    """Tell of which of (B, …) any value is not finite, (B,)."""
    return ~torch.isfinite(values.flatten(1)).all(1)


# %%
@dataclass(frozen=True, kw_only=True)
class Member:
    """The folds of one experiment and all they need to look at a batch."""

    models: Sequence[GramsNet]  # one per fold
    preprocessing: Preprocessing
    symmetries: Sequence[tuple[int, bool]]
    framings: tuple[int, ...] = (0,)  # which of the batch's framings are theirs; with depth a single one
    estimator: DepthEstimator | None = None  # None: no depth
    depth_channels: int = 1
    depth_views: str = "shared"  # or "exact"


class BatchDepth:
    """The depth maps of one batch: each is computed once, for whoever asks first, and kept for the others."""

    def __init__(self, pictures: Sequence[torch.Tensor]) -> None:
        """Remember the batch, uint8 (B, 3, H, W) in each framing; nothing is computed yet."""
        self.pictures = pictures
        self._known: dict[tuple[int, int, int, tuple[int, bool]], torch.Tensor] = {}

    def seen_by(self, member: Member, view: tuple[int, bool]) -> torch.Tensor | None:
        """Return the maps (B, C, H, W) that belong to the turned pictures, None where no depth is wanted.

        "shared" turns the one map together with the picture. The depth model is not exactly equivariant, so that is an
        approximation (bench/depth_views.py measures it); "exact" looks at each turned picture, once for all folds.
        """
        if member.estimator is None:
            return None
        if member.depth_views == "exact":
            return self._estimated(member.estimator, member, view)
        return apply_view(self._estimated(member.estimator, member, UPRIGHT), view)

    def _estimated(self, estimator: DepthEstimator, member: Member, view: tuple[int, bool]) -> torch.Tensor:
        (framing,) = member.framings
        key = (id(estimator), framing, member.depth_channels, view)
        if key not in self._known:
            turned = apply_view(self.pictures[framing], view)
            self._known[key] = estimate_depth(estimator, turned, member.depth_channels)
        return self._known[key]


# %%
class BatchWork:
    """All that can be predicted of one batch; pictures are normalised once per experiment, depth is estimated once."""

    def __init__(self, members: Sequence[Member | None], pictures: Sequence[torch.Tensor], half: bool) -> None:
        """Remember the batch, uint8 (B, 3, H, W) in each framing; nothing is computed yet.

        A member that is None cannot be asked for anything.
        """
        self.members, self.pictures, self.half = members, pictures, half
        self.depths = BatchDepth(pictures)
        self._normalised: dict[int, list[torch.Tensor]] = {}
        self.overflows = 0  # photographs of the last prediction that fp16 was too small for

    def grams(self, number: int, model: int, view: int) -> torch.Tensor:
        """Predict (B, 5) in grams with one model of one member in one of its views; not finite where it failed."""
        turned, depth = self._seen_by(number, view)
        self.overflows = 0
        grams = forward_grams(self._member(number).models[model], turned, self.half, depth, self._note_overflows)
        # A net may swallow what is not finite, and answer nonsense.
        return grams if depth is None else grams.masked_fill(not_finite(depth)[:, None], float("nan"))

    def _note_overflows(self, photographs: int) -> None:
        self.overflows = photographs

    def scores(self, number: int, model: int, view: int, in_half: bool) -> torch.Tensor:
        """Return the z-scores (B, 5) of one model in one view, in fp16 or in fp32 as they come: for a comparison."""
        net = self._member(number).models[model]
        pictures, depth = self._seen_by(number, view)
        if in_half:
            with torch.autocast(pictures[0].device.type, torch.float16):
                return net(*pictures, depth=depth).float()
        with in_full_precision(net):
            return net(*pictures, depth=depth)

    def forget_pictures(self) -> None:
        """Give up the normalised pictures, which are quickly made again, and keep the depth."""
        self._normalised.clear()

    def failure(self, number: int, view: int, grams: torch.Tensor) -> str:
        """Say why some of `grams`, as `grams()` returned them, are not finite; empty if all are."""
        bad = not_finite(grams)
        if not bool(bad.any()):
            return ""
        member = self._member(number)
        depth = self.depths.seen_by(member, member.symmetries[view])
        if depth is not None and bool((bad_maps := not_finite(depth)).any()):
            return f"{int(bad_maps.sum())} of {len(depth)} depth maps are NaN or infinite: the depth model is broken"
        return f"{int(bad.sum())} of {len(bad)} predictions are NaN or infinite: the weights or the pictures are broken"

    def _seen_by(self, number: int, view: int) -> tuple[list[torch.Tensor], torch.Tensor | None]:
        """Return what a member's nets see in one of its views: normalised pictures, and their depth."""
        member = self._member(number)
        if number not in self._normalised:
            seen = [self.pictures[framing] for framing in member.framings]
            self._normalised[number] = [member.preprocessing.normalise(pictures) for pictures in seen]
        symmetry = member.symmetries[view]
        depth = self.depths.seen_by(member, symmetry)
        return [apply_view(pictures, symmetry) for pictures in self._normalised[number]], depth

    def _member(self, number: int) -> Member:
        member = self.members[number]
        assert member is not None
        return member


def predict_batch(members: Sequence[Member], pictures: Sequence[torch.Tensor], half: bool) -> list[torch.Tensor]:
    """Predict one batch, uint8 (B, 3, H, W) in each framing: per member (models, B, 5) in grams, mean over views.

    Raises:
        FloatingPointError: a prediction or a depth map is not finite.
    """
    work, predicted = BatchWork(members, pictures, half), []
    for number, member in enumerate(members):
        total = torch.zeros(len(member.models), len(pictures[0]), len(TARGETS), device=pictures[0].device)
        for view in range(len(member.symmetries)):
            for model in range(len(member.models)):
                grams = work.grams(number, model, view)
                if why := work.failure(number, view, grams):
                    raise FloatingPointError(why)
                total[model] += grams
        predicted.append(total / len(member.symmetries))
    return predicted


def batch_loader(photographs: Dataset, batch_size: int, device: DeviceReport) -> DataLoader:
    """Serve photographs in their order, in batches, decoded by as many processes as the device deserves."""
    return DataLoader(photographs, batch_size, num_workers=loading_processes(device), pin_memory=device.kind == "cuda")


@torch.inference_mode()
def predict_members(
    members: Sequence[Member],
    batches: Iterable[Sequence[torch.Tensor]],
    batch_count: int,
    *,
    device: DeviceReport,
    after_first_batch: Callable[[float], None] = lambda _: None,
) -> list[np.ndarray]:
    """Predict with several experiments in one pass: per member (models, images, 5) in grams, unconstrained.

    A batch holds uint8 pictures (B, 3, H, W) in each framing. `after_first_batch` is told the projected seconds of the
    whole pass, and may refuse to go on.

    Raises:
        FloatingPointError: a prediction or a depth map is not finite.
        ImageError: a photograph cannot be read.
    """
    target = torch.device(device.kind)
    for member in members:
        for model in member.models:
            # Channels last is what convolutions compute fastest in, on CPU and GPU.
            model.to(target).to(memory_format=torch.channels_last).eval()
        if member.estimator is not None:
            member.estimator.to(target).eval()
    done: list[list[torch.Tensor]] = [[] for _ in members]
    start = time.perf_counter()
    for number, raw in enumerate(tqdm(batches, desc="predicting", unit="batch", total=batch_count)):
        pictures = [framing.to(target, non_blocking=True) for framing in raw]
        for parts, grams in zip(done, predict_batch(members, pictures, device.half), strict=True):
            parts.append(grams.cpu())
        if number == 0:
            after_first_batch((time.perf_counter() - start) * batch_count)
    return [
        torch.cat(parts, 1).double().numpy() if parts else np.zeros((len(member.models), 0, len(TARGETS)))
        for member, parts in zip(members, done, strict=True)
    ]


def predict_grams(
    models: Sequence[GramsNet],
    photographs: Dataset[torch.Tensor],
    *,
    preprocessing: Preprocessing,
    symmetries: Sequence[tuple[int, bool]],
    device: DeviceReport,
    batch_size: int,
    estimator: DepthEstimator | None = None,
    depth_channels: int = 1,
    depth_views: str = "shared",
    after_first_batch: Callable[[float], None] = lambda _: None,
) -> np.ndarray:
    """Predict with several models of one experiment, averaged over the views: (models, images, 5) in grams.

    See `predict_members` for what is raised and what `after_first_batch` is told.
    """
    member = Member(
        models=models,
        preprocessing=preprocessing,
        symmetries=symmetries,
        estimator=estimator,
        depth_channels=depth_channels,
        depth_views=depth_views,
    )
    loader = batch_loader(photographs, batch_size, device)
    batches = ([raw] for raw in loader)
    return predict_members([member], batches, len(loader), device=device, after_first_batch=after_first_batch)[0]
