"""`make push-training`: a notebook onto Kaggle's GPUs, and what it leaves brought home.

build → check → account → starting weights → drift → push → run → outputs → bundle, resumable like `flow.py`. Of an
experiment whose features are frozen it is the features notebook, and its `features.npz` takes the bundle's place. What
one session cannot finish goes on in the next: datasets → drift → push → run → outputs once more for each (sessions.py).
"""

import ast
import itertools
import shlex
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from build.core.bundle_files import missing_folds_text
from build.core.choosing import data_folder
from build.core.errors import CheckFailed, Problem
from build.core.progress import Steps
from build.kaggle.client import Kaggle
from build.kaggle.drift import pushes_of
from build.kaggle.effects import was_sent
from build.kaggle.explain import QuotaSpent
from build.kaggle.flow import PushOptions
from build.kaggle.journal import Journal
from build.kaggle.kernels import Version, current_attempt, pushed_before
from build.kaggle.live_view import watching_run
from build.kaggle.outputs import FEATURES_FILE, verify_any_file, verify_features, verify_training
from build.kaggle.preparation import account, build_and_check, push_unless_edited
from build.kaggle.pushed_values import CHANGES
from build.kaggle.receipts import manifest_hashes
from build.kaggle.runs import download, run_with_input
from build.kaggle.sessions import (
    Left,
    is_unfinished,
    left_by,
    push_run,
    quota_spent,
    sessions_expected,
    take_over,
    verify_unfinished,
)
from build.kaggle.staging import Staged, stage
from build.kaggle.weights import BUNDLES, find_folder
from build.notebooks.adopted_card import AdoptedCard
from kernel_src.competitions.held_facts import facts
from kernel_src.competitions.held_recipes import EXPERIMENTS
from kernel_src.competitions.kernel_cards import KernelCard, bundle_slug, kernel_on_gpus
from kernel_src.recipes.changes import changed
from kernel_src.recipes.experiment import Experiment
from kernel_src.runtime.files import CONFIG_FILE, sha256_of, write_atomically
from kernel_src.runtime.manifest import MANIFEST_FILE, read_bundle_json

STEPS, STEPS_OF_A_SESSION = 9, 5
MOST_NAMED = 12  # files of a run, in one line
FEATURES = Path("out", "features")  # <experiment>.npz


@dataclass(frozen=True, kw_only=True)
class Harvest:
    """What becomes of a run that was downloaded."""

    check: Callable[[Path, str], Path]  # output folder, experiment → its run/ folder
    remark: Callable[[Path], str]  # run/ folder → what is not whole of it; empty if all is
    last_file: str  # of a run that is finished; empty: it never goes on in another session
    step: str  # the last one's name, and in the journal too
    text: str
    make: Callable[[str, Path, Version, Journal], tuple[Path, str]]  # → what was made of it, and a status line
    following: Callable[[str, Path], str]  # experiment, what was made → the command that is next


@dataclass(frozen=True, kw_only=True)
class Training:
    """What all sessions of a training have in common."""

    options: PushOptions
    kernel: str  # train or features
    card: KernelCard
    notebook: Path
    values: dict[str, str]  # given for this push
    harvest: Harvest
    client: Kaggle
    journal: Journal
    steps: Steps
    before_push: Callable[[Kaggle], None]  # where a session is going to be pushed that was never sent

    @property
    def goes_on(self) -> str:
        """The command that goes on with it."""
        return self.options.command("push-training", wait=True)

    @cached_property
    def ours(self) -> dict[str, Path]:
        """The folders on this machine of the datasets that it mounts."""
        found = {slug: find_folder(slug, self.options.experiment) for slug in self.card.datasets if "/" not in slug}
        return {slug: folder for slug, folder in found.items() if folder}

    @cached_property
    def manifests(self) -> dict[str, str]:
        """The manifests' hashes of these folders."""
        return _manifests(self.card, f"{self.client.username}/{self.notebook.stem}", self.ours, self.journal)

    def check(self, folder: Path) -> Path:
        """Check what a session left, finished or not, and return its run/ folder."""
        experiment, last_file = self.options.experiment, self.harvest.last_file
        if last_file and is_unfinished(folder, last_file):
            return verify_unfinished(folder, experiment)
        return self.harvest.check(folder, experiment)


def push_training(
    options: PushOptions, journal: Journal, before_push: Callable[[Kaggle], None] = lambda client: None
) -> dict[str, Any]:
    """Run what an experiment needs of Kaggle's GPUs, and make a bundle or a features file of what comes of it.

    `before_push` is called where a session is going to be pushed that was never sent, and may raise to stop that. A run
    that its clock has ended is gone on with in the next session, until everything is there (sessions.py).

    Raises:
        CheckFailed: a step failed; nothing after it was done.
        QuotaSpent: the same in particular, for want of GPU hours.
        UsageError: no such experiment.
    """
    steps = Steps(total=STEPS, quiet=options.quiet)
    experiment = options.experiment
    kernel = kernel_on_gpus(experiment) if experiment in EXPERIMENTS else "train"
    card, notebook, values = build_and_check(experiment, kernel, steps, journal, options.given)
    harvest = _harvest_adopted(card) if isinstance(card, AdoptedCard) else _harvest(kernel, experiment)
    client, _ = account(steps)
    training = Training(
        options=options,
        kernel=kernel,
        card=card,
        notebook=notebook,
        values=values,
        harvest=harvest,
        client=client,
        journal=journal,
        steps=steps,
        before_push=before_push,
    )
    left: Left | None = None  # by the session before
    for session in itertools.count(1):
        staged, version = _pushed(training, session, left)
        assert left is None or version != left.version, "a session cannot go on with what it has left itself"
        result: dict[str, Any] = {"kernel": staged.kernel, "version": version.number, "url": version.url}
        result |= {"parameters": values} if values else {}
        if known := left_by(version, journal):
            steps.skip(2, f"session {session} is over, {known.progress} trained")
        elif not options.wait:
            which = "it" if session == 1 else f"session {session}"
            return result | {"next": f"{which} is running on Kaggle; `{training.goes_on}` continues with it"}
        else:
            staged, version = _run(training, staged, version)
            result |= {"version": version.number, "url": version.url}
            run, known = _fetched(training, session, staged, version, left)
        if known is None:
            break
        left = known
        steps.total += STEPS_OF_A_SESSION
    incomplete = harvest.remark(run)
    with steps.step(harvest.step, harvest.text) as note:
        made, status = harvest.make(experiment, run, version, journal)
        note(status)
    following = f"{harvest.step} {made}: `{harvest.following(experiment, made)}` is next"
    return result | {harvest.step: str(made), "incomplete": incomplete, "next": following}


def _pushed(training: Training, session: int, left: Left | None) -> tuple[Staged, Version]:
    """Push a session unless that was done; return what was pushed, and its version."""
    options, client, journal, steps = training.options, training.client, training.journal, training.steps
    manifests = training.manifests | ({left.slug: left.sha256} if left else {})
    more = [left.slug] if left else []
    staged = stage(training.notebook, client.username, manifests, training.values, more=more)
    staged = current_attempt(staged, journal, again=options.again)
    if version := pushed_before(staged, journal):
        steps.skip(3, f"these sources with these datasets are version {version.number} already: {version.url}")
        return staged, version
    if session == 1:
        _print_projection(training)
    if not was_sent(journal.newest("kernel", staged.inputs)):
        training.before_push(client)
    names = [*training.card.datasets, *more]
    with steps.step("datasets", ", ".join(names) or "none needed") as note:
        outcomes = [_push_datasets(training.card, training.ours, client.username, client, journal)]
        if left:
            folder = download(staged, left.version, client, journal, training.check)
            outcomes.append(push_run(left, training.check(folder), client, journal))
        note("; ".join(outcomes))
    try:
        return staged, push_unless_edited(staged, client, journal, steps, overwrite=options.overwrite)
    except QuotaSpent as spent:
        raise quota_spent(spent, left, client.username, client, training.goes_on) from None


def _run(training: Training, staged: Staged, version: Version) -> tuple[Staged, Version]:
    """Wait for a session to end; return what was pushed in the end, and its version."""
    with (
        training.steps.step("run", f"waiting for {version.url}") as note,
        watching_run("on Kaggle", training.options.quiet) as show_state,
    ):
        staged, version, status = run_with_input(staged, version, training.client, training.journal, show_state)
        note(status)
    return staged, version


def _fetched(
    training: Training, session: int, staged: Staged, version: Version, before: Left | None
) -> tuple[Path, Left | None]:
    """Fetch what a session left; return its run, and what the next session goes on with: None if that is finished."""
    experiment, last_file = training.options.experiment, training.harvest.last_file
    # What an error has ended is gone on with by somebody who was told so.
    again = training.options.again and training.journal.done("outputs", version.inputs) is not None
    with training.steps.step("outputs", f"of version {version.number}: fetched and verified") as note:
        folder = download(staged, version, training.client, training.journal, training.check)
        run = training.check(folder)
        if not (last_file and is_unfinished(folder, last_file)):
            incomplete = training.harvest.remark(run)
            note(f"{run}. {incomplete}" if incomplete else str(run))
            return run, None
        log = folder / f"{staged.slug}.log"
        left = take_over(run, log, version, before, experiment, training.journal, again=again)
        in_all = sessions_expected(run, session, recipe_of(training)) if training.kernel == "train" else None
        about = f" of about {in_all}" if in_all else ""
        note(f"{left.progress} trained in session {session}{about}; the next one goes on with them")
    return run, left


def _print_projection(training: Training) -> None:
    """Say before the first push how many sessions a training will take, where that is more than one and known."""
    table = data_folder() / facts().train_csv
    if training.kernel != "train" or training.options.experiment not in EXPERIMENTS or not table.is_file():
        return
    from build.weights.training_time import training_time
    from kernel_src.competitions.held_rules import rules

    time = training_time(recipe_of(training), len(rules().read_train(table)))
    if time and (line := time.as_line()) and not training.options.quiet:
        print(f"      {line}", flush=True)


def recipe_of(training: Training) -> Experiment:
    """Return the recipe with the changes that were given for this push."""
    changes = ast.literal_eval(training.values.get(CHANGES, "{}"))
    return changed(EXPERIMENTS[training.options.experiment], changes)


def _harvest(kernel: str, experiment: str) -> Harvest:
    if kernel == "features":
        return Harvest(
            check=verify_features,
            remark=lambda run: "",
            last_file=FEATURES_FILE,
            step="features",
            text=f"→ {FEATURES / experiment}.npz",
            make=_keep_features,
            following=regress_command,
        )
    return Harvest(
        check=verify_training,
        remark=lambda run: missing_folds_text(read_bundle_json(run, CONFIG_FILE)),
        last_file=CONFIG_FILE,
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
        last_file="",
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
