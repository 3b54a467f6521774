"""`make push-training`: a notebook onto Kaggle's GPUs, and what it leaves brought home.

build → check → account → starting weights → drift → push → run → outputs → bundle, resumable like `flow.py`. Of an
experiment whose features are frozen it is the features notebook, and its `features.npz` takes the bundle's place.
"""

import shlex
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from build.core.bundle_files import missing_folds_text
from build.core.choosing import data_folder
from build.core.errors import CheckFailed, Problem
from build.core.progress import Steps
from build.kaggle.client import Kaggle
from build.kaggle.drift import pushes_of
from build.kaggle.flow import PushOptions
from build.kaggle.journal import Journal
from build.kaggle.kernels import Version, current_attempt, pushed_before
from build.kaggle.live_view import watching_run
from build.kaggle.outputs import FEATURES_FILE, verify_any_file, verify_features, verify_training
from build.kaggle.preparation import account, build_and_check, push_unless_edited
from build.kaggle.receipts import manifest_hashes
from build.kaggle.runs import download, run_with_input
from build.kaggle.staging import stage
from build.kaggle.weights import BUNDLES, find_folder
from build.notebooks.adopted_card import AdoptedCard
from kernel_src.competitions.held_facts import facts
from kernel_src.competitions.held_recipes import EXPERIMENTS
from kernel_src.competitions.kernel_cards import KernelCard, bundle_slug, kernel_on_gpus
from kernel_src.runtime.files import CONFIG_FILE, sha256_of, write_atomically
from kernel_src.runtime.manifest import MANIFEST_FILE, read_bundle_json

STEPS = 9
MOST_NAMED = 12  # files of a run, in one line
FEATURES = Path("out", "features")  # <experiment>.npz


@dataclass(frozen=True, kw_only=True)
class Harvest:
    """What becomes of a run that was downloaded."""

    check: Callable[[Path, str], Path]  # output folder, experiment → its run/ folder
    remark: Callable[[Path], str]  # run/ folder → what is not whole of it; empty if all is
    step: str  # the last one's name, and in the journal too
    text: str
    make: Callable[[str, Path, Version, Journal], tuple[Path, str]]  # → what was made of it, and a status line
    following: Callable[[str, Path], str]  # experiment, what was made → the command that is next


def push_training(options: PushOptions, journal: Journal) -> dict[str, Any]:
    """Run what an experiment needs of Kaggle's GPUs, and make a bundle or a features file of what comes of it.

    Raises:
        CheckFailed: a step failed; nothing after it was done.
        UsageError: no such experiment.
    """
    steps = Steps(total=STEPS, quiet=options.quiet)
    experiment = options.experiment
    kernel = kernel_on_gpus(experiment) if experiment in EXPERIMENTS else "train"
    card, notebook, values = build_and_check(experiment, kernel, steps, journal, options.given)
    harvest = _harvest_adopted(card) if isinstance(card, AdoptedCard) else _harvest(kernel, experiment)
    client, owner = account(steps)
    folders = {slug: find_folder(slug, experiment) for slug in card.datasets if "/" not in slug}
    ours = {slug: folder for slug, folder in folders.items() if folder}
    manifests = _manifests(card, f"{owner}/{notebook.stem}", ours, journal)
    staged = current_attempt(stage(notebook, owner, manifests, values), journal, again=options.again)
    version = pushed_before(staged, journal)
    if version is None:
        with steps.step("datasets", ", ".join(card.datasets) or "none needed") as note:
            note(_push_datasets(card, ours, owner, client, journal))
        version = push_unless_edited(staged, client, journal, steps, overwrite=options.overwrite)
    else:
        steps.skip(3, f"these sources with these datasets are version {version.number} already: {version.url}")
    result: dict[str, Any] = {"kernel": staged.kernel, "version": version.number, "url": version.url}
    result |= {"parameters": values} if values else {}
    if not options.wait:
        goes_on = options.command("push-training", wait=True)
        return result | {"next": f"it is running on Kaggle; `{goes_on}` continues with it"}
    with (
        steps.step("run", f"waiting for {version.url}") as note,
        watching_run("on Kaggle", options.quiet) as show_state,
    ):
        staged, version, status = run_with_input(staged, version, client, journal, show_state)
        note(status)
    result |= {"version": version.number, "url": version.url}
    with steps.step("outputs", f"of version {version.number}: fetched and verified") as note:
        folder = download(staged, version, client, journal, lambda path: harvest.check(path, experiment))
        run = harvest.check(folder, experiment)
        incomplete = harvest.remark(run)
        note(f"{run}. {incomplete}" if incomplete else str(run))
    with steps.step(harvest.step, harvest.text) as note:
        made, status = harvest.make(experiment, run, version, journal)
        note(status)
    following = f"{harvest.step} {made}: `{harvest.following(experiment, made)}` is next"
    return result | {harvest.step: str(made), "incomplete": incomplete, "next": following}


def _harvest(kernel: str, experiment: str) -> Harvest:
    if kernel == "features":
        return Harvest(
            check=verify_features,
            remark=lambda run: "",
            step="features",
            text=f"→ {FEATURES / experiment}.npz",
            make=_keep_features,
            following=regress_command,
        )
    return Harvest(
        check=verify_training,
        remark=lambda run: missing_folds_text(read_bundle_json(run, CONFIG_FILE)),
        step="bundle",
        text=f"weights in half precision, with a manifest → {BUNDLES / experiment}",
        make=_bundle,
        following=lambda name, made: PushOptions(experiment=name).command(),
    )


def _harvest_adopted(card: AdoptedCard) -> Harvest:
    """Of an adopted kernel nothing is known but that it leaves files."""
    return Harvest(
        check=lambda folder, _: verify_any_file(folder, f"{card.slug}.log"),
        remark=lambda run: "",
        step="files",
        text="what the run left in /kaggle/working",
        make=lambda _, run, version, journal: (run, _listed(run)),
        following=lambda name, made: f"make push-data DIR={shlex.quote(str(made))} SLUG={name}-weights",
    )


def _listed(folder: Path) -> str:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    names = ", ".join(path.relative_to(folder).as_posix() for path in files[:MOST_NAMED])
    return f"{len(files)} files, {sum(path.stat().st_size for path in files) / 1e6:.1f} MB: {names}"


def _manifests(card: KernelCard, kernel: str, ours: dict[str, Path], journal: Journal) -> dict[str, str]:
    """Return the manifests' hashes; of a folder that was tidied away, the one it was pushed with last.

    Otherwise tidying up would look like new starting weights, and train once more.
    """
    last: dict[str, str] = next((entry.inputs["manifests"] for entry in pushes_of(journal, kernel)), {})
    kept = {slug: last[slug] for slug in card.datasets if slug not in ours and slug in last}
    return manifest_hashes(ours) | kept


def _push_datasets(card: KernelCard, ours: dict[str, Path], owner: str, client: Kaggle, journal: Journal) -> str:
    """Push the datasets that the training mounts; one without a folder here must be on Kaggle already."""
    from build.kaggle.datasets import push_folder

    outcomes = [push_folder(slug, folder, client, journal) for slug, folder in ours.items()]
    problems = []
    for name in card.datasets:
        if name in ours:
            continue
        account_name, _, slug = name.rpartition("/")
        state = client.dataset_state(account_name or owner, slug)
        outcomes.append(f"{name}: {state}")
        if state != "READY":
            cure = f"`make push-data DIR=… SLUG={slug}`, with the folder that holds its files"
            what = f"dataset {slug} is {state or 'not on Kaggle'}, and no folder on this machine holds it"
            problems.append(Problem(what=what, where=f"https://www.kaggle.com/datasets/{owner}/{slug}", cure=cure))
    if problems:
        raise CheckFailed(problems)
    return "; ".join(outcomes) or "none"


def _bundle(experiment: str, run: Path, version: Version, journal: Journal) -> tuple[Path, str]:
    """Make the bundle of a downloaded run unless it is there; return its folder and a status line."""
    from build.weights.bundle import make_bundle, summary

    out = BUNDLES / experiment
    manifest = out / MANIFEST_FILE
    done = journal.done("bundle", version.inputs)
    if done and manifest.is_file() and sha256_of(manifest) == done["manifest_sha256"]:
        return out, f"{out} is already of this version"
    with journal.attempt("bundle", version.inputs) as result:
        report = make_bundle(run, out, slug=bundle_slug(experiment))
        result["manifest_sha256"] = sha256_of(manifest)
    return out, summary(report)


def _keep_features(experiment: str, run: Path, version: Version, journal: Journal) -> tuple[Path, str]:
    """Copy the features of a downloaded run home unless they are there; return the file and a status line."""
    out, source = FEATURES / f"{experiment}.npz", run / FEATURES_FILE
    done = journal.done("features", version.inputs)
    if done and out.is_file() and sha256_of(out) == done["sha256"]:
        return out, f"{out} is already of this version"
    with journal.attempt("features", version.inputs) as result:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(out, partial(shutil.copyfile, source))
        result["sha256"] = sha256_of(out)
    return out, f"{out}, {out.stat().st_size / 1e6:.1f} MB"


def regress_command(experiment: str, features: Path) -> str:
    """Return the command that fits regressors on an experiment's features."""
    return (
        f"python -m build regress --features {shlex.quote(str(features))} "
        f"--train-csv {shlex.quote(str(data_folder() / facts().train_csv))} "
        f"--report out/regress-{experiment}.json --experiment {experiment}"
    )
