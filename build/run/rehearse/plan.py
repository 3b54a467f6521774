"""What a notebook asks Kaggle to mount: its kernel-metadata.json held against the folders at hand.

Only what the metadata lists is mounted: a dataset or Model that somebody forgot to attach is missing here as there.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from build.core.errors import CheckFailed, Problem, UsageError
from build.notebooks.metadata import MODEL_FORM, MODEL_HANDLE
from build.run.datasets import match_folders
from build.run.mock import MOCK_OWNER

METADATA_FILE = "kernel-metadata.json"
PLACEHOLDER_OWNER = "OWNER"  # committed metadata has this where the account goes


@dataclass(frozen=True)
class Plan:
    """The mounts of one rehearsal."""

    competition: str | None
    datasets: dict[str, Path]  # owner/slug → folder
    models: dict[str, Path]  # owner/model/framework/variation/version → folder


def parse_models(texts: Sequence[str]) -> dict[str, Path]:
    """Read what was typed after each `--model`: `owner/model/framework/variation/version=DIR`.

    Raises:
        UsageError: a text is not of that form, or a Model is named twice.
    """
    models: dict[str, Path] = {}
    for text in texts:
        handle, _, folder = text.partition("=")
        if not MODEL_HANDLE.fullmatch(handle) or not folder:
            raise UsageError(f"--model {text}: it is {MODEL_FORM}=DIR, DIR being the folder with the Model's files")
        if handle in models:
            raise UsageError(f"--model {handle} is given twice: pass one folder for it")
        models[handle] = Path(folder)
    return models


def read_plan(metadata: Path, weights: Sequence[Path], models: Mapping[str, Path] | None = None) -> Plan:
    """Match the datasets and Kaggle Models that `metadata` lists with the given folders.

    A dataset's folder names its slug itself; a Model's download does not, so `models` maps each handle to its folder.

    Raises:
        UsageError: there is no metadata, it is not JSON, or a folder does not exist.
        CheckFailed: something listed has no folder, a folder is not listed, or something cannot be mounted here.
    """
    content, models = _read(metadata), models or {}
    if missing := [str(folder) for folder in weights if not folder.is_dir()]:
        raise UsageError(f"{', '.join(missing)}: no such folder; --weights is the folder of a bundle or dataset")
    if missing := [str(folder) for folder in models.values() if not folder.is_dir()]:
        raise UsageError(f"{', '.join(missing)}: no such folder; --model {MODEL_FORM}=DIR: DIR holds the Model's files")
    problems = []
    if content.get("kernel_sources"):
        problems.append(
            Problem(
                what=f"kernel_sources lists {', '.join(content['kernel_sources'])}, which a rehearsal cannot mount",
                where=str(metadata),
                cure="carry it in a dataset: its version can be pinned, and it can be mounted here",
            )
        )
    competitions = content.get("competition_sources") or []
    if len(competitions) > 1:
        problems.append(
            Problem(
                what=f"competition_sources lists {len(competitions)} competitions, a rehearsal has the data of one",
                where=str(metadata),
                cure="list one",
            )
        )
    listed = {name.rpartition("/")[2]: name for name in content.get("dataset_sources") or []}
    given, unmatched = match_folders(dict.fromkeys(listed, "which is listed"), weights, "--weights ", metadata)
    problems += unmatched
    problems += _model_problems(content.get("model_sources") or [], models, metadata)
    if problems:
        raise CheckFailed(problems)
    datasets = {_with_owner(name): given[slug] for slug, name in listed.items()}
    return Plan(competitions[0] if competitions else None, datasets, dict(models))


def _model_problems(listed: Sequence[str], models: Mapping[str, Path], metadata: Path) -> list[Problem]:
    """Hold the listed Kaggle Models against the folders, in both directions."""
    problems = [
        Problem(
            what=f"the Model {handle} is listed, but no folder was given for it"
            + (f" (given: {', '.join(models)})" if models else ""),
            where=str(metadata),
            cure=f"pass --model {handle}=DIR, DIR being the folder with its files: on the Model's page, Download",
        )
        for handle in listed
        if handle not in models
    ]
    problems += [
        Problem(
            what=f"the Model {handle} ({folder}) is not listed, so Kaggle would not mount it",
            where=str(metadata),
            cure=f"take the handle from there ({', '.join(listed) or 'it lists none'}), or name this one in "
            "kernel_src/runtime/weight_sources.py, from where `make build` lists it",
        )
        for handle, folder in models.items()
        if handle not in listed
    ]
    # In the legacy layout the owner is not part of the path.
    places: dict[str, str] = {}
    for handle in models:
        other = places.setdefault(handle.partition("/")[2].lower(), handle)
        if other != handle:
            what = f"the Models {other} and {handle} differ in nothing but the owner: the legacy layout has one place"
            problems.append(Problem(what=what, where=str(metadata), cure="attach one of them"))
    return problems


def _read(metadata: Path) -> dict[str, Any]:
    if not metadata.is_file():
        raise UsageError(f"{metadata} does not exist: run `make build`, which writes it beside the notebook")
    try:
        content = json.loads(metadata.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise UsageError(f"{metadata}:{error.lineno}: not JSON ({error.msg}): run `make build`") from error
    if not isinstance(content, dict):
        raise UsageError(f"{metadata}: not JSON object: run `make build`")
    return content


def _with_owner(name: str) -> str:
    owner, _, slug = name.rpartition("/")
    return f"{MOCK_OWNER if owner in ('', PLACEHOLDER_OWNER) else owner}/{slug}"
