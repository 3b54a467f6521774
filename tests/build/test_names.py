"""A name that Kaggle would not take is refused where it is written or typed, by that name, with the rule."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from build.core.errors import CheckFailed, UsageError
from build.core.settings import apply_changes, parse_folds
from build.kaggle.command import data_verb, push_data_verb
from build.notebooks.adoption import check_free
from build.notebooks.builder import ROOT, build, check_notebook, pull_command
from build.notebooks.metadata import dataset_metadata, dataset_problems, kernel_metadata, kernel_problems, kernel_slug
from build.report.places import find_run
from build.search.tuning.command import tune
from kernel_src.competitions.biomass.experiments import DEMO
from kernel_src.competitions.held_recipes import ENSEMBLES, EXPERIMENTS, by_name
from kernel_src.competitions.kernel_cards import bundle_slug, frozen_backbones, kernel_card
from kernel_src.recipes.changes import changed
from kernel_src.recipes.ensemble import Ensemble
from kernel_src.recipes.predictor import LONGEST_EXPERIMENT_NAME, checked_experiment_name
from kernel_src.recipes.spec import ExperimentError
from tests.build.kaggle.desk import copy_kit

IMPOSSIBLE = [
    "v7.1",
    "MyExp",
    "exp 2",
    "",
    "v7__x",
    "_x",
    "x-",
    "übung",
    "../x",
    "a" * (LONGEST_EXPERIMENT_NAME + 1),
    "a+b",
]


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_an_impossible_name_is_refused_with_the_rule(name: str) -> None:
    for make in (
        lambda: replace(DEMO, name=name),
        lambda: changed(DEMO, {"name": name}),
        lambda: Ensemble(name=name, shares={"v4": 1.0}),
    ):
        with pytest.raises(ExperimentError) as refused:
            make()
        said = str(refused.value)
        assert repr(name) in said and "lower-case letters and digits" in said and "dataset_sources" not in said
        checked_experiment_name(said.rpartition("e.g. ")[2].strip("'"))  # what is proposed is possible
    for option in ("--adopt", "--write"):
        with pytest.raises(UsageError, match=f"{option}: the name"):
            check_free(name, option, {})


@given(name=st.from_regex(r"[a-z0-9]+([_-][a-z0-9]+)*", fullmatch=True) | st.text(max_size=45))
def test_what_the_rule_allows_kaggle_takes(name: str) -> None:
    try:
        checked_experiment_name(name)
    except ExperimentError:
        return
    for kernel in ("train", "infer"):
        card = replace(kernel_card("demo", kernel), experiment=name, datasets=(bundle_slug(name),))
        assert kernel_problems(kernel_metadata(card), "") == []
    assert dataset_problems(dataset_metadata(bundle_slug(name)), "") == []


@pytest.mark.parametrize("name", ["v7.1", "exp 2"])
def test_the_command_line_says_where_the_name_stands(name: str, tmp_path: Path) -> None:
    kit = copy_kit(tmp_path / "kit")
    path = kit / "kernel_src" / "competitions" / "biomass" / "experiments.py"
    text = path.read_text().replace(
        "class BiomassRecipes(", f"MINE = replace(DEMO, name={name!r})\n\n\nclass BiomassRecipes("
    )
    assert text.count("MINE") == 1
    path.write_text(text)
    line = text[: text.index("MINE")].count("\n") + 1
    done = subprocess.run(
        [sys.executable, "-m", "build", "notebooks", "--experiment", name], cwd=kit, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"kernel_src/competitions/biomass/experiments.py:{line}: the name {name!r} cannot be")
    assert "Traceback" not in done.stderr


def test_two_experiments_of_one_name_are_refused() -> None:
    assert list(by_name((DEMO, replace(DEMO, name="mine")))) == ["demo", "mine"]
    with pytest.raises(ExperimentError, match="two experiments are named 'demo'"):
        by_name((DEMO, changed(DEMO, {"schedule.epochs": 3})))


def test_names_that_differ_only_on_this_machine_are_named() -> None:
    cards = [replace(kernel_card("demo", "infer"), experiment=name) for name in ("my_exp", "my-exp", "demo")]
    with pytest.raises(CheckFailed, match="my-exp, my_exp get the same slug"):
        build(cards)


def test_an_ensemble_of_what_is_no_experiment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENSEMBLES, "mix", Ensemble(name="mix", shares={"v4": 0.5, "v44": 0.5}))
    with pytest.raises(ExperimentError, match="mix: v44 is not an experiment"):
        frozen_backbones("mix")
    with pytest.raises(ExperimentError, match="without shares"):
        Ensemble(name="mix", shares={})


@pytest.mark.parametrize("path", ["encoder.weights", "depth.weights", "data.external.dataset", "data.pseudo.dataset"])
def test_a_dataset_that_is_no_slug_is_refused_by_its_field(path: str) -> None:
    above, field = path.rsplit(".", 1)
    there: dict[str, Any] = {} if above == "encoder" else {above: {field: "i2b-there"}}
    for value in ("My Data", "out/weights/x", "https://www.kaggle.com/datasets/kim/x", "x.pth"):
        with pytest.raises(ExperimentError, match=f"^{above}: [A-Za-z]*: {field}="):
            changed(DEMO, there | {path: value})
    for value in ("i2b-x", "kim/i2b-x", "Kim_2/x"):
        changed(DEMO, there | {path: value})


@pytest.mark.parametrize("slug", ["My Data", "kim/my-data", "x", "my_data", "-my-data", "m" * 51, "../../my-data"])
def test_a_slug_is_refused_before_anything_is_asked(slug: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="SLUG=.* is not the slug") as refused:
        push_data_verb(folder=tmp_path, slug=slug)
    assert repr(slug) in str(refused.value)


def test_a_kernel_or_experiment_that_is_not_there_is_named_as_typed() -> None:
    with pytest.raises(UsageError, match=r"demo has no notebook 'inferr'; KERNEL \(--kernel\) is train or infer"):
        check_notebook("demo", "inferr")
    with pytest.raises(UsageError, match="no experiment 'exp 2'"):
        check_notebook("exp 2", "infer")
    with pytest.raises(UsageError, match="no experiment 'exp 2'"):
        find_run("exp 2")


def test_the_command_that_fetches_an_edit_names_the_notebook() -> None:
    for name in EXPERIMENTS:
        assert pull_command(kernel_slug(name, "infer")) == f"make pull-kernel EXPERIMENT={name} KERNEL=infer"
    assert pull_command("i2b-preflight") == "python -m build pull-kernel --experiment '' --kernel preflight"
    check_notebook("", "preflight")
    assert (ROOT / "notebooks" / "i2b-preflight").is_dir()


@pytest.mark.parametrize("folds", ["5", "0,7", "-1"])
def test_a_fold_that_the_experiment_has_not_is_named(folds: str) -> None:
    with pytest.raises(UsageError, match=r"the folds are 0 to 2: check SET and FOLDS"):
        apply_changes(DEMO, parse_folds(folds))


@pytest.mark.parametrize("name", ["../x", "/x", "a/b", ".x", "-x", "a\nb"])
def test_the_name_of_a_study_stays_in_its_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="--study: "):
        tune("demo", data=tmp_path, out=tmp_path / "out", study_name=name, trials=1)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("slug", ["../x", "a/b", "-o", "A b"])
def test_the_slug_of_a_competition_is_no_path(tmp_path: Path, slug: str) -> None:
    with pytest.raises(UsageError, match="--competition .* is not a slug"):
        data_verb(slug, limit_gb=1.0)
