"""`make check` as a whole, on a small tree of notebooks built by the kit."""

import json
import shutil
from pathlib import Path

import pytest

from build.core.errors import CheckFailed
from build.core.image import SOURCE_LIMIT_BYTES
from build.notebooks.builder import NOTEBOOKS, ROOT, all_cards, build, describe_datasets
from build.notebooks.check.checked_cells import read_cells
from build.notebooks.check.command import check, notebook_problems, run, size_problems
from build.notebooks.stamp import STAMP
from kernel_src.competitions.kernel_cards import KernelCard

MOUNTS = '"""## Mounts"""\n\n\ndef find_dataset(slug, sentinel):\n    return slug, sentinel\n'
KERNEL = """# %% [markdown]
# # Toy

# %%
import numpy as np

from kernel_src.runtime.mounts import find_dataset

# %% tags=["parameters"]
BUNDLES = {}  # slug → weight

# %%
for slug in BUNDLES:
    print(find_dataset(slug, "x"), np.pi)
"""
PYPROJECT = '[project]\nname = "toy"\ndependencies = ["numpy==2.1.3"]\n'


def make_card(experiment: str) -> KernelCard:
    return KernelCard(
        experiment=experiment,
        kernel="infer",
        parameters={"BUNDLES": {f"i2b-{experiment}-weights": 1.0}},
        datasets=(f"i2b-{experiment}-weights",),
        competitions=(),
        machine_shape="NvidiaTeslaT4",
        enable_gpu=True,
    )


CARDS = [make_card("a1"), make_card("b2")]
A1 = "notebooks/i2b-a1-infer/i2b-a1-infer.ipynb"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Write a package of one module and one kernel, and build its two notebooks."""
    for path, text in (
        ("kernel_src/__init__.py", ""),
        ("kernel_src/data/__init__.py", ""),
        ("kernel_src/runtime/mounts.py", MOUNTS),
        ("kernel_src/kernels/infer.py", KERNEL),
        ("pyproject.toml", PYPROJECT),
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
    build(CARDS, tmp_path)
    describe_datasets(CARDS, tmp_path)
    return tmp_path


def problems(root: Path, cards: list[KernelCard] = CARDS) -> list[str]:
    return [str(problem) for problem in check(cards, root).problems]


def change(root: Path, path: str, old: str, new: str) -> None:
    text = (root / path).read_text(encoding="utf-8")
    assert old in text
    (root / path).write_text(text.replace(old, new), encoding="utf-8")


def test_freshly_built_notebooks_pass(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(False, root=root, cards=CARDS)
    assert capsys.readouterr().out.splitlines()[-1].startswith("2 notebooks: up to date, offline")


def test_with_json_a_pass_is_one_object(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(True, root=root, cards=CARDS)
    assert json.loads(capsys.readouterr().out) == {"ok": True, "notebooks": 2, "problems": [], "notes": []}


def test_the_check_writes_nothing(root: Path) -> None:
    change(root, "kernel_src/runtime/mounts.py", "return slug", "return sentinel, slug")
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    assert problems(root)
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before


def test_a_stale_notebook_is_found_with_the_command_to_run_even_without_a_stamp(root: Path) -> None:
    (root / STAMP).unlink()
    change(root, "kernel_src/runtime/mounts.py", "return slug", "return sentinel, slug")
    found = problems(root)
    assert len(found) == 2
    assert found[0] == f"{A1}: is not what the sources make → run `make build EXPERIMENT=a1`"


def test_a_push_is_stopped_by_what_is_wrong_with_its_own_notebook_only(root: Path) -> None:
    path = root / A1
    path.write_bytes(path.read_bytes() + b" ")
    assert check(CARDS, root, only="i2b-b2-infer").problems == []
    assert check(CARDS, root, only="i2b-a1-infer").problems == check(CARDS, root).problems != []


def test_one_changed_byte_is_found(root: Path) -> None:
    path = root / A1
    path.write_bytes(path.read_bytes() + b" ")
    assert problems(root) == [f"{A1}: is not what the sources make → run `make build EXPERIMENT=a1`"]


def test_a_missing_notebook_and_a_missing_description_are_found(root: Path) -> None:
    (root / A1).unlink()
    (root / "notebooks/i2b-b2-infer/kernel-metadata.json").unlink()
    found = problems(root)
    assert f"{A1}: is missing → run `make build EXPERIMENT=a1`" in found
    assert any(text.startswith("notebooks/i2b-b2-infer/kernel-metadata.json: is missing") for text in found)


def test_a_notebook_that_is_built_on_demand_is_checked_where_it_does_not_lie(root: Path) -> None:
    shutil.rmtree(root / "notebooks/i2b-a1-infer")
    verdict = check(CARDS, root)
    assert verdict.problems == [] and verdict.notebooks == 2
    change(root, "kernel_src/runtime/mounts.py", "    return", "    import torch\n\n    torch.load(slug)\n    return")
    (found,) = [text for text in problems(root) if "torch.load unpickles" in text and A1 in text]
    assert "kernel_src/runtime/mounts.py:7" in found and not (root / "notebooks/i2b-a1-infer").exists()


def test_an_edited_notebook_is_told_from_a_stale_one(root: Path) -> None:
    change(root, A1, "np.pi)", "np.e)")
    (found,) = problems(root)
    assert "edited by hand" in found and "--overwrite" in found


def test_a_notebook_that_no_experiment_makes_is_found(root: Path) -> None:
    (found,) = problems(root, CARDS[:1])
    assert found.startswith("notebooks/i2b-b2-infer: no experiment makes this notebook → `rm -r")


def test_sources_that_cannot_be_stitched_are_reported_once(root: Path) -> None:
    change(root, "kernel_src/runtime/mounts.py", "def find_dataset(", "def find_dataset(:")
    found = [text for text in problems(root) if "kernel_src/runtime/mounts.py:4" in text]
    assert len(found) == 1


def test_a_forbidden_call_in_the_library_is_traced_to_its_source_line(root: Path) -> None:
    change(root, "kernel_src/runtime/mounts.py", "    return", "    import torch\n\n    torch.load(slug)\n    return")
    build(CARDS, root)
    found = [text for text in problems(root) if "torch.load unpickles" in text]
    assert len(found) == 2, "once per notebook"
    assert "kernel_src/runtime/mounts.py:7" in found[0] and "i2b-a1-infer.ipynb cell " in found[0]


def test_a_mount_that_the_metadata_does_not_list_is_found(root: Path) -> None:
    change(root, "kernel_src/kernels/infer.py", "for slug in", 'find_dataset("i2b-c3-weights", "x")\nfor slug in')
    build(CARDS, root)
    assert any("i2b-c3-weights is not listed in dataset_sources" in text for text in problems(root))


def test_a_description_that_lists_other_datasets_than_the_card_is_found(root: Path) -> None:
    path = "notebooks/i2b-a1-infer/kernel-metadata.json"
    change(root, path, "OWNER/i2b-a1-weights", "OWNER/i2b-b2-weights")
    (found,) = problems(root)
    assert found.startswith(f"{path}: edited by hand since it was built")


def test_a_description_that_kaggle_would_refuse_is_found(root: Path) -> None:
    change(root, "notebooks/i2b-a1-infer/kernel-metadata.json", '"enable_internet": false', '"enable_internet": true')
    assert any("enable_internet is True" in text for text in problems(root))


def test_a_datasets_description_is_checked_and_must_be_there(root: Path) -> None:
    change(root, "datasets_meta/i2b-a1-weights/dataset-metadata.json", '"isPrivate": true', '"isPrivate": false')
    change(root, "datasets_meta/i2b-b2-weights/dataset-metadata.json", "OWNER/i2b-b2", "OWNER/i2b-b3")
    assert len(problems(root)) == 2
    (root / "datasets_meta/i2b-a1-weights/dataset-metadata.json").unlink()
    assert "datasets_meta/i2b-a1-weights/dataset-metadata.json: is missing → run `make build`" in problems(root)


def test_a_local_pin_that_differs_from_the_image_is_found(root: Path) -> None:
    change(root, "pyproject.toml", "2.1.3", "2.2.0")
    assert problems(root) == ["pyproject.toml: numpy==2.2.0, but Kaggle's image has 2.1.3 → "
                              "pin numpy==2.1.3, or correct build/core/image.json"]  # fmt: skip


def test_all_problems_of_all_notebooks_come_in_one_go(root: Path) -> None:
    change(root, A1, "np.pi)", "np.e, __import__('requests'))")
    (root / "notebooks/i2b-b2-infer/kernel-metadata.json").unlink()
    with pytest.raises(CheckFailed) as failed:
        run(True, root=root, cards=CARDS)
    text = str(failed.value)
    assert "edited by hand" in text and "hides code" in text and "is missing" in text


def test_a_file_that_is_no_notebook_is_a_finding_and_no_traceback(root: Path) -> None:
    (root / A1).write_text("{", encoding="utf-8")
    assert any(f"{A1}: is JSON that ends too early" in text for text in problems(root))


@pytest.mark.parametrize(("extra", "refused"), [(0, False), (1, True)])
def test_the_size_limit_is_kaggles_and_counted_as_its_client_sends_it(
    tmp_path: Path, extra: int, refused: bool
) -> None:
    path = tmp_path / "n.ipynb"
    empty = len(json.dumps({"text": ""}))
    path.write_text(json.dumps({"text": "x" * (SOURCE_LIMIT_BYTES - 1 - empty + extra)}), encoding="utf-8")
    assert bool(size_problems(path, tmp_path)) is refused
    # One Greek letter is two bytes on disk and six in what the client sends.
    letters = (SOURCE_LIMIT_BYTES - 1 - empty) // 6 + extra
    path.write_text(json.dumps({"text": "π" * letters}, ensure_ascii=False), encoding="utf-8")
    assert path.stat().st_size < SOURCE_LIMIT_BYTES / 2
    assert bool(size_problems(path, tmp_path)) is refused


def test_a_notebook_that_no_card_knows_is_read_by_the_same_rules(tmp_path: Path) -> None:
    path = tmp_path / "notebooks/x/x.ipynb"
    path.parent.mkdir(parents=True)
    cell = {"cell_type": "code", "metadata": {}, "source": ["import torch\n", "torch.load('x')"]}
    path.write_text(json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    cells = read_cells(path, "notebooks/x/x.ipynb")
    found = [str(problem) for problem in notebook_problems(path, cells, tmp_path, None)]
    assert found[0].startswith("notebooks/x/x.ipynb cell 1 line 2: torch.load unpickles")
    assert found[1].startswith("notebooks/x/kernel-metadata.json: is missing")


def test_a_cell_without_the_stitchers_metadata_is_still_read(tmp_path: Path) -> None:
    path = tmp_path / "n.ipynb"
    cells = [{"cell_type": "code", "source": "x", "metadata": {"stitch": 1}}, {"cell_type": "markdown"}]
    path.write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    assert [cell.text for cell in read_cells(path, "n")] == ["x", ""]
    path.write_text(json.dumps({"cells": [*cells, "no cell"], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    with pytest.raises(CheckFailed, match="^n: is not a whole notebook: cell 3 is a text"):
        read_cells(path, "n")


@pytest.mark.skipif(not (ROOT / NOTEBOOKS).is_dir(), reason="nothing is built here yet: run `make build`")
@pytest.mark.full
def test_the_notebooks_of_this_repository_pass() -> None:
    assert [str(problem) for problem in check(all_cards()).problems] == []
