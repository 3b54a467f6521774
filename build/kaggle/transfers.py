"""The verbs `data` and `push-data`: one line when it starts, one when it ends, or one JSON object."""

import json
import shlex
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from build.core.errors import CheckFailed, Problem, UsageError
from build.core.progress import Steps
from build.kaggle.client import Kaggle, open_client
from build.kaggle.competition_data import fetch_data
from build.kaggle.dataset_folders import read_manifest, stage_dataset
from build.kaggle.datasets import push_dataset
from build.kaggle.preparation import one_push, resumable
from build.kaggle.weights import find_bundles
from build.notebooks.metadata import TITLE_CHARS, slugify
from kernel_src.recipes.ensembles import ENSEMBLES
from kernel_src.recipes.experiments import EXPERIMENTS
from kernel_src.recipes.kernel_cards import bundle_slug, kernel_card
from kernel_src.runtime.manifest import MANIFEST_FILE
from kernel_src.runtime.untrusted import checked_slug

DATA = Path("data")


@dataclass(frozen=True)
class Goods:
    """A folder and the dataset that it becomes."""

    slug: str
    folder: Path


def run_data(competition: str, folder: Path | None, limit_gb: float, as_json: bool) -> None:
    """Download the competition's files."""
    try:
        competition = checked_slug(competition)
    except ValueError as error:
        raise UsageError(f"--competition {error}") from None
    place = folder or DATA / competition
    steps = Steps(total=2, quiet=as_json)

    with resumable("make data"):
        client = _sign_in(steps)
        with steps.step("data", f"https://www.kaggle.com/competitions/{competition} → {place}") as note:
            data = fetch_data(client, competition, place, limit_bytes=int(limit_gb * 1e9))
            note(str(data))
    _report(asdict(data), as_json)


def run_push_weights(experiment: str, bundle: Path | None, as_json: bool) -> None:
    """Upload the weights of an experiment.

    Raises:
        UsageError: no such experiment, or it has no bundle on this machine.
    """
    if experiment not in {**EXPERIMENTS, **ENSEMBLES}:
        raise UsageError(f"no experiment {experiment!r}; there are {', '.join(sorted({**EXPERIMENTS, **ENSEMBLES}))}")
    if bundle is not None:
        goods = [Goods(bundle_slug(experiment), bundle)]
        if problem := _another_bundle(goods[0]):
            raise CheckFailed([problem])
    else:
        goods = [Goods(slug, folder) for slug, folder in find_bundles(kernel_card(experiment, "infer")).items()]
    command = f"make push-data EXPERIMENT={experiment}"
    if bundle is not None:
        command += f" DIR={shlex.quote(str(bundle))}"
    _push(goods, "weights", command, as_json)


def run_push_data(folder: Path, slug: str, as_json: bool) -> None:
    """Upload any folder as a private dataset.

    Raises:
        UsageError: no such folder, or Kaggle knows no slug like this.
    """
    if not folder.is_dir():
        raise UsageError(f"DIR={folder} is not a folder")
    check_dataset_slug(slug)
    command = f"make push-data DIR={shlex.quote(str(folder))} SLUG={shlex.quote(slug)}"
    _push([Goods(slug, folder)], "dataset", command, as_json)


def check_dataset_slug(slug: str) -> None:
    """Make sure that a dataset of one's own can have this name.

    Raises:
        UsageError: it cannot; names the rule, and the nearest slug that follows it.
    """
    shortest, longest = TITLE_CHARS["dataset"]
    if slugify(slug) != slug or not shortest <= len(slug) <= longest:
        near = slugify(slug.rpartition("/")[2])[:longest].strip("-")
        hint = f", e.g. SLUG={near}" if len(near) >= shortest else ""
        rule = f"lower-case letters, digits and single hyphens, {shortest} to {longest} characters"
        raise UsageError(f"SLUG={slug!r} is not the slug of a dataset of yours: {rule}, without the owner{hint}")


def _push(goods: list[Goods], name: str, command: str, as_json: bool) -> None:
    steps = Steps(total=1 + len(goods), quiet=as_json)
    pushed = []
    with one_push(command) as journal:
        client = _sign_in(steps)
        for one in goods:
            url = f"https://www.kaggle.com/datasets/{client.username}/{one.slug}"
            with steps.step(name, f"{one.folder} → {url}") as note:
                staged = stage_dataset(one.slug, one.folder, client.username)
                if staged.left_out and not as_json:
                    print(f"      hidden files are not uploaded: {', '.join(staged.left_out)}")
                pushed.append(push_dataset(staged, client, journal))
                note(str(pushed[-1]))
    _report({"datasets": [asdict(one) for one in pushed]}, as_json)


def _sign_in(steps: Steps) -> Kaggle:
    with steps.step("account", "signing in") as note:
        client = open_client()
        note(f"{client.username}, client {client.client_version}")
    return client


def _another_bundle(goods: Goods) -> Problem | None:
    """Find out that a bundle belongs to another dataset than the one it would be pushed to."""
    path = goods.folder / MANIFEST_FILE
    named = read_manifest(path.read_bytes()).get("dataset") if path.is_file() else None
    if named == goods.slug:
        return None
    what = f"it is the bundle of {named}, not of {goods.slug}" if named else "it is not a bundle of this kit"
    return Problem(what=what, where=str(path), cure="name the folder that `python -m build bundle` made")


def _report(result: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps({"ok": True, **result}, indent=2))
