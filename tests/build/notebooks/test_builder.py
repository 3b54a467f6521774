"""`make build` on a toy package: what is written, what is left alone, what is refused."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import build.notebooks.builder
from build.core.errors import CheckFailed, UsageError
from build.notebooks.builder import (
    ROOT,
    all_cards,
    build_missing,
    choose_cards,
    describe_datasets,
    find_orphans,
    notebook_of,
    run,
)
from build.notebooks.builder import build as build_notebooks
from build.notebooks.seal import is_untouched
from build.notebooks.stamp import STAMP
from build.stitch import stitch
from kernel_src.competitions.kernel_cards import KernelCard, kernel_card

LIBRARY = '"""## The tool\n\nIt doubles.\n"""\n\n\ndef double(number):\n    return 2 * number\n'
KERNEL = """# %% [markdown]
# # Toy

# %%
from kernel_src.data.tool import double

# %% tags=["parameters"]
BUNDLES = {}  # slug → weight

# %%
print(double(len(BUNDLES)))
"""


def make_card(experiment: str, kernel: str = "infer") -> KernelCard:
    return KernelCard(
        experiment=experiment,
        kernel=kernel,
        parameters={"BUNDLES": {f"i2b-{experiment}-weights": 1.0}},
        datasets=(f"i2b-{experiment}-weights",),
        competitions=("the-cup",),
        machine_shape="NvidiaTeslaT4",
        enable_gpu=True,
    )


CARDS = [make_card("a1"), make_card("b2")]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Write a package of one module and one kernel."""
    for path, text in (
        ("kernel_src/__init__.py", ""),
        ("kernel_src/data/__init__.py", ""),
        ("kernel_src/data/tool.py", LIBRARY),
        ("kernel_src/kernels/infer.py", KERNEL),
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
    return tmp_path


def notebook_path(root: Path, slug: str = "i2b-a1-infer") -> Path:
    return root / "notebooks" / slug / f"{slug}.ipynb"


def states(root: Path, cards: list[KernelCard] = CARDS, **options: bool) -> list[str]:
    return [outcome.state for outcome in build_notebooks(cards, root, **options)]


def change_library(root: Path) -> None:
    (root / "kernel_src/data/tool.py").write_text(LIBRARY.replace("2 *", "3 *"), encoding="utf-8")


def edit_notebook(root: Path) -> bytes:
    path = notebook_path(root)
    path.write_text(path.read_text(encoding="utf-8").replace("print(double", "print(1 + double"), encoding="utf-8")
    return path.read_bytes()


def test_a_notebook_that_does_not_lie_there_is_built_by_the_one_who_asks_for_it(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "kernel_src", tmp_path / "kernel_src", ignore=shutil.ignore_patterns("__pycache__"))
    path = notebook_of("i2b-v1-infer", tmp_path / "notebooks")
    assert [one.name for one in (tmp_path / "notebooks").iterdir()] == ["i2b-v1-infer"]
    path.write_bytes(path.read_bytes().replace(b"inference", b"my inference"))
    assert b"my inference" in build_missing("i2b-v1-infer", tmp_path).read_bytes(), "what lies there is left alone"
    with pytest.raises(UsageError, match="does not exist"):
        notebook_of("i2b-v99-infer", tmp_path / "notebooks")


def test_each_card_becomes_a_notebook_with_its_description(root: Path) -> None:
    assert states(root) == ["written", "written"]
    notebook = json.loads(notebook_path(root).read_bytes())
    text = "\n".join("".join(cell["source"]) for cell in notebook["cells"])
    assert "def double(number)" in text and "i2b-a1-weights" in text
    metadata = json.loads(notebook_path(root).with_name("kernel-metadata.json").read_bytes())
    assert metadata["id"] == "OWNER/i2b-a1-infer" and metadata["dataset_sources"] == ["OWNER/i2b-a1-weights"]


def test_the_notebook_written_is_valid_for_nbformat(root: Path) -> None:
    import nbformat

    states(root)
    text = notebook_path(root).read_text(encoding="utf-8")
    nbformat.validate(nbformat.reads(text, as_version=4))
    assert text.endswith("}\n")


def test_a_second_build_writes_nothing(root: Path) -> None:
    states(root)
    times = {path: path.stat().st_mtime_ns for path in (root / "notebooks").rglob("*")}
    assert states(root) == ["up to date", "up to date"]
    assert {path: path.stat().st_mtime_ns for path in (root / "notebooks").rglob("*")} == times


def test_what_is_up_to_date_is_not_stitched_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    states(root)
    monkeypatch.setattr(build.notebooks.builder, "build_notebook", lambda *_: pytest.fail("stitched again"))
    assert states(root) == ["up to date", "up to date"]


def test_the_stamp_alone_never_decides_what_is_written(root: Path) -> None:
    states(root)
    before = notebook_path(root).read_bytes()
    (root / STAMP).unlink()
    assert states(root) == ["up to date", "up to date"]
    (root / STAMP).write_text("damaged", encoding="utf-8")
    notebook_path(root).unlink()
    assert states(root) == ["written", "up to date"]
    assert notebook_path(root).read_bytes() == before


def test_a_changed_source_is_noticed(root: Path) -> None:
    states(root)
    change_library(root)
    assert states(root) == ["written", "written"]
    assert b"3 * number" in notebook_path(root).read_bytes()


def test_a_changed_card_rewrites_its_own_notebook_only(root: Path) -> None:
    states(root)
    cards = [replace(CARDS[0], machine_shape="NvidiaL4"), CARDS[1]]
    assert states(root, cards) == ["written", "up to date"]


def test_building_one_experiment_leaves_the_others_to_the_next_build(root: Path) -> None:
    states(root)
    change_library(root)
    assert states(root, CARDS[:1]) == ["written"]
    assert states(root) == ["up to date", "written"]


@pytest.mark.parametrize("with_stamp", [True, False])
@pytest.mark.parametrize("sources_changed", [True, False])
def test_a_notebook_edited_by_hand_is_not_overwritten(root: Path, with_stamp: bool, sources_changed: bool) -> None:
    states(root)
    edited = edit_notebook(root)
    other = notebook_path(root, "i2b-b2-infer").read_bytes()
    if not with_stamp:  # a fresh clone
        (root / STAMP).unlink()
    if sources_changed:
        change_library(root)
    with pytest.raises(CheckFailed) as failed:
        states(root)
    (problem,) = failed.value.problems
    assert problem.where == "notebooks/i2b-a1-infer/i2b-a1-infer.ipynb" and "--overwrite" in problem.cure
    assert notebook_path(root).read_bytes() == edited
    assert notebook_path(root, "i2b-b2-infer").read_bytes() == other, "a refused build must write nothing at all"


def test_overwriting_keeps_the_edited_copy(root: Path) -> None:
    states(root)
    edited = edit_notebook(root)
    first, second = build_notebooks(CARDS, root, overwrite=True)
    assert (first.state, second.state) == ("overwritten", "up to date")
    assert (root / first.saved).read_bytes() == edited
    assert is_untouched(notebook_path(root).read_bytes())


def test_outputs_of_a_run_in_place_count_as_an_edit_and_other_formatting_does_not(root: Path) -> None:
    states(root)
    notebook = json.loads(notebook_path(root).read_bytes())
    for cell in notebook["cells"]:
        cell["source"] = "".join(cell["source"]).splitlines(keepends=True)
    notebook["metadata"]["kernelspec"]["display_name"] = "Some other Python"
    notebook_path(root).write_text(json.dumps(notebook), encoding="utf-8")
    assert states(root) == ["written", "up to date"]
    code = next(cell for cell in notebook["cells"] if cell["cell_type"] == "code")
    code["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "hours of work"}]
    notebook_path(root).write_text(json.dumps(notebook), encoding="utf-8")
    with pytest.raises(CheckFailed):
        states(root)


def test_a_foreign_file_in_the_notebooks_place_is_not_overwritten(root: Path) -> None:
    notebook_path(root).parent.mkdir(parents=True)
    notebook_path(root).write_text("not ours", encoding="utf-8")
    with pytest.raises(CheckFailed):
        states(root)
    assert notebook_path(root).read_text(encoding="utf-8") == "not ours"


def test_a_description_edited_by_hand_is_not_overwritten_and_an_old_one_is(root: Path) -> None:
    states(root)
    (root / STAMP).unlink()
    changed = [replace(CARDS[0], machine_shape="NvidiaL4"), CARDS[1]]
    assert states(root, changed) == ["written", "up to date"]
    path = notebook_path(root).with_name("kernel-metadata.json")
    path.write_text(path.read_text(encoding="utf-8").replace("OWNER/i2b-a1-infer", "me/i2b-a1-infer"), encoding="utf-8")
    with pytest.raises(CheckFailed) as failed:
        states(root)
    assert failed.value.problems[0].where.endswith("kernel-metadata.json")


def test_an_interrupted_build_does_not_look_like_an_edit(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    states(root)
    change_library(root)
    changed = [replace(card, machine_shape="NvidiaL4") for card in CARDS]
    real = build.notebooks.builder.put
    written: list[Path] = []

    def fail_at_the_second(path: Path, content: bytes) -> None:
        written.append(path)
        if len(written) == 2:
            raise OSError("disk full")
        real(path, content)

    monkeypatch.setattr(build.notebooks.builder, "put", fail_at_the_second)
    with pytest.raises(OSError, match="disk full"):
        states(root, changed)
    monkeypatch.setattr(build.notebooks.builder, "put", real)
    assert states(root, changed) == ["written", "written"]


def test_every_problem_of_every_notebook_is_reported_once(root: Path) -> None:
    states(root)
    edit_notebook(root)
    cards = [*CARDS, replace(make_card("c3"), machine_shape="Gpu"), replace(make_card("d4"), machine_shape="Tpu")]
    with pytest.raises(CheckFailed) as failed:
        states(root, cards)
    text = str(failed.value)
    assert "'Gpu' is unknown" in text and "'Tpu' is unknown" in text and "edited by hand" in text


def test_a_fault_in_a_shared_module_is_reported_once_and_nothing_is_written(root: Path) -> None:
    (root / "kernel_src/data/tool.py").write_text("def double(:\n", encoding="utf-8")
    with pytest.raises(CheckFailed) as failed:
        states(root)
    assert len(failed.value.problems) == 1 and "kernel_src/data/tool.py:1" in failed.value.problems[0].where
    assert not (root / "notebooks").exists()


def test_two_experiments_that_make_one_slug_are_refused(root: Path) -> None:
    with pytest.raises(CheckFailed, match="the same slug"):
        states(root, [make_card("a_1"), make_card("a-1")])


def test_a_folder_that_no_experiment_makes_is_reported_and_never_removed(root: Path, capsys) -> None:
    states(root)
    run(None, False, root=root, cards=CARDS[:1])
    assert "orphan      notebooks/i2b-b2-infer" in capsys.readouterr().out
    assert find_orphans(CARDS[:1], root) == [root / "notebooks/i2b-b2-infer"]
    assert notebook_path(root, "i2b-b2-infer").is_file()


def test_an_unknown_experiment_is_wrong_use_and_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"no experiment 'a11'; there are a1, b2\. Did you mean a1\?"):
        choose_cards("a11", CARDS)
    assert choose_cards("b2", CARDS) == [CARDS[1]]
    assert choose_cards(None, CARDS) == CARDS


def test_each_dataset_gets_a_description_once_and_keeps_what_a_person_wrote(root: Path) -> None:
    assert [outcome.path for outcome in describe_datasets(CARDS, root)] == [
        "datasets_meta/i2b-a1-weights/dataset-metadata.json",
        "datasets_meta/i2b-b2-weights/dataset-metadata.json",
    ]
    path = root / "datasets_meta/i2b-a1-weights/dataset-metadata.json"
    path.write_text(path.read_text(encoding="utf-8").replace("other", "apache-2.0"), encoding="utf-8")
    assert describe_datasets(CARDS, root) == []
    assert "apache-2.0" in path.read_text(encoding="utf-8")


def test_the_verb_prints_one_line_per_notebook_and_a_clear_last_one(root: Path, capsys) -> None:
    run(None, False, root=root, cards=CARDS)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "written     notebooks/i2b-a1-infer/i2b-a1-infer.ipynb"
    assert lines[-1].startswith("2 notebooks: 2 written, 0 up to date, ")


def test_with_json_the_verb_prints_one_object(root: Path, capsys) -> None:
    run("a1", True, root=root, cards=CARDS)
    value = json.loads(capsys.readouterr().out)
    assert value["ok"] and [entry["state"] for entry in value["notebooks"]] == ["written"]


def test_what_is_up_to_date_loads_nothing_heavy(root: Path) -> None:
    """Building again must not pay for nbformat and jupytext (1.1–1.5 s); CPU seconds, as other jobs may run beside."""
    code = f"""
import resource, sys
from pathlib import Path
sys.path.insert(0, {str(ROOT)!r})
from build.notebooks.builder import run
from kernel_src.competitions.kernel_cards import KernelCard
cards = {CARDS!r}
run(None, False, root=Path({str(root)!r}), cards=cards)
print(sorted({{"nbformat", "jupytext", "torch", "pandas", "numpy"}} & set(sys.modules)))
print(resource.getrusage(resource.RUSAGE_SELF).ru_utime)
"""
    states(root)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *_, heavy, seconds = done.stdout.splitlines()
    assert heavy == "[]" and float(seconds) < 0.5, done.stdout
    assert "2 up to date" in done.stdout


def test_an_ensemble_is_built_as_one_inference_notebook() -> None:
    assert [(card.experiment, card.kernel) for card in choose_cards("v6", all_cards())] == [("v6", "infer")]


def test_the_inference_notebook_imports_nothing_that_only_training_needs() -> None:
    stitched = stitch(ROOT / "kernel_src" / "kernels" / "infer.py", ROOT, kernel_card("v6", "infer").parameters)
    assert not {"albumentations", "accelerate", "sklearn"} & set(stitched.third_party)
    trained_with = {"augmentation", "training", "losses", "optimization", "external", "launch", "runs"}
    modules = {Path(source).stem for source in stitched.sources}
    assert "inference" in modules and not trained_with & modules
