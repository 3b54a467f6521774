"""SET and PARAMS: in the notebook that is pushed, part of what makes it another push, and nowhere else."""

import ast
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from build.core.errors import UsageError
from build.kaggle.journal_steps import Step
from build.kaggle.pushed_values import Given, built_with, parameters_in, parse_parameters
from build.kaggle.status import known_here
from build.notebooks.adopted import make_card
from build.notebooks.base import find
from build.notebooks.builder import ROOT, build_notebook
from build.notebooks.seal import is_untouched
from build.notebooks.writing import put
from kernel_src.competitions.kernel_cards import kernel_card
from tests.build.kaggle.desk import KERNEL, Desk, lay_desk, submission_csv
from tests.build.kaggle.test_kill import LOST, UNANSWERED, Executioner
from tests.build.kaggle.test_training import first_desk, training_outputs  # noqa: F401

TRAINING = "kim/i2b-demo-train"
INFER, TRAIN = kernel_card("demo", "infer"), kernel_card("demo", "train")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def own_files() -> dict[str, str]:
    """What a push must never change."""
    paths = [path for name in ("kernel_src", "notebooks") for path in (ROOT / name).rglob("*") if path.is_file()]
    paths = [path for path in paths if "__pycache__" not in path.parts]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def sent_parameters(site: Any, ref: str, version: int = -1) -> dict[str, Any]:
    """What the parameters cell of a version on the site says."""
    cells = json.loads(site.kernels[ref].versions[version]["text"])["cells"]
    (source,) = ["".join(cell["source"]) for cell in cells if "parameters" in cell["metadata"].get("tags", ())]
    return {node.targets[0].id: ast.literal_eval(node.value) for node in ast.parse(source).body}


def test_the_notebook_differs_from_the_one_in_notebooks_in_that_value_only(here: Path) -> None:
    before = own_files()
    card, notebook, values = built_with(Given(parameters=("BATCH_SIZE=8",)), INFER)
    plain = here / "plain.ipynb"  # as it is built now
    plain.write_bytes(build_notebook(INFER).notebook)
    assert values == {"BATCH_SIZE": "8"} and card.parameters["BATCH_SIZE"] == 8
    assert notebook == Path("out/push/built/i2b-demo-infer/i2b-demo-infer.ipynb")
    assert parameters_in(notebook) == parameters_in(plain) | {"BATCH_SIZE": 8}
    ours, theirs = (json.loads(path.read_text()) for path in (notebook, plain))
    differing = [a["source"] for a, b in zip(ours["cells"], theirs["cells"], strict=True) if a["source"] != b["source"]]
    assert len(differing) == 2, "the parameters, and the note on the sources' hash"
    assert ours["metadata"]["stitch"]["source_sha256"] != theirs["metadata"]["stitch"]["source_sha256"]
    assert is_untouched(notebook.read_bytes()) and own_files() == before


def test_changes_of_the_recipe_go_into_changes_with_what_the_changed_recipe_needs(here: Path) -> None:
    given = Given(changes=("schedule.epochs=3 keep=EMA", "machine.shape=NvidiaL4"))
    card, notebook, _ = built_with(given, TRAIN)
    changes = parameters_in(notebook)["CHANGES"]
    assert changes == {"schedule.epochs": 3, "keep": "EMA", "machine.shape": "NvidiaL4"}
    described = json.loads(notebook.with_name("kernel-metadata.json").read_text())
    assert card.machine_shape == described["machine_shape"] == "NvidiaL4"


def test_a_value_that_is_there_anyway_is_the_same_push(here: Path) -> None:
    assert built_with(Given(parameters=("BATCH_SIZE=16 SHOW_IMAGES=6",)), INFER)[1:] == (
        ROOT / "notebooks/i2b-demo-infer/i2b-demo-infer.ipynb",
        {},
    )
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (
            Given(parameters=("BATCHSIZE=8",)),
            "has no BATCHSIZE; PARAMS sets BUNDLES, STACK, CONSTRAINT, PREDICT_S",
        ),
        (Given(parameters=("BATCH_SIZE=eight",)), "BATCH_SIZE=eight is not a literal of Python"),
        (Given(parameters=("BATCH_SIZE='8'",)), r"another kind of value \(str\): there it is 16 \(int\)"),
        (Given(parameters=("BATCH_SIZE",)), "'BATCH_SIZE' is not NAME=value"),
        (Given(parameters=("SHOW_IMAGES=True",)), "another kind of value"),
        (Given(parameters=("PARTS=()",)), "PARTS is not given by PARAMS: the build chooses them"),
        (Given(changes=("schedule.epochs=3",)), "SET is for a training of this kit: i2b-demo-infer takes none"),
    ],
)
def test_what_the_cell_does_not_take_is_refused_with_what_it_has(here: Path, given: Given, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        built_with(given, INFER)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ("epochs=3", "did you mean schedule.epochs"),
        ("schedule.epochs=-1", "check SET"),
        ("name=other", "no field 'name'"),
    ],
)
def test_changes_that_no_recipe_takes_are_refused(here: Path, changes: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        built_with(Given(changes=(changes,)), TRAIN)


def test_changes_and_the_experiment_are_not_given_as_parameters(here: Path) -> None:
    for word, cure in (("CHANGES={'a': 1}", "by SET"), ("EXPERIMENT='v1'", "EXPERIMENT=…")):
        with pytest.raises(UsageError, match=cure):
            built_with(Given(parameters=(word,)), TRAIN)


def test_literals_hold_blanks_within_quotes_and_brackets() -> None:
    text = """A=1 B='two words' C={"x": [1, 2], "y": (3, 4)} D=-0.5 E="it's" F=None"""
    assert parse_parameters([text, "G=True"]) == {
        "A": 1,
        "B": "two words",
        "C": {"x": [1, 2], "y": (3, 4)},
        "D": -0.5,
        "E": "it's",
        "F": None,
        "G": True,
    }


ADOPTED = """\
import argparse

# %% tags=["parameters"]
EPOCHS = 1

# %%
parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float)
print(parser.parse_args().lr, EPOCHS)
"""


@pytest.mark.parametrize(
    ("script", "words", "held"),
    [
        (ADOPTED, "EPOCHS=5", {"EPOCHS": 5}),
        (ADOPTED.replace(' tags=["parameters"]', ""), "ARGS='--lr 0.1'", {"ARGS": "--lr 0.1"}),
    ],
)
def test_a_script_of_somebody_elses_takes_what_its_own_cell_has_or_another_command_line(
    here: Path, monkeypatch: pytest.MonkeyPatch, script: str, words: str, held: dict[str, Any]
) -> None:
    (here / "theirs").mkdir()
    (here / "theirs/main.py").write_text(script)
    card = make_card("their-script", {"root": "theirs", "main": "main.py"}, here, "adopted.json")
    for path, content in build_notebook(card, here).files(here).items():
        put(path, content)
    monkeypatch.setattr("build.kaggle.pushed_values.ROOT", here)
    _, notebook, values = built_with(Given(parameters=(words,)), card)
    assert parameters_in(notebook) == held and list(values) == list(held)
    with pytest.raises(UsageError, match=f"no LR; PARAMS sets {next(iter(held))}"):
        built_with(Given(parameters=("LR=1",)), card)


def test_an_edit_made_on_the_site_finds_the_build_that_was_pushed(here: Path) -> None:
    _, notebook, _ = built_with(Given(parameters=("BATCH_SIZE=8",)), INFER)
    base = find(ROOT, json.loads(notebook.read_text())["metadata"]["stitch"]["source_sha256"])
    assert base.parameters["BATCH_SIZE"] == 8


def test_the_status_shows_the_values_of_the_newest_version(here: Path) -> None:
    version = {"kernel": KERNEL, "parameters": {"BATCH_SIZE": "8"}}
    steps = [Step(step="kernel", inputs=version, state="done", result={"version": 2}, begun="2026-11-30T10:00")]
    assert known_here("demo", steps, []).inference == "v2 pushed 2026-11-30 (BATCH_SIZE = 8)"


@pytest.fixture
def desk(first_desk: Desk, mother, site, tmp_path: Path) -> Desk:  # noqa: F811
    site.outputs = {"i2b-demo-train": training_outputs(tmp_path, **{"schedule": {"epochs": 3}})}
    return first_desk.copy(tmp_path / "kit", mother)


@pytest.mark.full
def test_a_push_with_other_values_is_another_push_and_each_is_made_once(desk: Desk, server, site) -> None:
    def push(*words: str) -> str:
        done = desk.shell("--no-wait", *words, verb="push-training")
        assert done.returncode == 0, done.stderr
        return done.stdout

    said = push("--set", "schedule.epochs=3", "--params", "SHOW_IMAGES=2")
    assert 'with CHANGES = {"schedule.epochs": 3}, SHOW_IMAGES = 2' in said
    assert "SET=schedule.epochs=3 PARAMS=SHOW_IMAGES=2" in said, "the command that goes on has them, too"
    push("--set", "schedule.epochs=3", "--params", "SHOW_IMAGES=2")
    push("--set", "schedule.epochs=4")
    push()
    push("--set", "schedule.epochs=4")
    assert len(site.kernels[TRAINING].versions) == 3
    assert [sent_parameters(site, TRAINING, number)["CHANGES"] for number in range(3)] == [
        {"schedule.epochs": 3},
        {"schedule.epochs": 4},
        {},
    ]


@pytest.mark.full
@pytest.mark.parametrize("phase", [LOST, UNANSWERED])
def test_killed_while_it_is_saved_the_same_command_saves_it_once(phase: str, desk: Desk, server, site) -> None:
    words = ("--no-wait", "--set", "schedule.epochs=3")
    executioner = Executioner(phase, name="SaveKernel")
    with server.lock:
        server.hook = executioner
        executioner.command = desk.start(*words, verb="push-training")
    executioner.command.wait()
    server.hook = lambda phase, n, name: None
    assert executioner.struck
    done = desk.shell(*words, verb="push-training")
    assert done.returncode == 0, done.stderr
    assert [sent_parameters(site, TRAINING)["CHANGES"]] == [{"schedule.epochs": 3}]
    assert len(site.kernels[TRAINING].versions) == 1


def test_the_bundle_of_a_training_with_set_carries_the_changed_recipe(desk: Desk, site, tmp_path: Path) -> None:
    from kernel_src.competitions.held_recipes import EXPERIMENTS
    from kernel_src.recipes.changes import changed

    recipe = changed(EXPERIMENTS["demo"], {"schedule.epochs": 3}).as_json()
    (tmp_path / "made").mkdir()
    site.outputs = {"i2b-demo-train": training_outputs(tmp_path / "made", **recipe)}
    done = desk.shell("--set", "schedule.epochs=3", verb="push-training")
    assert done.returncode == 0, done.stderr
    assert sent_parameters(site, TRAINING)["CHANGES"] == {"schedule.epochs": 3}
    config = json.loads((desk.folder / "out/bundles/demo/config.json").read_text())
    assert config["experiment"]["schedule"]["epochs"] == 3


def test_an_inference_with_other_values_needs_a_rehearsal_of_its_own_and_the_ledger_names_them(
    mother, site, tmp_path: Path
) -> None:
    desk = lay_desk(tmp_path / "kit")
    desk.mother = mother
    site.outputs = {"i2b-demo-infer": {"submission.csv": submission_csv("ID7")}}
    refused = desk.shell("--params", "BATCH_SIZE=8", "--message", "smaller")
    assert refused.returncode != 0 and "to rehearse on" in refused.stderr, "the receipt at hand is of another notebook"
    assert KERNEL not in site.kernels
    place = desk.folder / "out/demo/rehearsal/report.json"
    built = json.loads((desk.folder / "out/push/built/i2b-demo-infer/i2b-demo-infer.ipynb").read_text())
    sha256 = built["metadata"]["stitch"]["source_sha256"]
    place.write_text(json.dumps(json.loads(place.read_text()) | {"source_sha256": sha256}))
    done = desk.shell("--params", "BATCH_SIZE=8", "--message", "smaller")
    assert done.returncode == 0, done.stderr
    assert sent_parameters(site, KERNEL)["BATCH_SIZE"] == 8
    (row,) = desk.scores()
    assert row["note"] == "smaller [BATCH_SIZE = 8]" and row["source_sha256"] == sha256
