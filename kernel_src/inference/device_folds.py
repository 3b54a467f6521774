"""## The folds on a device

Every fold that fits beside the others stays on the device, the most valuable first. One that does not is loaded anew
whenever it is needed, into the place of the least valuable one: its file is read again, from the page cache if that has
room, so that host memory never holds the weights a second time, however many devices there are. An error while a
fold is loaded costs this fold only.
"""

import gc
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import nn

from kernel_src.bundle.bundles import Bundle, BundleRecipe, load_recipe, member_of
from kernel_src.data.images import Framing
from kernel_src.models.half_precision import keep_in_full, keep_in_half
from kernel_src.models.model import TargetsNet, refill_fold
from kernel_src.models.precision import PrecisionChoice
from kernel_src.models.prediction import Member
from kernel_src.runtime.files import WeightsError
from kernel_src.runtime.manifest import BundleError
from kernel_src.runtime.memory import available_bytes, is_out_of_memory
from kernel_src.runtime.weight_files import files_of

WHOLE_BUNDLE = -1  # in the place of a fold
# What reading, building and moving a net can raise: a file's faults, those of a net that does not fit its config, and
# RuntimeError, which is what CUDA's are.
LOADING_ERRORS = (
    *(BundleError, WeightsError, SafetensorError, ImportError, ValueError, OSError, RuntimeError, MemoryError),
    *(LookupError, TypeError, AttributeError, AssertionError),
)
ROOM_SHARE = 0.2  # of a GPU's memory that stays free of weights, for pictures and feature maps
SMALL_BYTES = 64e6  # of a fold that is not worth asking whether it fits
Place = tuple[int, int]  # bundle, fold


class CannotLoad(Exception):
    """A fold cannot be loaded, with the reason."""

    def __init__(self, bundle: int, fold: int, why: str) -> None:
        """Name the fold, which may be WHOLE_BUNDLE."""
        super().__init__(why)
        self.bundle, self.fold, self.why = bundle, fold, why


# %%
class DeviceFolds:
    """All folds, on the device or in their files."""

    def __init__(
        self,
        recipes: Sequence[BundleRecipe | None],
        order: Sequence[Place],
        framings: Sequence[Framing],
        device: torch.device,
        half: bool,
        announce: Callable[[int, int], None],
    ) -> None:
        """Load nothing yet; `order` names the usable folds by value, `announce` is called before each is loaded."""
        self.recipes, self.order, self.framings, self.device, self.half = recipes, order, framings, device, half
        self.announce = announce
        self.members: list[Member | None] = [None] * len(recipes)
        self.streamed: set[Place] = set()  # those that do not stay
        self._on_device: set[Place] = set()
        self._nets: list[list[TargetsNet]] = [
            [TargetsNet()] * len(recipe.folds) if recipe else [] for recipe in recipes
        ]
        self._failed: dict[Place, CannotLoad] = {}
        self._depths: dict[str, nn.Module] = {}  # DepthEstimators by their sha256
        self._in_full: set[Place] = set()
        self._is_full: set[int] = set()  # bundles of which another fold found no room

    def load_all(self, not_yet: Sequence[Place]) -> list[CannotLoad]:
        """Load what fits, but for those in `not_yet`; return what cannot be loaded at all."""
        broken: dict[Place, CannotLoad] = {}
        for place in self.order:
            if place in not_yet:
                continue
            try:
                self._load_fold(place, only_beside=bool(self._on_device))
            except CannotLoad as error:
                broken[error.bundle, error.fold] = error
        self.streamed -= set(self._failed)
        return list(broken.values())

    def ensure_loaded(self, bundle: int, fold: int) -> bool:
        """Make sure that a fold is on the device; return whether it had to be loaded.

        Raises:
            CannotLoad: it cannot be, not even alone.
        """
        place = (bundle, fold)
        if place in self._on_device:
            return False
        if place in self._failed:
            raise self._failed[place]
        self._load_fold(place, only_beside=False)
        return True

    def evict_one(self, keep: Place) -> bool:
        """Take the least valuable fold but `keep` off the device; false where there is no other."""
        if not self.has_others(keep):
            return False
        self._drop([place for place in self.order if place in self._on_device and place != keep][-1])
        self._is_full |= {bundle for bundle, _ in self.order}
        return True

    def has_others(self, keep: Place) -> bool:
        """Return whether another fold is on the device."""
        return bool(self._on_device - {keep})

    def settled(self, bundle: int, fold: int) -> PrecisionChoice | None:
        """Return in which precision a fold is computed for good, where its loading has decided that."""
        return self._nets[bundle][fold].settled

    def compute_in_full(self, bundle: int, fold: int) -> bool:
        """From now on compute a fold in fp32, and keep its weights so; false where memory is short even alone."""
        place, net = (bundle, fold), self._nets[bundle][fold]
        self._in_full.add(place)
        while True:
            try:
                self._fit_precision(place, net)
                return True
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
            self._tidy()
            if not self.evict_one(keep=place):
                self._in_full.discard(place)
                self._fit_precision(place, net)
                return False

    # Loading

    def _load_fold(self, place: Place, only_beside: bool) -> None:
        """Load a fold; `only_beside` others, which all stay, or else it is left to be streamed."""
        self.announce(*place)
        # Outside inference mode: what is made in it can never be written to again outside.
        with torch.inference_mode(mode=False):
            why = self._load_beside(place) if self._has_room(place) else "no room beside the others"
            if not why:
                return
            self.streamed.add(place)
            self._is_full.add(place[0])
            if only_beside:
                return
            if self._load_over_another(place):
                return
            while others := [other for other in self.order if other in self._on_device]:
                self._drop(others[-1])
                if not (why := self._load_beside(place)):
                    return
            if not (why := self._load_beside(place)):  # what did not fit before may fit now that all is tidied up
                return
        raise self._failure_of(place, f"fold {place[1]} finds no room on the device, not even alone: {why}")

    def _has_room(self, place: Place) -> bool:
        if not self._on_device:
            return True
        recipe = self.recipes[place[0]]
        if recipe is None or place[0] in self._is_full:
            return False
        try:
            stored = sum(file.stat().st_size for file in _files_of(recipe, place[1]))
        except (OSError, WeightsError):
            return True  # which loading will report
        if stored < SMALL_BYTES:
            return True
        needed = stored * (1 if self.half and place not in self._in_full else 2)
        if recipe.spread is not None:
            needed //= len(recipe.spread.devices)
        if self.device.type == "cuda":
            free, total = torch.cuda.mem_get_info()
            free += torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
            return free - needed > ROOM_SHARE * total
        return available_bytes() > 2 * needed  # loading takes as much again for a moment

    def _load_beside(self, place: Place) -> str:
        """Build a fold's net and bring it to the device; return why there is no room for it, else nothing.

        Raises:
            CannotLoad: it is not the memory.
        """
        bundle, fold = place
        try:
            recipe = self._open(bundle)
        except LOADING_ERRORS as error:
            why, whole, is_memory = _error_text(error), True, is_out_of_memory(error)
        else:
            try:
                (net,) = load_recipe(recipe, self._depths, folds=[fold]).models
                self._fit_precision(place, net)
                # Channels last is what convolutions compute fastest in, on CPU and GPU.
                self._put(place, net.to(self.device).to(memory_format=torch.channels_last).eval())
                return ""
            except LOADING_ERRORS as error:
                why, whole, is_memory = _error_text(error), False, is_out_of_memory(error)
        self._tidy()  # outside the handlers, which would keep what has been allocated
        if is_memory:
            return why
        self._check_that_it_computes()
        raise self._failure_of((bundle, WHOLE_BUNDLE) if whole else place, why)

    def _load_over_another(self, place: Place) -> bool:
        """Read a fold's weights into the net of another fold of its bundle, which takes no memory.

        Raises:
            CannotLoad: the file is broken.
        """
        bundle, fold = place
        recipe = self.recipes[bundle]
        others = [other for other in self.order if other in self._on_device and other[0] == bundle]
        if recipe is None or recipe.backbone is not None or not others:
            return False
        net = self._drop(others[-1])
        try:
            refill_fold(net, recipe.folder / recipe.folds[fold])
            self._fit_precision(place, net)
            self._put(place, net)
            return True
        except WeightsError as error:  # nothing has been overwritten
            self._put(others[-1], net)
            self.streamed.discard(others[-1])
            raise self._failure_of(place, str(error)) from None
        except LOADING_ERRORS as error:
            is_memory, why = is_out_of_memory(error), _error_text(error)
        del net
        self._tidy()
        if is_memory:
            return False
        self._check_that_it_computes()
        raise self._failure_of(place, why)

    def _open(self, bundle: int) -> BundleRecipe:
        """Load what all folds of a bundle need, its depth model, if that is not there yet."""
        recipe = self.recipes[bundle]
        if recipe is None:
            raise BundleError("the bundle cannot be used")
        if self.members[bundle] is None:
            shared: Bundle = load_recipe(recipe, self._depths, folds=())
            if shared.depth is not None:
                try:
                    # In fp32, as training estimates depth; it is small beside the folds.
                    shared.depth.to(self.device).eval()
                except (RuntimeError, MemoryError):
                    del self._depths[recipe.depth["sha256"]]  # half of it may be there
                    raise
            self.members[bundle] = member_of(replace(shared, models=self._nets[bundle]), self.framings)
        return recipe

    def _fit_precision(self, place: Place, net: TargetsNet) -> None:
        recipe = self.recipes[place[0]]
        net.in_fp32 = place in self._in_full or (recipe is not None and recipe.experiment.encoder.precision == "fp32")
        if self.half and not net.in_fp32:
            keep_in_half(net)
        else:
            keep_in_full(net)

    def _put(self, place: Place, net: TargetsNet) -> None:
        self._nets[place[0]][place[1]] = net
        self._on_device.add(place)

    def _drop(self, place: Place) -> TargetsNet:
        net = self._nets[place[0]][place[1]]
        self._nets[place[0]][place[1]] = TargetsNet()
        self._on_device.discard(place)
        self.streamed.add(place)
        self._tidy()
        return net

    def _tidy(self) -> None:
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _check_that_it_computes(self) -> None:
        """After some CUDA errors nothing works any more in this process; then it must end.

        Raises:
            RuntimeError: the device does not compute.
        """
        if self.device.type == "cuda":
            torch.ones(1, device=self.device).add_(1).item()

    def _failure_of(self, place: Place, why: str) -> CannotLoad:
        """Record that a fold, or all of its bundle, cannot be loaded."""
        error = CannotLoad(*place, why)
        for other in self.order:
            if other == place or (place[1] == WHOLE_BUNDLE and other[0] == place[0]):
                self._failed[other] = error
        return error


# %%
def _error_text(error: BaseException) -> str:
    """Return an error's message; of those that have none, or whose message is a bare key, the name as well."""
    plain = isinstance(error, (BundleError, WeightsError, OSError, RuntimeError)) and str(error)
    return str(error) if plain else f"{type(error).__name__}: {error}".removesuffix(": ")


def _files_of(recipe: BundleRecipe, fold: int) -> list[Path]:
    return files_of(recipe.backbone) if recipe.backbone else [recipe.folder / recipe.folds[fold]]
