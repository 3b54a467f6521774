"""## Prediction

One pass over the photographs: each is decoded once, its depth is estimated once, and every fold and every view sees the
batch before the next one is read. Memory does not grow with the number of photographs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from kernel_src.data.preprocessing import Preprocessing
from kernel_src.data.symmetries import apply_view
from kernel_src.models.half_precision import in_full_precision
from kernel_src.models.model import TargetsNet
from kernel_src.runtime.parts import optional_part


def forward_values(
    model: TargetsNet,
    pictures: torch.Tensor | Sequence[torch.Tensor],
    half: bool,
    depth: torch.Tensor | None = None,
    on_overflow: Callable[[int], None] = lambda _: None,
    inputs: torch.Tensor | None = None,
) -> torch.Tensor:
    """Predict values (B, targets) from normalised pictures (B, 3, H, W) and depth (B, C, H, W), in fp16 where faster.

    A net that sees each photograph in several framings is given as many pictures. Pictures whose half-precision result
    overflows are computed again in fp32, with their depth, and `on_overflow` gets how many. What is not finite then
    either is returned as it is, and of a net that is settled in fp16 at once. `inputs` (B, inputs) are numbers of the
    competition's table, for a net that reads any.
    """
    seen = [pictures] if isinstance(pictures, torch.Tensor) else pictures
    half = half and not model.in_fp32
    with torch.autocast(seen[0].device.type, torch.float16, enabled=half):
        answers = model(*seen, depth=depth, **inputs_for(model, inputs))
    values = model.scaling.to_values(answers)
    bad = ~torch.isfinite(values).all(1)
    if half and model.settled is None and bool(bad.any()):
        with in_full_precision(model):
            left = inputs_for(model, None if inputs is None else inputs[bad])
            again = model(*(picture[bad] for picture in seen), depth=None if depth is None else depth[bad], **left)
        values[bad] = model.scaling.to_values(again)
        on_overflow(int((bad & torch.isfinite(values).all(1)).sum()))
    return values


def inputs_for(model: TargetsNet, inputs: torch.Tensor | None) -> dict[str, torch.Tensor | None]:
    """Return the inputs (B, inputs) as an argument to a net, and nothing to one that reads none."""
    return {"inputs": inputs} if model.reads_inputs else {}


def not_finite(values: torch.Tensor) -> torch.Tensor:
    """Tell of which of (B, …) any value is not finite, (B,)."""
    return ~torch.isfinite(values.flatten(1)).all(1)


# %%
@dataclass(frozen=True, kw_only=True)
class Member:
    """The folds of one experiment and all they need to look at a batch."""

    models: Sequence[TargetsNet]  # one per fold
    preprocessing: Preprocessing
    symmetries: Sequence[tuple[int, bool]]
    framings: tuple[int, ...] = (0,)  # which of the batch's framings are theirs; with depth a single one
    estimator: nn.Module | None = None  # a DepthEstimator; None: no depth
    depth_channels: int = 1
    depth_views: str = "shared"  # or "exact"


# %%
class BatchWork:
    """All that can be predicted of one batch; pictures are normalised once per experiment, depth is estimated once."""

    def __init__(
        self,
        members: Sequence[Member | None],
        pictures: Sequence[torch.Tensor],
        half: bool,
        inputs: torch.Tensor | None = None,
    ) -> None:
        """Remember the batch, uint8 (B, 3, H, W) in each framing, and its inputs (B, inputs); nothing is computed yet.

        A member that is None cannot be asked for anything.
        """
        self.members, self.pictures, self.half, self.inputs = members, pictures, half, inputs
        self._depths: Any = None  # a BatchDepth, where a member has a depth branch
        self._normalised: dict[int, list[torch.Tensor]] = {}
        self.overflows = 0  # photographs of the last prediction that fp16 was too small for

    def values(self, number: int, model: int, view: int) -> torch.Tensor:
        """Predict (B, targets) with one model of one member in one of its views; not finite where it failed."""
        turned, depth = self._seen_by(number, view)
        self.overflows = 0
        net = self._member(number).models[model]
        values = forward_values(net, turned, self.half, depth, self._note_overflows, self.inputs)
        # A net may swallow what is not finite, and answer nonsense.
        return values if depth is None else values.masked_fill(not_finite(depth)[:, None], float("nan"))

    def _note_overflows(self, photographs: int) -> None:
        self.overflows = photographs

    def scores(self, number: int, model: int, view: int, in_half: bool) -> torch.Tensor:
        """Return the z-scores (B, targets) of one model in one view, in fp16 or in fp32 as they come: for a comparison.

        A regressor, which has no z-scores, answers in values.
        """
        net = self._member(number).models[model]
        pictures, depth = self._seen_by(number, view)
        inputs = inputs_for(net, self.inputs)
        if in_half:
            with torch.autocast(pictures[0].device.type, torch.float16):
                return net.to_loss_z(net(*pictures, depth=depth, **inputs).float())
        with in_full_precision(net):
            return net.to_loss_z(net(*pictures, depth=depth, **inputs))

    def forget_pictures(self) -> None:
        """Give up the normalised pictures, which are quickly made again, and keep the depth."""
        self._normalised.clear()

    def failure(self, number: int, view: int, values: torch.Tensor) -> str:
        """Say why some of `values`, as `values()` returned them, are not finite; empty if all are."""
        bad = not_finite(values)
        if not bool(bad.any()):
            return ""
        member = self._member(number)
        depth = self._depth_seen_by(member, member.symmetries[view])
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
        depth = self._depth_seen_by(member, symmetry)
        return [apply_view(pictures, symmetry) for pictures in self._normalised[number]], depth

    def _depth_seen_by(self, member: Member, symmetry: tuple[int, bool]) -> torch.Tensor | None:
        if member.estimator is None:
            return None
        if self._depths is None:
            self._depths = optional_part("depth").BatchDepth(self.pictures)
        seen: torch.Tensor = self._depths.seen_by(member, symmetry)
        return seen

    def _member(self, number: int) -> Member:
        member = self.members[number]
        assert member is not None
        return member
