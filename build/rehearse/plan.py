"""What a notebook asks Kaggle to mount: its kernel-metadata.json held against the folders at hand.

Only what the metadata lists is mounted: a dataset that somebody forgot to attach is missing here as it would be there.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from build.mock import dataset_slug
from build.problems import CheckFailed, Problem, WrongUse

METADATA_FILE = "kernel-metadata.json"
PLACEHOLDER_OWNER = "OWNER"  # committed metadata has this where the account goes
MOCK_OWNER = "owner"


@dataclass(frozen=True)
class Plan:
    """The mounts of one rehearsal."""

    competition: str | None
    datasets: dict[str, Path]  # owner/slug → folder


def read_plan(metadata: Path, weights: Sequence[Path]) -> Plan:
    """Match the datasets that `metadata` lists with the given folders.

    Raises:
        WrongUse: there is no metadata, it is not JSON, or a folder does not exist.
        CheckFailed: a listed dataset has no folder, a folder is not listed, or something cannot be mounted here.
    """
    content = _read(metadata)
    if missing := [str(folder) for folder in weights if not folder.is_dir()]:
        raise WrongUse(f"{', '.join(missing)}: no such folder; --weights wants the folder of a bundle or dataset")
    problems = [
        Problem(
            what=f"{key} lists {', '.join(content[key])}, which a rehearsal cannot mount",
            where=str(metadata),
            cure="carry it in a dataset: its version can be pinned, and it can be mounted here",
        )
        for key in ("kernel_sources", "model_sources")
        if content.get(key)
    ]
    competitions = content.get("competition_sources") or []
    if len(competitions) > 1:
        problems.append(
            Problem(
                what=f"competition_sources lists {len(competitions)} competitions, a rehearsal has the data of one",
                where=str(metadata),
                cure="list one",
            )
        )
    given: dict[str, Path] = {}
    for folder in weights:
        slug = dataset_slug(folder)
        if slug in given:
            problems.append(
                Problem(what=f"{given[slug]} and {folder} are both dataset {slug!r}", cure="pass one of them")
            )
        given[slug] = folder
    listed = {name.rpartition("/")[2]: name for name in content.get("dataset_sources") or []}
    problems += [
        Problem(
            what=f"dataset {slug!r} is listed, but no folder was given for it"
            + (f" (given: {', '.join(given)})" if given else ""),
            where=str(metadata),
            cure=f"pass --weights DIR whose dataset-metadata.json or manifest.json names {slug!r}, or called so itself",
        )
        for slug in listed
        if slug not in given
    ]
    problems += [
        Problem(
            what=f"dataset {slug!r} ({folder}) is not listed, so Kaggle would not mount it",
            where=str(metadata),
            cure=f"name {slug!r} among the kernel's datasets and run `make build`, or leave this --weights out",
        )
        for slug, folder in given.items()
        if slug not in listed
    ]
    if problems:
        raise CheckFailed(problems)
    datasets = {_with_owner(name): given[slug] for slug, name in listed.items()}
    return Plan(competitions[0] if competitions else None, datasets)


def _read(metadata: Path) -> dict[str, Any]:
    if not metadata.is_file():
        raise WrongUse(f"{metadata} does not exist: run `make build`, which writes it beside the notebook")
    try:
        content = json.loads(metadata.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise WrongUse(f"{metadata}:{error.lineno}: not JSON ({error.msg}): run `make build`") from error
    if not isinstance(content, dict):
        raise WrongUse(f"{metadata}: not a JSON object: run `make build`")
    return content


def _with_owner(name: str) -> str:
    owner, _, slug = name.rpartition("/")
    return f"{MOCK_OWNER if owner in ('', PLACEHOLDER_OWNER) else owner}/{slug}"
