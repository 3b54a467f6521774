"""What a run on Kaggle left behind, looked at before anything is made of it.

Of an inference only `submission.csv` is required. It is judged by what holds for any test set: Kaggle's public run has
other images than a rehearsal here, and the hidden test has more, so the ids of neither are demanded.
"""

import csv
import io
import json
import math
import os
import zipfile
from pathlib import Path

from build.core.errors import CheckFailed, Problem, UsageError
from build.core.submission_file import read_rows, split_sample_id, submission_problems
from build.core.untrusted import object_in, read_foreign_file, refuse_odd_file
from build.run.rehearse.cures import cure_of_submission
from kernel_src.competitions.biomass.constants import ID_COLUMN, SUBMISSION_FILE, TARGETS, sample_id
from kernel_src.runtime.files import CONFIG_FILE
from kernel_src.runtime.manifest import BundleError, read_bundle_json
from kernel_src.runtime.untrusted import checked_file_name, quoted

LARGEST_FEATURES = 4 << 30  # bytes; those of a 7B encoder, three scales and layers, four poolings are 0.4 GB
LARGEST_OOF = 64 << 20  # bytes; 10,000 photographs make 1 MB
OUTPUTS = Path("out", "push", "outputs")  # <slug>/v<version>/
RUN_FOLDER = "run"  # of a training, in its working folder
OOF_FILE = "oof.csv"  # as in kernel_src.training.runs, whose import would load torch
FEATURES_FILE, PROVENANCE = "features.npz", "provenance"  # as in kernel_src.training.feature_run, likewise


def output_folder(slug: str, version: int) -> Path:
    """Name the folder for what one version of a kernel left."""
    return OUTPUTS / slug / f"v{version}"


def verify_submission(folder: Path) -> int:
    """Check the submission of a run and return its number of images.

    Columns, numbers finite and not negative, the identities, and all five targets of each image, each once.

    Raises:
        CheckFailed: with everything that is wrong.
    """
    path = folder / SUBMISSION_FILE
    names = _names(path)
    images = dict.fromkeys(image for image, _ in filter(None, map(_split, names or [])))
    expected = [sample_id(image, target) for image in images for target in TARGETS]
    texts = [_reworded(text, path) for text in submission_problems(path, expected)]
    if names is not None and not images:
        texts.append("it has no row for any image")
    if texts:
        raise CheckFailed([Problem(what=text, where=str(path), cure=cure_of_submission(text)) for text in texts])
    return len(images)


def verify_training(folder: Path, experiment: str) -> Path:
    """Check what a training left and return its run/ folder.

    Raises:
        CheckFailed: it is of another experiment, a file is missing, or an out-of-fold prediction is not a number.
    """
    run = folder / RUN_FOLDER
    try:
        config = read_bundle_json(run, CONFIG_FILE)
    except BundleError as error:
        what, cure = str(error), "the training did not finish: look at its log"
        if there := sorted(path.stem for path in run.glob("*.safetensors")):
            what = f"{error}: not finished, it holds {', '.join(there)}"
            cure = "attach this notebook's own output to it (Add Input, Your Work) and run it again: it goes on there"
        raise CheckFailed([Problem(what=what, where=str(run), cure=cure)]) from None
    problems = []
    said, listed = config.get("experiment"), config.get("folds")
    name, files = said.get("name") if isinstance(said, dict) else said, listed if isinstance(listed, list) else []
    try:
        files = [checked_file_name(file) for file in files]
    except ValueError as error:
        problems.append(Problem(what=f"one of its folds: {error}", where=str(run / CONFIG_FILE)))
        files = []
    if name != experiment:
        what = f"this is a run of {quoted(name)}, not of {experiment!r}"
        problems.append(Problem(what=what, where=str(run / CONFIG_FILE)))
    if not files and not problems:
        problems.append(Problem(what="no fold was trained", where=str(run / CONFIG_FILE)))
    for file in (*files, OOF_FILE):
        if not (run / file).is_file() or not (run / file).stat().st_size:
            problems.append(Problem(what="is missing or empty", where=str(run / file), cure="download it again"))
    if not problems and (what := _fault_of_predictions(run / OOF_FILE)):
        problems.append(Problem(what=what, where=str(run / OOF_FILE), cure="look for NaN in the log of the training"))
    if problems:
        raise CheckFailed(problems)
    return run


def verify_any_file(folder: Path, log: str) -> Path:
    """Check that a run left a file besides its log, and return its folder.

    Raises:
        CheckFailed: it left none.
    """
    if not any(path.is_file() and path.name != log for path in folder.rglob("*")):
        what = "the run left no file in /kaggle/working"
        raise CheckFailed([Problem(what=what, where=str(folder), cure=f"look at {folder / log}")])
    return folder


def verify_features(folder: Path, experiment: str) -> Path:
    """Check the features that a run left and return its run/ folder.

    Raises:
        CheckFailed: there are none, they are of another experiment, or a number is not finite.
    """
    run = folder / RUN_FOLDER
    path = run / FEATURES_FILE
    if not path.is_file():
        what, cure = "the features are not there: the run did not finish", "look at its log"
        if there := len(list(run.glob("chunk*.safetensors"))):
            what = f"the features are not finished, there are {there} chunks of them"
            cure = "attach this notebook's own output to it (Add Input, Your Work) and run it again: it goes on there"
        raise CheckFailed([Problem(what=what, where=str(path), cure=cure)])
    if what := _fault_of_features(path, experiment):
        raise CheckFailed([Problem(what=what, where=str(path), cure="look at the log of the run")])
    return run


def _fault_of_features(path: Path, experiment: str) -> str:
    """Say what is wrong with a features file that a site sent; nothing if `regress` can read it."""
    import numpy as np

    from build.search.regress.features import read_features

    try:
        refuse_odd_file(os.lstat(path), LARGEST_FEATURES)
        with zipfile.ZipFile(path) as archive:
            packed = [entry.filename for entry in archive.infolist() if entry.compress_type != zipfile.ZIP_STORED]
        if packed:  # a small file could hold more than the memory
            return f"holds {quoted(packed[0])} compressed, which no notebook of this kit does"
        images = len(read_features(path))
        with np.load(path, allow_pickle=False) as archive:
            said = object_in(str(archive[PROVENANCE])) if PROVENANCE in archive else {}
    except UsageError as error:
        return str(error)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        return f"cannot be read: {error}"
    made_for, counted = said.get("experiment"), said.get("images")
    name = made_for.get("name") if isinstance(made_for, dict) else made_for
    if name != experiment:
        return f"these are features of {quoted(name)}, not of {experiment!r}"
    return f"holds {images} photographs, and says {quoted(counted)}" if counted != images else ""


def _fault_of_predictions(oof: Path) -> str:
    """Say what is wrong with the out-of-fold predictions that a site sent; nothing if they are numbers."""
    try:
        text = read_foreign_file(oof, LARGEST_OOF).decode("utf-8", errors="replace")
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
    except (ValueError, csv.Error) as error:
        return (
            f"is not a table of predictions: it {error}" if isinstance(error, ValueError) else f"is not a CSV: {error}"
        )
    lines = [number for number, row in enumerate(rows, 2) if not all(_is_finite(row.get(name)) for name in TARGETS)]
    if not rows or lines:
        return f"{len(lines)} lines have a prediction that is not a finite number, the first is line {[*lines, 2][0]}"
    return ""


def _is_finite(text: object) -> bool:
    try:
        return isinstance(text, str) and math.isfinite(float(text or "nan"))
    except ValueError:
        return False


def _names(path: Path) -> list[str] | None:
    """Read the ids of a submission; None where there is no file that can be read, which the validator explains."""
    try:
        rows = read_rows(path)
    except (FileNotFoundError, ValueError):
        return None
    return [row[0] for row in rows[1:] if row and rows[0][:1] == [ID_COLUMN]]


def _split(name: str) -> tuple[str, str] | None:
    try:
        return split_sample_id(name)
    except ValueError:
        return None


def _reworded(text: str, path: Path) -> str:
    """Put a sentence of the validator, which speaks of a sample submission, into the terms of a file on its own."""
    text = text.replace(f"{path}: ", "").replace(f"{path}:", "line ").replace(f"{path} ", "")
    text = text.replace("of the sample submission are missing", "are missing: an image needs all five targets")
    return text.replace("are not in the sample submission", f"are not <image_id>__<one of {json.dumps(TARGETS)}>")
