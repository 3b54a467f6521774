"""Toy competitions and notebooks, small enough to rehearse in seconds."""

import csv
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from build.core.errors import Problem
from build.run.mock import dataset_slug
from build.run.rehearse import Report, rehearse
from kernel_src.competitions.biomass.constants import SLUG, TARGETS, sample_id

# Every toy notebook starts so: the one line that also finds the input where only the guard isolates.
PREAMBLE = """# kernel_src/data/toy.py
import csv, hashlib, json, os
from pathlib import Path
ROOT = Path(os.environ.get("KIT_KAGGLE_ROOT", "/")) / "kaggle"
COMPETITION = next(p.parent for p in sorted((ROOT / "input").rglob("sample_submission.csv")))
IDS = [row["sample_id"] for row in csv.DictReader(open(COMPETITION / "test.csv"))]
VALUES = {"Dry_Green_g": 1.0, "Dry_Dead_g": 2.0, "Dry_Clover_g": 3.0, "GDM_g": 4.0, "Dry_Total_g": 6.0}
def write(ids, value_of=lambda name: VALUES[name.split("__")[1]]):
    rows = [f"{name},{value_of(name)}" for name in ids]
    Path("submission.csv").write_text("\\n".join(["sample_id,target", *rows]) + "\\n")
"""
WRITE = "write(IDS)"


def make_competition(folder: Path, *, train: int = 3, test: int = 1, prefix: str = "ID10") -> Path:
    """Write a competition in Kaggle's layout; the images are a few bytes, for nothing here looks at them."""
    for name in ("train", "test"):
        (folder / name).mkdir(parents=True)
    tables: dict[str, list[list[str]]] = {
        "train.csv": [["sample_id", "image_path", "Sampling_Date", "State", "target_name", "target"]],
        "test.csv": [["sample_id", "image_path", "target_name"]],
        "sample_submission.csv": [["sample_id", "target"]],
    }
    for kind, count in (("train", train), ("test", test)):
        for number in range(count):
            image_id = f"{prefix}{kind == 'test':d}{number:04d}"
            path = f"{kind}/{image_id}.jpg"
            (folder / path).write_bytes(b"\xff\xd8 " + image_id.encode())
            for target in TARGETS:
                name = sample_id(image_id, target)
                if kind == "train":
                    tables["train.csv"].append([name, path, "2015/9/4", "Tas", target, "1.0"])
                else:
                    tables["test.csv"].append([name, path, target])
                    tables["sample_submission.csv"].append([name, "0.0"])
    for name, rows in tables.items():
        with (folder / name).open("w", newline="") as handle:
            csv.writer(handle, lineterminator="\n").writerows(rows)
    return folder


def make_bundle(folder: Path, *, slug: str = "i2b-toy-weights") -> Path:
    """Write a dataset folder: one weight file and a manifest with its sha256."""
    folder.mkdir(parents=True)
    (folder / "fold0.bin").write_bytes(b"weights" * 10)
    digest = hashlib.sha256((folder / "fold0.bin").read_bytes()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps({"files": {"fold0.bin": digest}}))
    (folder / "dataset-metadata.json").write_text(json.dumps({"id": f"OWNER/{slug}", "title": slug}))
    return folder


def make_notebook(
    folder: Path,
    cells: Sequence[str],
    *,
    slug: str = "i2b-toy-infer",
    datasets: Sequence[str] = (),
    competitions: Sequence[str] = (SLUG,),
    preamble: str = PREAMBLE,
    **metadata: Any,
) -> Path:
    """Write a notebook and its metadata as the kit does; line n of cell k is line 100 * k + n of its source."""
    folder.mkdir(parents=True, exist_ok=True)
    made: list[dict[str, Any]] = [
        {"cell_type": "markdown", "id": "title", "metadata": {}, "source": "# A toy\n\nIt does one thing."}
    ]
    for rank, text in enumerate([preamble, *cells]):
        source = "kernel_src/data/toy.py"
        lines = [100 * rank + number for number in range(1, text.count("\n") + 2)]
        made.append(
            {
                "cell_type": "code",
                "id": f"cell-{rank}",
                "metadata": {"stitch": {"source": source, "cell": rank, "lines": lines}},
                "source": text,
                "execution_count": None,
                "outputs": [],
            }
        )
    kind = slug.rpartition("-")[2]
    content = {
        "cells": made,
        "metadata": {
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
            "language_info": {"name": "python"},
            "stitch": {"main": f"kernel_src/kernels/{kind}.py", "source_sha256": "0" * 64},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    notebook = folder / f"{slug}.ipynb"
    notebook.write_text(json.dumps(content))
    described = {
        "id": f"OWNER/{slug}",
        "title": slug,
        "code_file": notebook.name,
        "dataset_sources": [f"OWNER/{name}" for name in datasets],
        "competition_sources": list(competitions),
        **metadata,
    }
    (folder / "kernel-metadata.json").write_text(json.dumps(described))
    return notebook


def rehearse_toy(folder: Path, cells: Sequence[str], *, weights: Sequence[Path] = (), **options: Any) -> Report:
    """Make a toy competition and notebook in `folder` and rehearse it into `folder/out`."""
    data = options.pop("data", None) or make_competition(folder / "data")
    slugs = [dataset_slug(path) for path in weights]
    notebook = make_notebook(folder / "notebook", cells, slug=options.pop("slug", "i2b-toy-infer"), datasets=slugs)
    limits = {"limit_s": 60.0, "memory_gb": 8.0} | options
    return rehearse(notebook, data=data, weights=weights, out=folder / "out", **limits)


def find_problem(report: Report, words: str) -> Problem:
    """Return the problem whose sentence contains some words; the report's failure to have one says what it has."""
    found = [problem for problem in report.problems if words in problem.what]
    assert found, f"no problem says {words!r}: {[str(problem) for problem in report.problems]}"
    return found[0]
