"""What the doctor asks the site: the rules, what is left of the rations, the datasets, edits in the browser."""

from collections.abc import Iterator
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from build.kaggle.diagnosis import Check, Finding
from build.kaggle.drift import find_drift, pushes_of
from build.kaggle.journal import Journal
from build.kaggle.preparation import JOURNAL
from build.kaggle.quota import LOW_H, next_submission_reset, quota_text, reset_of, until
from build.kaggle.weights import find_folder
from build.notebooks.builder import NOTEBOOKS, ROOT, all_cards, build_notebook, card_of, pull_command
from build.notebooks.metadata import DATASET_METADATA, kernel_slug
from build.notebooks.seal import read_object
from kernel_src.competition.constants import COMPETITION_URL, SLUG
from kernel_src.recipes.experiments import EXPERIMENTS
from kernel_src.recipes.kernel_cards import bundle_slug
from kernel_src.runtime.manifest import MANIFEST_FILE

if TYPE_CHECKING:
    from build.kaggle.client import Kaggle


def site_checks(client: "Kaggle", now: datetime) -> list[tuple[str, Check]]:
    """Return the checks that ask the site, in the order of asking."""
    checks: list[tuple[str, Check]] = [
        ("rules", partial(rules_findings, client)),
        ("quota", partial(quota_findings, client, now)),
        ("submissions", partial(submission_findings, client, now)),
    ]
    for slug in sorted({slug for card in all_cards() for slug in card.datasets if "/" not in slug}):
        checks.append(("dataset", partial(dataset_findings, client, slug)))
    for card in all_cards():
        checks.append(("drift", partial(drift_findings, client, kernel_slug(card.experiment, card.kernel))))
    return checks


def rules_findings(client: "Kaggle") -> Iterator[Finding]:
    """Ask for the list of data files: Kaggle refuses it to who has not accepted the rules."""
    client.competition_files(SLUG)
    yield Finding(about="rules", level="ok", text=f"{SLUG}: joined, rules accepted")


def quota_findings(client: "Kaggle", now: datetime) -> Iterator[Finding]:
    """Tell the GPU hours that are left."""
    quota = client.quota()
    left, text = quota.gpu_left_h, quota_text(quota, now)
    if left is None:
        yield Finding(about="quota", level="warn", text=text, cure="https://www.kaggle.com/settings shows it")
    elif left <= 0:
        cure = f"wait until {until(reset_of(quota, now), now)}"
        yield Finding(about="quota", level="fail", text=text, cure=cure)
    else:
        cure = "" if left >= LOW_H else "enough for inference, hardly for a training"
        yield Finding(about="quota", level="ok" if left >= LOW_H else "warn", text=text, cure=cure)


def submission_findings(client: "Kaggle", now: datetime) -> Iterator[Finding]:
    """Tell the submissions that are left today."""
    limits = client.submission_limits(SLUG)
    if limits is None:
        yield Finding(
            about="submissions", level="warn", text="Kaggle does not say how many are left", cure=COMPETITION_URL
        )
        return
    text = f"{limits.left_now} left today, {limits.today} made"
    if limits.left_now > 0:
        yield Finding(about="submissions", level="ok", text=text)
    else:
        cure = f"SUBMIT=0 pushes without submitting; more from {until(next_submission_reset(now), now)}"
        yield Finding(about="submissions", level="warn", text=text, cure=cure)


def dataset_findings(client: "Kaggle", slug: str) -> Iterator[Finding]:
    """Tell whether a dataset is there, whole, and the one that lies here."""
    ref, push = f"{client.username}/{slug}", push_command(slug)
    state = client.dataset_state(client.username, slug)
    if state is None:
        yield Finding(about="dataset", level="warn", text=f"{ref} is not on Kaggle", cure=push, absent=True)
        return
    if state.upper() != "READY":
        failed = state.upper() in ("FAILED", "ERROR")
        cure = push if failed else "wait; a push waits for it by itself"
        yield Finding(about="dataset", level="fail" if failed else "warn", text=f"{ref} is {state}", cure=cure)
        return
    listed = client.dataset_files(client.username, slug)
    there = client.dataset_file(client.username, slug, MANIFEST_FILE) if MANIFEST_FILE in listed else None
    if missing := missing_files(there or b"", listed):
        text = f"{ref} is incomplete: {', '.join(missing)}"
        yield Finding(about="dataset", level="fail", text=text, cure=push)
        return
    size = f"{ref}: READY, {len(listed)} files, {sum(listed.values()) / 1e6:.1f} MB"
    folder = find_folder(slug, "")
    local = (folder / MANIFEST_FILE).read_bytes() if folder else None
    if not listed:
        yield Finding(about="dataset", level="fail", text=f"{ref} is READY and lists no file", cure=push)
    elif there is None:
        yield Finding(about="dataset", level="warn", text=f"{size}, without {MANIFEST_FILE}", cure=push)
    elif local is not None and local != there:
        yield Finding(about="dataset", level="warn", text=f"{size}; the bundle that lies here is another", cure=push)
    else:
        yield Finding(about="dataset", level="ok", text=size)


def missing_files(manifest: bytes, listed: dict[str, int]) -> list[str]:
    """Name the manifest's files that a dataset lacks or has in another size."""
    entries = read_object(manifest).get("files")
    wanted = entries if isinstance(entries, dict) else {}
    faults = []
    for name, entry in wanted.items():
        size = entry.get("bytes") if isinstance(entry, dict) else None
        if name not in listed:
            faults.append(f"{name} is missing")
        elif size is not None and listed[name] != size:
            faults.append(f"{name} has {listed[name]} bytes of {size}")
    return faults


def push_command(slug: str) -> str:
    """Return the command that uploads a dataset of the kit."""
    for name in EXPERIMENTS:
        if bundle_slug(name) == slug:
            return f"make push-data EXPERIMENT={name}"
    return f"make push-data SLUG={slug} DIR=… with the folder of its {DATASET_METADATA}"


def drift_findings(client: "Kaggle", slug: str) -> Iterator[Finding]:
    """Tell whether somebody edited a notebook in the browser since it was pushed."""
    remote = client.pull_kernel(client.username, slug)
    name = f"{client.username}/{slug}"
    if remote is None:
        yield Finding(about="drift", level="ok", text=f"{name} is not on Kaggle yet", absent=True)
        return
    path, card = ROOT / NOTEBOOKS / slug / f"{slug}.ipynb", card_of(slug)
    if path.is_file():
        ours = path.read_text(encoding="utf-8")
    elif card is not None:
        ours = build_notebook(card).notebook.decode()
    else:
        yield Finding(about="drift", level="warn", text=f"{slug} is not built", cure="bring its experiment back")
        return
    attempts = []
    if JOURNAL.is_file():
        journal = Journal(JOURNAL)
        attempts = pushes_of(journal, name)
        journal.close()
    if find_drift(remote.source, ours, slug, attempts) is None:
        yield Finding(about="drift", level="ok", text=f"{name} version {remote.version} is as it was pushed")
        return
    cure = f"{pull_command(slug)} fetches the edit; OVERWRITE=1 keeps a copy and pushes over it"
    text = f"{name} version {remote.version} was edited on the site"
    yield Finding(about="drift", level="fail", text=text, cure=cure)
