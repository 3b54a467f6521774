"""A notebook holds what its experiment can run; a bundle that needs more is refused in one line."""

import ast
import re

import pytest

from build.core.errors import CheckFailed
from build.stitch import compose
from kernel_src.competitions import kernel_cards
from kernel_src.competitions.held_recipes import COMPETITION_OF, ENSEMBLES, EXPERIMENTS
from kernel_src.competitions.kernel_cards import kernel_card, kernels_of
from kernel_src.recipes import predictor
from kernel_src.recipes.changes import changed
from kernel_src.recipes.ensemble import Ensemble
from kernel_src.recipes.learning import Bins
from kernel_src.recipes.pictures import HALVES, Attention, Pictures
from kernel_src.recipes.training_data import Mixup, PseudoLabels
from tests.kernel_src.kernels.running import ROOT

DEPTH = {"models/depth", "models/fusion"}
FROZEN = {"bundle/frozen_bundle", "models/frozen_features", "models/frozen_net", "models/regressor"}
FROZEN |= {"models/starting_weights", "runtime/weight_sources"}
ADAPTATION = {"inference/adaptation", "inference/adapted_fold", "models/full_pass", "runtime/randomness"}
MARKS, CROPPING, ROW_RULES = {"data/camera_marks"}, {"data/cropping"}, {"competitions/biomass/row_rules"}
EXTERNAL = {"competitions/biomass/external", "competitions/biomass/external_table", "data/packed_photographs"}
PSEUDO_LABELS = {"data/pseudo_labels", "data/agreement"}
EVIDENCE = {f"models/{name}" for name in ("evidence", "sum_heads", "joins", "cutting")}
LAYERS = {"models/layer_features"}  # frozen features are pooled by the same table
STACK, SEED_CONSTRAINTS = {"inference/stacking"}, {"competitions/biomass/seed_constraints"}
HUB_NAMES, DEPTH_IN_TRAINING, SPREAD = {"models/hub_names"}, {"training/depth_maps"}, {"models/spread"}
MIXING = {"training/auxiliary", "training/mixing"}
CLASSES = {"models/class_scaling", "training/class_loss", "data/class_charts"}
INPUTS = {"models/table_inputs"}
ALL = {path.relative_to(ROOT / "kernel_src").with_suffix("").as_posix() for path in ROOT.glob("kernel_src/*/**/*.py")}
PART = re.compile(r"# part: (\w+)$", re.MULTILINE)
COMPETITIONS = ("biomass", "leaf", "paws")
OF_OTHERS = {
    one: {name for name in ALL for other in COMPETITIONS if other != one and name.startswith(f"competitions/{other}/")}
    for one in COMPETITIONS
}
TRAINING = {name for name in ALL if name.startswith("training/")}
TRAINING |= {f"competitions/biomass/{name}" for name in ("rules", "tables", "floors", "visits")}
TRAINING |= {"competition/splits", "competition/rules", "competitions/held_rules"}
TRAINING |= {"data/augmentation", "data/training_photographs", "data/training_rows", "data/score_charts"}
TRAINING |= {"competitions/held_recipes", "runtime/csv_table", "runtime/provenance"}
ASKED_FOR = MARKS | CROPPING | ROW_RULES | EXTERNAL | EVIDENCE | SPREAD | SEED_CONSTRAINTS  # by few experiments
NEVER_IN_INFERENCE = TRAINING | ASKED_FOR | STACK | PSEUDO_LABELS | {"bundle/bundle_prediction"}
NEVER_IN_TRAINING = {name for name in ALL if name.startswith(("inference/", "bundle/"))} | FROZEN | {"runtime/manifest"}
NEVER_IN_TRAINING |= LAYERS | ASKED_FOR - EXTERNAL | MIXING
NEVER_IN_TRAINING -= {"models/starting_weights", "runtime/weight_sources"}

NEVER_IN_FEATURES = {name for name in ALL if name.startswith("inference/")} | MARKS | CROPPING | ROW_RULES
NEVER_IN_FEATURES |= {"models/frozen_net", "models/regressor", "bundle/frozen_bundle", "data/augmentation"}
NEVER_IN_FEATURES |= {"training/training", "training/losses", "training/gradient_steps", "training/optimization"}

NEVER_IN_CLASSES = DEPTH | EXTERNAL | ROW_RULES | EVIDENCE | MIXING | PSEUDO_LABELS | FROZEN

# By notebook: what of the package it must not hold, beside other competitions' modules.
MUST_NOT_HOLD = {
    ("v1", "infer"): NEVER_IN_INFERENCE | LAYERS | DEPTH | FROZEN | ADAPTATION | HUB_NAMES,
    ("v7", "infer"): NEVER_IN_INFERENCE | LAYERS | DEPTH | FROZEN | ADAPTATION | HUB_NAMES,
    ("v8", "infer"): NEVER_IN_INFERENCE | LAYERS | FROZEN | ADAPTATION | HUB_NAMES,
    ("v6", "infer"): NEVER_IN_INFERENCE | LAYERS | FROZEN | ADAPTATION | HUB_NAMES,
    ("frozen_dinov2", "infer"): NEVER_IN_INFERENCE | DEPTH | ADAPTATION,
    ("frozen_dinov2", "features"): NEVER_IN_FEATURES | DEPTH | DEPTH_IN_TRAINING | EXTERNAL | PSEUDO_LABELS,
    ("gold_frozen", "features"): NEVER_IN_FEATURES | DEPTH | EXTERNAL | PSEUDO_LABELS | HUB_NAMES,
    ("v1", "train"): NEVER_IN_TRAINING | DEPTH | DEPTH_IN_TRAINING | EXTERNAL | PSEUDO_LABELS | HUB_NAMES,
    ("v7", "train"): NEVER_IN_TRAINING | DEPTH | DEPTH_IN_TRAINING | EXTERNAL | PSEUDO_LABELS,
    ("v8", "train"): NEVER_IN_TRAINING | EXTERNAL | PSEUDO_LABELS,
    ("v5", "train"): NEVER_IN_TRAINING | PSEUDO_LABELS | HUB_NAMES,
    ("leaf", "train"): NEVER_IN_CLASSES - {"models/starting_weights", "runtime/weight_sources"} | INPUTS,
    ("leaf", "infer"): NEVER_IN_INFERENCE | NEVER_IN_CLASSES | INPUTS,
    ("paws", "train"): NEVER_IN_CLASSES - {"models/starting_weights", "runtime/weight_sources"} | CLASSES,
    ("paws", "infer"): NEVER_IN_INFERENCE | NEVER_IN_CLASSES | CLASSES,
}


def modules_in(name: str, kernel: str) -> set[str]:
    """The modules of a notebook by their place in kernel_src."""
    parameters = kernel_card(name, kernel).parameters
    sources = compose(ROOT / "kernel_src/kernels" / f"{kernel}.py", ROOT, parameters).sources
    return {source.removeprefix("kernel_src/").removesuffix(".py") for source in sources}


@pytest.mark.parametrize(("name", "kernel"), MUST_NOT_HOLD)
def test_a_notebook_does_not_hold_what_its_experiment_cannot_run(name: str, kernel: str) -> None:
    here = COMPETITION_OF[name]
    never = MUST_NOT_HOLD[name, kernel] | OF_OTHERS[here] | (CLASSES | INPUTS if here == "biomass" else set())
    assert never <= ALL, "the table names modules that there are"
    assert not modules_in(name, kernel) & never


def test_classes_and_inputs_come_with_the_competition_and_the_experiment_that_have_them() -> None:
    assert kernel_card("leaf", "train").parameters["PARTS"] == ("classes", "leaf")
    assert kernel_card("paws", "infer").parameters["PARTS"] == ("inputs", "paws")
    assert modules_in("leaf", "train") >= CLASSES and modules_in("paws", "train") >= INPUTS
    assert modules_in("leaf", "infer") & (CLASSES | INPUTS) == {"models/class_scaling"}
    assert modules_in("paws", "infer") & (CLASSES | INPUTS) == INPUTS


def test_a_notebook_holds_the_parts_that_its_experiment_needs() -> None:
    assert modules_in("v8", "infer") >= DEPTH and modules_in("v8", "train") >= DEPTH | DEPTH_IN_TRAINING | HUB_NAMES
    assert modules_in("v5", "train") >= DEPTH | EXTERNAL and modules_in("frozen_dinov2", "infer") >= FROZEN | HUB_NAMES


def test_evidence_comes_with_an_experiment_that_is_not_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    halves = Pictures(512, 512, parts=HALVES, join=Attention())
    monkeypatch.setitem(EXPERIMENTS, "first", changed(EXPERIMENTS["v1"], {"name": "first", "pictures": halves}))
    for kernel in ("train", "infer"):
        assert kernel_card("first", kernel).parameters["PARTS"] == ("biomass", "evidence")
        assert modules_in("first", kernel) >= EVIDENCE | LAYERS


def test_an_ensemble_holds_the_parts_of_all_its_members(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENSEMBLES, "all", Ensemble(name="all", shares={"v1": 1, "v8": 1, "frozen_dinov2": 1}))
    assert kernel_card("all", "infer").parameters["PARTS"] == ("biomass", "depth", "frozen", "hub_names")


def test_a_stack_and_the_seeds_constraints_come_with_the_ensemble_or_experiment_that_uses_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stack = {"weights": [[0.5, 0.5]] * 5, "intercept_g": [0.0] * 5}
    monkeypatch.setitem(ENSEMBLES, "stacked", Ensemble(name="stacked", shares={"v1": 1, "v7": 1}, stack=stack))
    monkeypatch.setitem(ENSEMBLES, "seeds", Ensemble(name="seeds", shares={"v1": 1}, constraint="average"))
    monkeypatch.setitem(
        EXPERIMENTS, "own", changed(EXPERIMENTS["v1"], {"name": "own", "predict.constraint": "biological"})
    )
    assert kernel_card("stacked", "infer").parameters["PARTS"] == ("biomass", "stack")
    assert kernel_card("seeds", "infer").parameters["PARTS"] == ("biomass", "seed_constraints")
    for kernel in ("train", "infer"):
        assert kernel_card("own", kernel).parameters["PARTS"] == ("biomass", "seed_constraints")
        assert modules_in("own", kernel) >= SEED_CONSTRAINTS
    assert modules_in("stacked", "infer") >= STACK


def test_pseudo_labels_come_with_the_experiment_that_weighs_them(monkeypatch: pytest.MonkeyPatch) -> None:
    second = changed(EXPERIMENTS["v1"], {"name": "second", "data.pseudo": PseudoLabels("i2b-pseudo", weight=0.25)})
    monkeypatch.setitem(EXPERIMENTS, "second", second)
    assert kernel_card("second", "train").parameters["PARTS"] == ("biomass", "pseudo_labels")
    assert kernel_card("second", "infer").parameters["PARTS"] == ("biomass",)


def test_test_time_training_brings_the_training_of_the_experiment_that_wants_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With all that its training needs but what only begins one: pretrained weights' names, other people's pastures."""
    wants = {"predict.adapt": predictor.TestTimeTraining(), "predict.constraint": "average"}
    for name, seed in (("wants7", "v7"), ("wants5", "v5_componly")):
        monkeypatch.setitem(EXPERIMENTS, name, changed(EXPERIMENTS[seed], {"name": name, "depth": None, **wants}))
        assert kernel_card(name, "infer").parameters["PARTS"] == ("biomass", "seed_constraints", "test_time_training")
        held = modules_in(name, "infer")
        assert held >= ADAPTATION | {"training/training", "recipes/experiment"}
        assert not held & (EXTERNAL | PSEUDO_LABELS | HUB_NAMES | DEPTH_IN_TRAINING | {"competitions/held_recipes"})
        assert "test_time_training" not in kernel_card(name, "train").parameters["PARTS"]


def test_auxiliary_targets_and_mixing_come_with_the_experiment_that_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    changes = {"name": "second", "auxiliary": (Bins(),), "augment.mix": Mixup()}
    monkeypatch.setitem(EXPERIMENTS, "second", changed(EXPERIMENTS["v1"], changes))
    assert kernel_card("second", "train").parameters["PARTS"] == ("auxiliary", "biomass", "mixing")
    assert modules_in("second", "train") >= MIXING
    assert kernel_card("second", "infer").parameters["PARTS"] == ("biomass",)


def test_marks_crops_and_rules_come_with_the_experiment_that_names_them(monkeypatch: pytest.MonkeyPatch) -> None:
    changes = {
        "camera_marks": {"augment.stamps_p": 0.1},
        "cropping": {"augment.rescale": (0.7, 1.0)},
        "row_rules": {"data.drop": ("wa_without_green",)},
    }
    for (part, change), modules in zip(changes.items(), (MARKS, CROPPING, ROW_RULES), strict=True):
        monkeypatch.setitem(EXPERIMENTS, "third", changed(EXPERIMENTS["v1"], {"name": "third"} | change))
        assert kernel_card("third", "train").parameters["PARTS"] == ("biomass", part)
        assert kernel_card("third", "infer").parameters["PARTS"] == ("biomass",)
        assert modules_in("third", "train") >= modules


def test_a_part_beyond_what_is_needed_is_named_beside_the_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(kernel_cards.EXTRA_PARTS, ("v7", "infer"), ("stack",))
    assert kernel_card("v7", "infer").parameters["PARTS"] == ("biomass", "stack")
    assert STACK <= modules_in("v7", "infer")
    monkeypatch.setitem(kernel_cards.EXTRA_PARTS, ("v7", "infer"), ("stak",))
    with pytest.raises(CheckFailed, match="PARTS names 'stak', which is not an optional part → there are .*stack"):
        modules_in("v7", "infer")


def _names(node: ast.Assign) -> list[str]:
    return [target.id for target in node.targets if isinstance(target, ast.Name)]


@pytest.mark.parametrize("kernel", ["train", "infer"])
def test_the_script_itself_has_all_parts(kernel: str) -> None:
    """As a plain script it runs the default competition's experiments: its cell names all but the others' parts."""
    text = (ROOT / "kernel_src/kernels" / f"{kernel}.py").read_text()
    values = [node.value for node in ast.parse(text).body if isinstance(node, ast.Assign) and _names(node) == ["PARTS"]]
    names = set(ast.literal_eval(values[0]))
    assert names >= {"biomass", "classes", "inputs"} and not names & {"leaf", "paws"}
    whole = compose(ROOT / "kernel_src/kernels" / f"{kernel}.py", ROOT, {"PARTS": tuple(sorted(names))}).sources
    behind = {part for source in whole for part in PART.findall((ROOT / source).read_text())}
    assert names == behind - {"leaf", "paws"}, "every part that an import of the notebook's modules names"
    wanted = {one for name in EXPERIMENTS if kernel in kernels_of(name) for one in kernel_cards.parts_of(name, kernel)}
    assert wanted <= names | set(COMPETITIONS)
