"""`make push-training`: the training notebook onto Kaggle's GPUs, and what it leaves as a bundle.

build → check → account → starting weights → drift → push → run → outputs → bundle, resumable like `flow.py`.
"""

from pathlib import Path
from typing import Any

from build.core.bundle_files import missing_folds_text
from build.core.errors import CheckFailed, Problem
from build.core.progress import Steps, watching
from build.kaggle.client import Kaggle
from build.kaggle.drift import pushes_of
from build.kaggle.flow import PushOptions
from build.kaggle.journal import Journal
from build.kaggle.kernels import Version, current_attempt, pushed_before
from build.kaggle.outputs import verify_training
from build.kaggle.preparation import account, build_and_check, push_unless_edited
from build.kaggle.receipts import manifest_hashes
from build.kaggle.runs import download, run_with_input
from build.kaggle.staging import stage
from build.kaggle.weights import BUNDLES, find_folder
from kernel_src.recipes.kernel_cards import KernelCard, bundle_slug
from kernel_src.runtime.files import CONFIG_FILE, sha256_of
from kernel_src.runtime.manifest import MANIFEST_FILE, read_bundle_json

STEPS = 9


def push_training(options: PushOptions, journal: Journal) -> dict[str, Any]:
    """Train one experiment on Kaggle and make a bundle of what comes of it.

    Raises:
        CheckFailed: a step failed; nothing after it was done.
        UsageError: no such experiment.
    """
    steps = Steps(total=STEPS, quiet=options.quiet)
    card, notebook = build_and_check(options.experiment, "train", steps, journal)
    client, owner = account(steps)
    folders = {slug: find_folder(slug, options.experiment) for slug in card.datasets if "/" not in slug}
    ours = {slug: folder for slug, folder in folders.items() if folder}
    manifests = _manifests(card, f"{owner}/{notebook.stem}", ours, journal)
    staged = current_attempt(stage(notebook, owner, manifests), journal, again=options.again)
    version = pushed_before(staged, journal)
    if version is None:
        with steps.step("datasets", ", ".join(card.datasets) or "none needed") as note:
            note(_push_datasets(card, ours, owner, client, journal))
        version = push_unless_edited(staged, client, journal, steps, overwrite=options.overwrite)
    else:
        steps.skip(3, f"these sources with these datasets are version {version.number} already: {version.url}")
    result: dict[str, Any] = {"kernel": staged.kernel, "version": version.number, "url": version.url}
    if not options.wait:
        goes_on = options.command("push-training", wait=True)
        return result | {"next": f"it is running on Kaggle; `{goes_on}` continues with it"}
    with steps.step("run", f"waiting for {version.url}") as note, watching("on Kaggle", options.quiet) as show_state:
        staged, version, status = run_with_input(staged, version, client, journal, show_state)
        note(status)
    result |= {"version": version.number, "url": version.url}
    with steps.step("outputs", f"of version {version.number}: fetched and verified") as note:
        folder = download(staged, version, client, journal, lambda path: verify_training(path, options.experiment))
        run = verify_training(folder, options.experiment)
        incomplete = missing_folds_text(read_bundle_json(run, CONFIG_FILE))
        note(f"{run}. {incomplete}" if incomplete else str(run))
    with steps.step("bundle", f"weights in half precision, with a manifest → {BUNDLES / options.experiment}") as note:
        bundle, status = _bundle(options.experiment, run, version, journal)
        note(status)
    return result | {"bundle": str(bundle), "incomplete": incomplete}


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
