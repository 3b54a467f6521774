"""## The network's parts

Encoder, depth branch and head: what has weights in a bundle.
"""

import re
from collections.abc import Iterator

from kernel_src.recipes.spec import Spec
from kernel_src.runtime.untrusted import quoted

LARGEST_LAYER = 65536
PRECISIONS = ("auto", "fp16", "fp32")
ACTIVATIONS = ("relu", "gelu")
POOLINGS = ("own", "cls", "mean", "max", "min", "gem", "signed_gem")
TARGET_FORMS = ("five", "components", "shares")
DEPTH_FUSIONS = ("concat", "add", "attention", "rgbd")
DEPTH_VIEWS = ("shared", "exact")
# `hf-hub:…`, `local-dir:…` and everything else with a scheme or a path would ask the network, or read a folder.
TIMM_NAME = re.compile(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)?")
_DATASET = re.compile(r"([A-Za-z0-9_-]+/)?[a-z0-9]+(-[a-z0-9]+)*")


def not_a_dataset(field: str, slug: str) -> Iterator[str]:
    """Object to a text that cannot be the slug of a dataset on Kaggle; an empty one is none."""
    if slug and not _DATASET.fullmatch(slug):
        yield (
            f"{field}={slug!r} is not a dataset: its slug on Kaggle, lower-case letters, digits and hyphens; "
            "owner/slug for another account's"
        )


def not_one_of(field: str, value: object, allowed: tuple[object, ...]) -> Iterator[str]:
    """Object to a value that is not one of a few."""
    if value not in allowed:
        yield f"{field}={value!r} is not one of {', '.join(map(str, allowed))}"


# %%
class Freeze(Spec, abstract=True):
    """Which layers of the encoder keep their pretrained weights, from the first on."""


class FirstGroups(Freeze):
    """The first layer groups, as timm counts them; a ViT's blocks follow its patch embedding."""

    groups: int

    def check(self) -> Iterator[str]:
        """At least one."""
        if self.groups < 1:
            yield f"groups={self.groups} must be at least 1"


class FirstShare(Freeze):
    """The first layer groups that hold at most this share of all parameters."""

    share: float

    def check(self) -> Iterator[str]:
        """Something is frozen, something is trained."""
        if not 0 < self.share < 1:
            yield f"share={self.share} must lie between 0 and 1"


class Encoder(Spec):
    """A network of timm, and where its pretrained weights come from."""

    timm: str  # any model name of timm
    weights: str = ""  # dataset slug that holds them; empty: random weights
    layers: tuple[int, ...] = (1,)  # what the head sees: blocks of a ViT, stages of a convolutional net, from the last
    freeze: Freeze | None = None
    checkpointing: bool = False  # compute activations twice instead of keeping them: less memory, more time
    precision: str = "auto"  # fp16, fp32, or what a comparison of the two decides; where fp16 is not fast always fp32

    def check(self) -> Iterator[str]:
        """Names and layers."""
        if not TIMM_NAME.fullmatch(self.timm):
            yield (
                f"timm={quoted(self.timm)} is not the plain name of a timm model, such as resnet34 or "
                "resnet34.a1_in1k: weights come from a dataset, named in weights"
            )
        yield from not_a_dataset("weights", self.weights)
        yield from not_one_of("precision", self.precision, PRECISIONS)
        if not self.layers or min(self.layers) < 1 or len(set(self.layers)) != len(self.layers):
            yield f"layers={self.layers} count from 1, the last, each once"


class Depth(Spec):
    """A frozen depth model, and how its map joins the picture."""

    weights: str  # dataset slug that holds the depth model in the hub's layout
    fusion: str = "concat"
    channels: int = 1  # 1: relief, scaled to 0…1 per image; 2: the absolute depth beside it
    views: str = "shared"  # TTA: one map per image, turned with the picture, or `exact`: one for each view

    def check(self) -> Iterator[str]:
        """Known words."""
        if not self.weights:
            yield "weights is empty: name the dataset of the depth model"
        yield from not_a_dataset("weights", self.weights)
        yield from not_one_of("fusion", self.fusion, DEPTH_FUSIONS)
        yield from not_one_of("channels", self.channels, (1, 2))
        yield from not_one_of("views", self.views, DEPTH_VIEWS)


class Inputs(Spec):
    """Numbers of the competition's table, at test time too, that the heads see beside the features, standardised."""

    columns: tuple[str, ...] = ()  # of those that the competition's facts name; empty: all of them

    def check(self) -> Iterator[str]:
        """Each once."""
        if len(set(self.columns)) < len(self.columns):
            yield f"columns={self.columns} names a column twice"


# %%
class Head(Spec, abstract=True):
    """What turns features into targets."""


class Perceptron(Head, abstract=True):
    """What the trained heads have in common: hidden layers, and what they answer in.

    `targets`: `five`, each by itself; `components`: those that are no sum of others, and these as their sums;
    `shares`: the Total, times shares of the three that add up to 1.
    """

    hidden: tuple[int, ...] = (256,)  # widths of the hidden layers
    activation: str = "relu"
    dropout: float = 0.3  # probability
    targets: str = "five"

    def check(self) -> Iterator[str]:
        """Widths and words."""
        if any(not 1 <= width <= LARGEST_LAYER for width in self.hidden):
            yield f"hidden={self.hidden} must lie in 1 to {LARGEST_LAYER}"
        yield from not_one_of("activation", self.activation, ACTIVATIONS)
        yield from not_one_of("targets", self.targets, TARGET_FORMS)
        if not 0 <= self.dropout < 1:
            yield f"dropout={self.dropout} must lie in [0, 1)"


def _check_poolings(poolings: tuple[str, ...]) -> Iterator[str]:
    if not poolings or len(set(poolings)) != len(poolings):
        yield f"pool={poolings} names one pooling at least, each once"
    for word in poolings:
        yield from not_one_of("pool", word, POOLINGS)


class PooledHead(Perceptron):
    """The features of a picture are pooled; each target has a perceptron of its own on them."""

    pool: tuple[str, ...] = ("own",)  # side by side; `own`: the encoder's own pooling, once

    def check(self) -> Iterator[str]:
        """Poolings that exist."""
        yield from super().check()
        yield from _check_poolings(self.pool)


class DenseHead(Perceptron):
    """One perceptron on every patch of the picture, its softplus summed or averaged over all of them.

    `sum`: a patch answers an amount, and these add up. `mean`: a patch answers a density, the amount per photograph's
    area, so that each crop of a photograph has the label of the whole (6th place's unselected .69, facts of the
    competition).
    """

    hidden: tuple[int, ...] = ()
    dropout: float = 0.0
    reduce: str = "sum"
    targets: str = "components"

    def check(self) -> Iterator[str]:
        """A known reduction."""
        yield from super().check()
        yield from not_one_of("reduce", self.reduce, ("sum", "mean"))


class RegressorHead(Head):
    """Nothing is trained by gradients: a regressor that `python -m build regress` chose reads frozen features."""

    pool: tuple[str, ...] = ("own",)

    def check(self) -> Iterator[str]:
        """Poolings that exist."""
        yield from _check_poolings(self.pool)
