"""Unweighed photographs get the targets that trained bundles predict, fold by fold, for another training to learn from.

What is written is a dataset: `pseudo_labels.csv` as `kernel_src/data/pseudo_labels.py` makes and checks it, the
photographs that are not the competition's own, and `provenance.json`. Inference's own prediction does the work, but no
two folds are ever mixed: fold k of the next training may only hear what fold k of this one said. Several bundles are
averaged fold by fold, which is as safe as one where all divided the same photographs into the same folds.
"""

import shlex
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from build.core.errors import CheckFailed, Problem, UsageError
from kernel_src.competition.splits import split_sha256
from kernel_src.competitions.held_facts import facts
from kernel_src.data.pseudo_labels import PSEUDO_LABELS_FILE, SPREAD_COLUMN, check_pseudo_labels, pseudo_table
from kernel_src.recipes.experiment import Experiment
from kernel_src.runtime.files import CONFIG_FILE, write_json, write_text
from kernel_src.runtime.manifest import BundleError, read_bundle_json

if TYPE_CHECKING:
    import pandas as pd

PSEUDO = Path("out/pseudo")
PROVENANCE_FILE, PHOTOGRAPHS = "provenance.json", "photographs"
SUFFIXES = (".jpg", ".jpeg", ".png")
FLAT_FILES = 45  # Kaggle takes 50 files at the top of a dataset
BATCH_SIZE = 16  # as the inference notebook


@dataclass(frozen=True, kw_only=True)
class PseudoLabelReport:
    """What was written, and how far the folds agree."""

    ok: bool
    folder: str
    dataset: str  # slug, for the experiment's field pseudo_labels
    experiment: str
    photographs: int  # in the table
    dropped: int  # beyond max_spread_g
    copied: int  # photographs beside the table; the others are the competition's
    folds: list[int]
    spread_g: list[
        float
    ]  # 0, 25, 50, 75 and 100 % of the photographs lie at or below; all of them, before any is dropped
    notes: list[str]


@dataclass(frozen=True)
class Unweighed:
    """Photographs without a label."""

    image_ids: list[str]
    paths: list[Path]  # where they lie now
    names: list[str]  # as the table names them: relative to the table, or to the competition
    copied: bool
    inputs: np.ndarray | None = None  # (photographs, inputs), where the competition's table has numbers of them


def unweighed_photographs(data: Path, folders: Sequence[Path]) -> Unweighed:
    """Find the photographs in `folders`; without folders, those of the competition's test set.

    Raises:
        UsageError: a folder is missing or holds no photograph, a name occurs twice, or a test photograph is missing.
    """
    from kernel_src.runtime.faults import FaultLog

    if not folders:
        try:
            test = facts().read_test(data, FaultLog(strict=False))
        except ValueError as error:
            raise UsageError(str(error)) from None
        names = [path.relative_to(data).as_posix() for path in test.photographs.values()]
        if lost := [name for name in names if not (data / name).is_file()]:
            raise UsageError(f"{data} lacks {len(lost)} of its test photographs, e.g. {lost[0]}: download it whole")
        inputs = np.array([test.inputs[name] for name in test.photographs]) if test.inputs else None
        return Unweighed(list(test.photographs), [data / name for name in names], names, copied=False, inputs=inputs)
    found: dict[str, Path] = {}
    reasons = []
    for folder in folders:
        if not folder.is_dir():
            reasons.append(f"{folder} does not exist: --images is for folders of photographs")
            continue
        photographs = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in SUFFIXES]
        if not photographs:
            below = [path.name + "/" for path in sorted(folder.iterdir()) if path.is_dir()]
            hint = f"; there are {', '.join(below)}, name one of those" if below else ""
            reasons.append(f"{folder} holds no photograph ({', '.join(SUFFIXES)}){hint}")
        for path in photographs:
            if path.stem in found:
                reasons.append(f"{found[path.stem]} and {path} have one name: rename one")
            found[path.stem] = path
    if reasons:
        raise UsageError("\n".join(reasons))
    place = "" if len(found) <= FLAT_FILES else f"{PHOTOGRAPHS}/"
    return Unweighed(list(found), list(found.values()), [place + path.name for path in found.values()], copied=True)


def folds_of(folders: Sequence[Path], split: str) -> list[int]:
    """Return the folds that every bundle holds, in the order of the first.

    Raises:
        UsageError: a folder is not a bundle.
        CheckFailed: a bundle's folds are not those of the split, or the bundles differ.
    """
    problems, held = [], {}
    for folder in folders:
        try:
            config = read_bundle_json(folder, CONFIG_FILE)
        except BundleError as error:
            raise UsageError(f"--bundle {folder}: {error}") from None
        held[folder] = [int(Path(name).stem.removeprefix("fold")) for name in config["folds"]]
        if config.get("split_sha256") != split:
            what = "it was trained on other photographs or another division into folds, so its fold k has seen what"
            cure = "train it on this data with the experiment's data.split, or name its own"
            problems.append(Problem(what=f"{what} this training's fold k is judged by", where=str(folder), cure=cure))
    first = next(iter(held.values()))
    problems += [
        Problem(
            what=f"it holds folds {folds}, {folders[0]} folds {first}", where=str(folder), cure="train the same ones"
        )
        for folder, folds in held.items()
        if folds != first
    ]
    if problems:
        raise CheckFailed(problems)
    return first


def predict_by_fold(
    folders: Sequence[Path], paths: Sequence[Path], inputs: np.ndarray | None = None
) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Predict as inference does, up to where it would mix the folds: (folds, images, targets), and the bundles.

    Raises:
        CheckFailed: a bundle is damaged, a photograph cannot be read, or a prediction is not finite.
    """
    from kernel_src.bundle.bundle_prediction import load_bundles, predict_bundles
    from kernel_src.competitions.held_answers import answers
    from kernel_src.data.images import ImageError
    from kernel_src.runtime.device import check_device
    from kernel_src.runtime.files import WeightsError

    try:
        bundles = load_bundles(folders)
        by_bundle = predict_bundles(bundles, paths, device=check_device(), batch_size=BATCH_SIZE, inputs=inputs)
    except (BundleError, WeightsError, ImageError, FloatingPointError, ValueError) as error:
        raise CheckFailed([Problem(what=str(error))]) from None
    constraint = bundles[0].experiment.predict.constraint
    means = [np.mean(of_one_fold, axis=0) for of_one_fold in zip(*by_bundle, strict=True)]
    values = [answers().finished(mean, constraint) for mean in means]
    origins = [
        {"experiment": one.experiment.name, "source_sha256": one.source_sha256, "oof_score": one.oof_score}
        for one in bundles
    ]
    return np.stack(values), origins


# -- the verb ------------------------------------------------------------------------------------------------------


def label(
    experiment: Experiment,
    data: Path,
    bundles: Sequence[Path],
    images: Sequence[Path],
    out: Path,
    *,
    max_spread_g: float | None = None,
) -> PseudoLabelReport:
    """Write the pseudo-labels for a training of `experiment` on `data` into `out`, whole or not at all.

    Raises:
        UsageError: a folder is missing or is something else, or `out` is not to be replaced or cannot name a dataset.
        CheckFailed: the labels would leak, or cannot be made.
    """
    from build.notebooks.metadata import DATASET_METADATA, dataset_metadata, dataset_problems, slugify
    from kernel_src.competitions.held_rules import rules
    from kernel_src.training.training_data import folds_to_train, judged_folds

    train_csv = facts().train_csv
    if not (data / train_csv).is_file():
        raise UsageError(f"{data}: no {train_csv}: --data is the competition's folder, unpacked")
    if not bundles:
        raise UsageError("no --bundle: name the folder of a bundle that was trained on this data")
    out = out.resolve()
    metadata = dataset_metadata(slugify(out.name))
    if problems := dataset_problems(metadata, f"--out {out.name}"):
        raise UsageError(
            "\n".join(map(str, problems)) + "\nthe folder's name becomes the dataset's: name another --out"
        )
    if out.exists() and not (out / PSEUDO_LABELS_FILE).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} is there and holds no pseudo-labels, so it is not replaced: name another --out")
    train = rules().read_train(data / train_csv)
    fold_of = judged_folds(experiment, train)
    labelled, split = train["image_id"].tolist(), split_sha256(train["image_id"].tolist(), fold_of)
    found = unweighed_photographs(data, images)
    folds = folds_of(bundles, split)

    def table_of(values: np.ndarray) -> "pd.DataFrame":
        table = pseudo_table(found.image_ids, found.names, folds, values, split)
        try:
            check_pseudo_labels(table, labelled, split, folds_to_train(experiment, fold_of))
        except ValueError as error:
            raise CheckFailed([Problem(what=str(error))]) from None
        return table

    table_of(
        np.zeros((len(folds), len(found.paths), len(facts().targets)))
    )  # what training would refuse, before the long pass
    values, origins = predict_by_fold(bundles, found.paths, found.inputs)
    table = table_of(values)
    spread = table.groupby("image_id", sort=False)[SPREAD_COLUMN].first()
    quartiles = [round(float(value), 4) for value in np.quantile(spread, np.linspace(0, 1, 5))]
    if max_spread_g is not None:
        table = table[table[SPREAD_COLUMN] <= max_spread_g]
        if table.empty:
            what = (
                f"the folds disagree by {quartiles[0]:g} g and more on every photograph, allowed are {max_spread_g:g}"
            )
            raise CheckFailed([Problem(what=what, cure=f"--max-spread-g {quartiles[2]:g} keeps half of them")])
    kept = set(table["image_id"])
    report = PseudoLabelReport(
        ok=True,
        folder=str(out),
        dataset=metadata["id"].rpartition("/")[2],
        experiment=experiment.name,
        photographs=len(kept),
        dropped=len(found.paths) - len(kept),
        copied=len(kept) if found.copied else 0,
        folds=folds,
        spread_g=quartiles,
        notes=_notes(found, folds),
    )
    draft = out.with_name(f".{out.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    try:
        write_text(draft / PSEUDO_LABELS_FILE, table.to_csv(index=False, float_format="%.6f", lineterminator="\n"))
        for image_id, path, name in zip(found.image_ids, found.paths, found.names, strict=True):
            if found.copied and image_id in kept:
                (draft / name).parent.mkdir(exist_ok=True)
                shutil.copyfile(path, draft / name)
        write_json(draft / DATASET_METADATA, metadata)
        write_json(draft / PROVENANCE_FILE, {"bundles": origins, "split_sha256": split, **asdict(report)})
        shutil.rmtree(out, ignore_errors=True)
        draft.rename(out)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return report


def _notes(found: Unweighed, folds: Sequence[int]) -> list[str]:
    notes = []
    if len(folds) == 1:
        notes.append("one fold alone cannot disagree: the spread is 0 everywhere, and nothing is filtered")
    if found.copied and len(found.paths) > FLAT_FILES:
        notes.append(
            f"over {FLAT_FILES} photographs lie in {PHOTOGRAPHS}/, because Kaggle takes 50 files at the top of a "
            "dataset: upload with `kaggle datasets create --dir-mode zip`; a rehearsal leaves folders out"
        )
    return notes


def last_words(report: PseudoLabelReport, data: Path) -> str:
    """Say what was written, how sure it is, and how to train with it."""
    low, _, median, _, high = report.spread_g
    dropped = f", {report.dropped} dropped as too uncertain" if report.dropped else ""
    lines = [
        f"{report.folder}: {report.photographs} photographs by folds {', '.join(map(str, report.folds))}{dropped}; "
        f"the folds disagree by {median:g} g in the middle ({low:g} to {high:g})",
        *(f"note: {note}" for note in report.notes),
        f"here: make train EXPERIMENT={report.experiment} DATA={shlex.quote(str(data))} "
        f"PSEUDO={shlex.quote(str(report.folder))} SET=data.pseudo.weight=0.25",
        f'on Kaggle: upload the folder, give the experiment data=Data(pseudo=PseudoLabels("{report.dataset}")), '
        "make build",
    ]
    return "\n".join(lines)
