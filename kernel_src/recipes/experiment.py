"""## The experiment

Every choice that makes one training run differ from another, in one frozen record. It is saved as JSON beside the
weights, and inference rebuilds the very same model from that JSON: no class is declared twice, no number typed twice.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from kernel_src.runtime.untrusted import quoted

HEAD_ACTIVATIONS = ("relu", "gelu")
LOSSES = ("mse", "smooth_l1", "log1p", "metric_weighted", "uncertainty")
OPTIMIZERS = ("adamw", "rmsprop")
SCHEDULES = ("constant", "cosine", "step", "warmup_cosine")
SPLITS = ("group", "stratified_group", "leave_group_out")
AUGMENTATIONS = ("none", "conservative", "moderate", "aggressive", "extreme")
TTA_SETS = ("none", "flips", "all")
CONSTRAINTS = ("none", "projection", "biological", "average")
DEPTH_FUSIONS = ("concat", "add", "attention", "rgbd")
DEPTH_VIEWS = ("shared", "exact")
SPREADS = ("auto", "batch", "folds")
PRECISIONS = ("auto", "fp16", "fp32")
FEATURE_POOLINGS = ("own", "cls", "mean", "max", "min", "gem")
PHOTOGRAPH_PARTS = ("whole", "left", "right", "top", "bottom")
# `hf-hub:…`, `local-dir:…` and everything else with a scheme or a path would ask the network, or read a folder.
TIMM_NAME = re.compile(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)?")
LARGEST_PX, LARGEST_LAYER = 8192, 65536


LONGEST_EXPERIMENT_NAME = 38  # the dataset of its weights, i2b-NAME-weights, may have 50 characters on Kaggle
_EXPERIMENT_NAME = re.compile(r"[a-z0-9]+([_-][a-z0-9]+)*")
_DATASET = re.compile(r"([A-Za-z0-9_-]+/)?[a-z0-9]+(-[a-z0-9]+)*")


class ExperimentError(ValueError):
    """An experiment or ensemble as it is written down cannot be."""


def checked_experiment_name(name: object) -> str:
    """Return the name of an experiment or ensemble if every name on Kaggle can be made from it.

    Raises:
        ExperimentError: it cannot; names the rule, and the nearest name that follows it.
    """
    if isinstance(name, str) and _EXPERIMENT_NAME.fullmatch(name) and len(name) <= LONGEST_EXPERIMENT_NAME:
        return name
    words = re.findall(r"[a-z0-9]+", str(name).lower())
    near = "_".join(words)[:LONGEST_EXPERIMENT_NAME].strip("_") or "v7_mine"
    raise ExperimentError(
        f"the name {name!r} cannot be an experiment's: lower-case letters and digits, with single _ or - between them, "
        f"{LONGEST_EXPERIMENT_NAME} characters at most, since Kaggle's slugs are made of it; e.g. {near!r}"
    )


# %%
@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One training recipe; variants are made with `dataclasses.replace`."""

    name: str  # as typed in EXPERIMENT=…, part of every slug: `checked_experiment_name` has the rule
    # Model
    backbone: str  # any timm model name
    starting_weights: str = ""  # dataset slug that holds the pretrained backbone; empty: random weights
    image_height_px: int = 512
    image_width_px: int = 512  # equal to the height: the 2:1 photograph is squashed to a square, as the seed did
    head_hidden: tuple[int, ...] = (256,)  # widths of the hidden layers of each target's own head
    head_activation: str = "relu"
    head_dropout: float = 0.3  # probability
    frozen_groups: int = 0  # layer groups of the backbone, from the stem on, that are not trained; 0: all are
    gradient_checkpointing: bool = False  # compute activations twice instead of keeping them: less memory, more time
    # Frozen features: with a pooling, nothing is fine-tuned, and a regressor (`python -m build regress`) reads these
    feature_poolings: tuple[str, ...] = ()  # what becomes of a layer's map; `own`: the backbone's own pooling, once
    feature_layers: tuple[int, ...] = (1,)  # blocks of a ViT, stages of a convolutional net, counted from the last
    feature_parts: tuple[str, ...] = ("whole",)  # of the photograph, each a picture of its own
    feature_heights_px: tuple[int, ...] = ()  # of the pictures, widths in proportion; empty: image_height_px alone
    # Depth
    depth: str = ""  # dataset slug that holds the frozen depth model in the hub's layout; empty: no depth branch
    depth_fusion: str = "concat"  # how the depth joins the picture
    depth_channels: int = 1  # 1: relief, scaled to 0…1 per image; 2: the absolute depth beside it
    depth_views: str = "shared"  # TTA: one map per image, turned with the picture, or `exact`: one for each view
    # Data
    split: str = "group"
    folds: int = 5
    train_folds: tuple[int, ...] = ()  # which of the folds are trained; empty: all
    split_seed: int = 0  # shuffles the groups before they are dealt out; another seed, other folds
    # 0: all other rows train and the last epoch is kept; k: one of k group folds of the *training* rows picks it, which
    # costs score (docs/seed-differences.md) and is for a search, whose trials are cut short.
    inner_folds: int = 0
    augmentation: str = "moderate"
    external_data: str = ""  # dataset slug of external photographs, for training only; empty: none
    external_area_factor: float = 0.84  # quadrat area here over there: 0.21 m² / 0.25 m²; external grams times this
    pseudo_labels: str = ""  # dataset slug of `python -m build pseudo-label`: pseudo_labels.csv and photographs
    pseudo_weight: float = 0.0  # of a pseudo-labelled row in the loss, a measured one has 1; 0: such rows are not used
    # Training
    loss: str = "mse"
    loss_beta: float = 1.0  # where smooth L1 turns from square to line, in standard deviations of the target
    constraint_weight: float = 0.0  # of the two identities' violation, in the loss; 0: the loss ignores them
    optimizer: str = "adamw"
    learning_rate: float = 1e-4  # of the heads, and of the backbone unless the next line says otherwise
    backbone_learning_rate: float = 0.0  # 0: the same as the heads
    weight_decay: float = 1e-4  # not applied to biases and norms
    schedule: str = "cosine"
    schedule_epochs: int = 0  # length of the cosine, or of one step of the step schedule; 0: all epochs
    schedule_factor: float = 0.1  # what one step of the step schedule multiplies by
    warmup_epochs: int = 0  # of the warmup_cosine schedule
    epochs: int = 50
    patience_epochs: int = 0  # stop when the inner fold has not improved for so long; 0: never
    batch_size: int = 16  # images, over all devices together
    accumulate_steps: int = 1  # batches per optimiser step
    clip_norm: float = 0.0  # largest gradient norm; 0: no clipping
    ema_decay: float = 0.0  # per optimiser step, of the averaged weights that are then kept; 0: no average
    precision: str = "auto"  # fp16, fp32, or what a comparison of the two decides; where fp16 is not fast always fp32
    seed: int = 42
    # Prediction
    tta: str = "all"  # symmetries averaged: all that the augmentation showed in training, its flips, or none
    constraint: str = "projection"  # how the two identities are enforced
    # Kaggle
    machine_shape: str = "NvidiaTeslaT4"  # two T4s
    spread: str = "auto"  # several devices share each batch (`batch`) or take whole folds (`folds`)
    session_limit_s: float = 0.0  # training saves and stops itself in time before it; 0: no limit

    def __post_init__(self) -> None:
        """Refuse invalid values, naming the field.

        Raises:
            ExperimentError: a name that Kaggle would not take, an unknown word, or a number outside its range.
        """
        checked_experiment_name(self.name)
        for field in ("starting_weights", "depth", "external_data", "pseudo_labels"):
            if getattr(self, field) and not _DATASET.fullmatch(getattr(self, field)):
                raise ExperimentError(
                    f"{self.name}: {field}={getattr(self, field)!r} is not a dataset: its slug on Kaggle, lower-case "
                    "letters, digits and hyphens; owner/slug for another account's"
                )
        for field, allowed in (
            ("head_activation", HEAD_ACTIVATIONS),
            ("loss", LOSSES),
            ("optimizer", OPTIMIZERS),
            ("schedule", SCHEDULES),
            ("split", SPLITS),
            ("augmentation", AUGMENTATIONS),
            ("tta", TTA_SETS),
            ("constraint", CONSTRAINTS),
            ("depth_fusion", DEPTH_FUSIONS),
            ("depth_views", DEPTH_VIEWS),
            ("depth_channels", (1, 2)),
            ("spread", SPREADS),
            ("precision", PRECISIONS),
        ):
            if getattr(self, field) not in allowed:
                raise ExperimentError(
                    f"{self.name}: {field}={getattr(self, field)!r} is not one of {', '.join(map(str, allowed))}"
                )
        if not TIMM_NAME.fullmatch(self.backbone):
            raise ExperimentError(
                f"{self.name}: backbone={quoted(self.backbone)} is not the plain name of a timm model, such as "
                "resnet34 or resnet34.a1_in1k: weights come from a dataset, named in starting_weights"
            )
        if max(self.image_size_px + self.feature_heights_px) > LARGEST_PX:
            raise ExperimentError(f"{self.name}: pictures of more than {LARGEST_PX} px")
        if any(not 1 <= width <= LARGEST_LAYER for width in self.head_hidden):
            raise ExperimentError(f"{self.name}: head_hidden={self.head_hidden} must lie in 1 to {LARGEST_LAYER}")
        for field, words in (("feature_poolings", FEATURE_POOLINGS), ("feature_parts", PHOTOGRAPH_PARTS)):
            for word in getattr(self, field):
                if word not in words:
                    raise ExperimentError(f"{self.name}: {field}: {word!r} is not one of {', '.join(words)}")
        for field in ("feature_poolings", "feature_layers", "feature_parts", "feature_heights_px"):
            values = getattr(self, field)
            if len(set(values)) != len(values):
                raise ExperimentError(f"{self.name}: {field}={values} names something twice")
        if self.is_frozen:
            self._check_features()
        for field in ("image_height_px", "image_width_px", "epochs", "batch_size", "accumulate_steps"):
            if getattr(self, field) < 1:
                raise ExperimentError(f"{self.name}: {field}={getattr(self, field)} must be at least 1")
        if self.folds < 2 or self.inner_folds < 0 or self.inner_folds == 1:
            raise ExperimentError(
                f"{self.name}: folds={self.folds}, inner_folds={self.inner_folds}: one fold trains on nothing"
            )
        if not 0 <= self.head_dropout < 1 or self.learning_rate <= 0 or self.loss_beta <= 0:
            raise ExperimentError(
                f"{self.name}: head_dropout={self.head_dropout} must lie in [0, 1), "
                f"learning_rate={self.learning_rate} and loss_beta={self.loss_beta} above 0"
            )
        for field in (
            "backbone_learning_rate",
            "weight_decay",
            "schedule_epochs",
            "warmup_epochs",
            "patience_epochs",
            "clip_norm",
            "constraint_weight",
            "pseudo_weight",
            "session_limit_s",
            "frozen_groups",
        ):
            if not 0 <= getattr(self, field) < float("inf"):  # NaN too
                raise ExperimentError(f"{self.name}: {field}={getattr(self, field)} must be 0 or a positive number")
        if not 0 <= self.ema_decay < 1 or not 0 < self.external_area_factor < float("inf"):
            raise ExperimentError(
                f"{self.name}: ema_decay={self.ema_decay} must lie in [0, 1), "
                f"external_area_factor={self.external_area_factor} above 0"
            )
        if self.pseudo_labels and not self.pseudo_weight:
            raise ExperimentError(f"{self.name}: pseudo_labels={self.pseudo_labels!r} needs a pseudo_weight, e.g. 0.25")
        if self.patience_epochs and not self.inner_folds:
            raise ExperimentError(f"{self.name}: patience_epochs needs inner_folds: nothing else may pick the epoch")

    def _check_features(self) -> None:
        if not self.starting_weights:
            raise ExperimentError(f"{self.name}: frozen features of random weights are none: name its starting_weights")
        if self.depth or self.frozen_groups:
            raise ExperimentError(f"{self.name}: frozen features know no depth={self.depth!r} and no frozen_groups")
        if not self.feature_layers or min(self.feature_layers) < 1 or not self.feature_parts:
            raise ExperimentError(
                f"{self.name}: feature_layers={self.feature_layers} count from 1, the last, "
                f"feature_parts={self.feature_parts} name one at least"
            )
        for height_px in self.feature_heights_px:
            if height_px < 1 or height_px * self.image_width_px % self.image_height_px:
                raise ExperimentError(
                    f"{self.name}: feature_heights_px={height_px} gives no whole width in the proportion of "
                    f"{self.image_height_px} x {self.image_width_px}"
                )

    @property
    def is_frozen(self) -> bool:
        """Whether a regressor on frozen features predicts instead of fine-tuned networks."""
        return bool(self.feature_poolings)

    @property
    def image_size_px(self) -> tuple[int, int]:
        """Height and width of the network's input."""
        return self.image_height_px, self.image_width_px

    def as_json(self) -> dict[str, Any]:
        """Return the fields as JSON can hold them."""
        return asdict(self)


# %%
def experiment_from_json(values: Mapping[str, Any]) -> Experiment:
    """Rebuild an experiment from its JSON.

    Raises:
        ValueError: a field is unknown (the bundle is newer than this notebook) or has an impossible value.
    """
    known = {field.name: field for field in fields(Experiment)}
    if unknown := sorted(set(values) - set(known)):
        names = ", ".join(name if name.isidentifier() else quoted(name) for name in unknown[:5])
        raise ValueError(f"experiment has unknown fields {names}: misspelt, or written by a newer kit")
    if lacking := [name for name in ("name", "backbone") if name not in values]:
        raise ValueError(f"experiment lacks {', '.join(lacking)}")
    # JSON has no tuples; every list in an experiment is one.
    fitted: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
    for name, value in fitted.items():
        if not _has_kind(value, known[name].type):
            raise ValueError(f"experiment: {name}={quoted(value)} is not {KIND_WORDS[known[name].type]}")
    return Experiment(**fitted)


KIND_WORDS: dict[Any, str] = {
    str: "a line of text",
    bool: "true or false",
    int: "a whole number",
    float: "a finite number",
    tuple[int, ...]: "a list of whole numbers",
    tuple[str, ...]: "a list of words",
}


def _has_kind(value: Any, kind: Any) -> bool:
    """Tell whether a value from JSON is what a field is declared as."""
    if kind in (tuple[int, ...], tuple[str, ...]):
        return isinstance(value, tuple) and all(_has_kind(one, kind.__args__[0]) for one in value)
    if kind is str:
        return isinstance(value, str) and value.isprintable()
    if kind is bool or isinstance(value, bool):
        return kind is bool and isinstance(value, bool)
    return isinstance(value, int) or (kind is float and isinstance(value, float) and math.isfinite(value))
