"""Stage `upload`: a small private dataset goes up, then one of its files changes; how does the site take that?

1. A file of 4 MB is broken off half-way on purpose: does the store say what it has, and take the rest? Nothing is made
   of that file.
2. Two files and the kit's manifest become a dataset, as every push does it: through which states, and how long?
3. A version whose unchanged file is named by the token of the version before: is that taken?
4. A version that leaves that file out: is it gone?

The bytes come from the account's name and the number of the round, so a stage that was killed finds its own files on
the site and sends nothing twice. The token of 3 stands in the journal, readable by its owner only; it is taken to be of
no use once its file is part of a dataset, and 3 asks whether that is so.
"""

import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from build.core.errors import CheckFailed
from build.core.progress import watching
from build.kaggle.asking import Asking
from build.kaggle.client import Kaggle
from build.kaggle.dataset_folders import StagedDataset, stage_dataset
from build.kaggle.dataset_requests import READY, Uploaded
from build.kaggle.datasets import push_dataset, wait_until_there
from build.kaggle.effects import look_until, settles_at, was_sent
from build.kaggle.explain import Asked, ResponseLost
from build.kaggle.journal import Journal
from build.kaggle.preparation import account
from build.kaggle.uploads import Uploads, break_off, bytes_there, send_rest
from kernel_src.competitions.held_facts import facts

FOLDER = Path("out", "push", "preflight")
FILE_BYTES, BROKEN_BYTES = 1_000_000, 4_000_000
CHANGES, STAYS = "changes.bin", "stays.bin"
TOKENS = "preflight tokens"  # step of the journal
READY_LIMIT_S = 1800.0


class WatchedClient(Kaggle):
    """The client, which notes when a dataset's state and list of files change, and the tokens of its uploads."""

    def __init__(self, client: Kaggle, keep_tokens: Callable[[dict[str, str]], None]) -> None:
        """Use the session of a client that is signed in."""
        super().__init__(client._api, client._uploads)  # noqa: SLF001 (its own fields: this is one, too)
        self._keep_tokens = keep_tokens
        self._sent_s = 0.0
        self.upload_s = 0.0
        self.seen: list[tuple[float, str, Any]] = []  # seconds since the files were sent, what, its new value

    def upload(self, folder: Path) -> Uploaded:
        """Upload as ever, timed."""
        start = time.monotonic()
        uploaded = super().upload(folder)
        self._sent_s = time.monotonic()
        self.upload_s = self._sent_s - start
        self.seen = []
        self._keep_tokens(uploaded.tokens)
        return uploaded

    def dataset_state(self, owner: str, slug: str) -> str | None:
        """Ask as ever, and note a change."""
        state = super().dataset_state(owner, slug)
        self._note("state", state or "not shown")
        return state

    def dataset_files(self, owner: str, slug: str, version: int | None = None) -> dict[str, int]:
        """List as ever, and note a change."""
        files = super().dataset_files(owner, slug, version)
        self._note("files", len(files))
        return files

    def _note(self, what: str, value: Any) -> None:
        last = next((one[2] for one in reversed(self.seen) if one[1] == what), None)
        if self._sent_s and value != last:
            self.seen.append((round(time.monotonic() - self._sent_s, 1), what, value))


def ask_upload(asking: Asking) -> dict[str, Any]:
    """Make the dataset and its versions; what an earlier run has done is not done again.

    Raises:
        CheckFailed: the dataset could not be made at all.
    """
    steps = asking.steps(5)
    signed_in, owner = account(steps)
    number = asking.store.rounds.get(asking.stage.name, 0)
    slug = f"{facts().prefix}-preflight-files"
    first = _stage(slug, owner, number, {CHANGES: 1, STAYS: 1})
    of_first = first.inputs  # taken now: the next version is laid out in the same folder
    client = WatchedClient(signed_in, lambda tokens: _remember(asking.journal, of_first, tokens))
    with steps.step("break", f"{BROKEN_BYTES / 1e6:.0f} MB, broken off on purpose half-way") as note:
        if not asking.is_settled("upload_resume"):
            asking.ask("upload_resume", "StartBlobUpload, PUT", lambda: _resumed(client, number))
        note("settled" if asking.is_settled("upload_resume") else "not settled")
    with steps.step("dataset", first.url) as note:
        pushed = None
        if asking.journal.done("dataset", of_first) is None:
            pushed = push_dataset(first, client, asking.journal, limit_s=READY_LIMIT_S)
        if client.seen:  # in the run that makes it; one that comes after a kill has not seen it
            asking.keep("upload_ready", _timeline(client), "CreateDataset, GetDatasetStatus, ListDatasetFiles")
        note(str(pushed or "made by an earlier run"))
    with steps.step("token", f"a version that names the token of {STAYS} once more") as note:
        if not asking.is_settled("upload_token_twice"):
            second = _stage(slug, owner, number, {CHANGES: 2, STAYS: 1})
            asking.ask(
                "upload_token_twice", "CreateDatasetVersion", lambda: _token_twice(of_first, second, client, asking)
            )
        note("settled" if asking.is_settled("upload_token_twice") else "not settled")
    with steps.step("left out", f"a version without {STAYS}") as note:
        if not asking.is_settled("upload_left_out"):
            third = _stage(slug, owner, number, {CHANGES: 3})
            asking.ask("upload_left_out", "CreateDatasetVersion", lambda: _left_out(third, client, asking))
        note("settled" if asking.is_settled("upload_left_out") else "not settled")
    return {"dataset": first.ref, "url": first.url}


def _stage(slug: str, owner: str, number: int, files: dict[str, int]) -> StagedDataset:
    """Write the files, each in the given edition, and lay them out as they are sent."""
    folder = FOLDER / "files"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, edition in files.items():
        (folder / name).write_bytes(_content(f"{owner} {name} {number} {edition}", FILE_BYTES))
    return stage_dataset(slug, folder, owner)


def _content(seed: str, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


def _remember(journal: Journal, of_first: dict[str, Any], tokens: dict[str, str]) -> None:
    """Keep the token of the file that stays, of the first version that was uploaded."""
    if journal.done("dataset", of_first) is None and STAYS in tokens:
        journal.record(TOKENS, of_first, token=tokens[STAYS])


def _resumed(client: Kaggle, number: int) -> dict[str, Any]:
    """Break an upload off and finish it."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / "broken-off.bin"
    path.write_bytes(_content(f"{client.username} {number}", BROKEN_BYTES))
    asked = Asked(f"take {path.name}", "dataset", path.name)
    _, address = client.announce_upload(path)
    sent = break_off(address, path, BROKEN_BYTES // 2)
    there = bytes_there(address, BROKEN_BYTES, asked)
    done = None if there is None else send_rest(address, path, there, asked)
    path.unlink()
    return {"bytes_sent": sent, "bytes_there": there, "rest_taken": bool(done)}


def _timeline(client: WatchedClient) -> dict[str, Any]:
    """Say how long the dataset took, as far as this run saw it."""
    states = [f"{value} after {seconds:.0f} s" for seconds, what, value in client.seen if what == "state"]
    ready = next((seconds for seconds, _, value in client.seen if value == READY), None)
    listed = next((seconds for seconds, what, value in reversed(client.seen) if what == "files"), None)
    return {"upload_s": round(client.upload_s, 1), "ready_s": ready, "listed_s": listed, "states": states}


def _token_twice(of_first: dict[str, Any], second: StagedDataset, client: Kaggle, asking: Asking) -> dict[str, Any]:
    """Send a version that names a file by the token of the version before.

    Raises:
        ResponseLost: nobody knows whether it was taken.
    """
    journal, earlier = asking.journal, asking.journal.unanswered("dataset", second.inputs)
    with watching("a token for the second time", quiet=asking.quiet) as show_state:
        before = client.dataset_version(second.owner, second.slug) or 0

        def newer() -> int | None:
            version = client.dataset_version(second.owner, second.slug) or 0
            return version if earlier and version > earlier.result["version_before"] else None

        if earlier and was_sent(earlier) and look_until(newer, settles_at(earlier)):
            before = earlier.result["version_before"]
        else:
            uploaded = _with_old_token(of_first, second, client, journal)
            try:
                with journal.attempt("dataset", second.inputs, version_before=before) as result:
                    client.new_dataset_version(second.folder, "an old token", uploaded, result.sending)
                    result.taken()
            except ResponseLost:
                raise
            except CheckFailed as failed:
                return {"taken": False, "said": failed.problems[0].what}
        try:
            wait_until_there(second, client, before, show_state, limit_s=READY_LIMIT_S)
        except CheckFailed as failed:
            return {"taken": True, "whole": False, "said": failed.problems[0].what}
    return {"taken": True, "whole": True}


def _with_old_token(of_first: dict[str, Any], second: StagedDataset, client: Kaggle, journal: Journal) -> Uploaded:
    """Upload what differs from the first version, and name the rest by its token of then."""
    known = journal.done(TOKENS, of_first)
    assert known is not None, "the first version was uploaded before"
    asked = Asked("take the dataset", "dataset", second.ref)
    uploads = Uploads(client._uploads, client.username, asked, client.announce_upload)  # noqa: SLF001
    paths = [second.folder / name for name in second.sizes if name != STAYS]
    tokens = {path.name: uploads.upload(path, lambda done, total: None) for path in paths}
    return Uploaded(tokens | {STAYS: known["token"]}, uploads, paths)


def _left_out(third: StagedDataset, client: Kaggle, asking: Asking) -> dict[str, Any]:
    """Make a version without a file, and look what becomes of that.

    Raises:
        CheckFailed: the version is not there, or not as it was sent for another reason.
    """
    try:
        push_dataset(third, client, asking.journal, limit_s=READY_LIMIT_S)
    except CheckFailed:
        listed = client.dataset_files(third.owner, third.slug)
        if not set(third.sizes) <= set(listed) or STAYS not in listed:
            raise
        return {"file": "kept"}
    return {"file": "gone"}
