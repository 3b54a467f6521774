"""Requests about datasets: state, files, uploads, and the request that makes one version of exactly these files."""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from build.core.errors import CheckFailed, Problem
from build.core.progress import counting
from build.kaggle import responses
from build.kaggle.effects import change
from build.kaggle.explain import Asked, ResponseLost, is_absent
from build.kaggle.session import PAGE, ApiSession, filled
from build.kaggle.uploads import Announce, Uploads
from build.notebooks.metadata import DATASET_METADATA

READY, UNUSABLE = "READY", ("FAILED", "DELETED")
SETTLED = (READY, *UNUSABLE)  # nothing is being processed


@dataclass(frozen=True)
class Uploaded:
    """All files are in Kaggle's store; no dataset has them yet."""

    tokens: dict[str, str]  # file name → token
    uploads: Uploads
    paths: list[Path]

    @property
    def sent_before(self) -> int:
        """The bytes that had come in an earlier run and were not sent again."""
        return sum(self.uploads.sent_before.values())

    def forget(self) -> None:
        """Throw away the notes by which the uploads could be resumed."""
        self.uploads.forget(self.paths)


class DatasetRequests(ApiSession):
    """Datasets of any account that this one may see; its own get versions."""

    def dataset_state(self, owner: str, slug: str) -> str | None:
        """Return READY, FAILED or a state of processing; None: does not exist (or, says Kaggle's 403, not yet)."""
        from kagglesdk.datasets.types.dataset_api_service import ApiGetDatasetStatusRequest

        request = filled(ApiGetDatasetStatusRequest(), owner_slug=owner, dataset_slug=slug)
        asked = Asked("show the state of the dataset", "dataset", f"{owner}/{slug}")
        response = self.ask_or_none("datasets.dataset_api_client.get_dataset_status", request, asked)
        return None if response is None else str(response.status.name)

    def dataset_version(self, owner: str, slug: str) -> int | None:
        """Return the newest version's number, None if the dataset does not exist."""
        from kagglesdk.datasets.types.dataset_api_service import ApiGetDatasetRequest

        request = filled(ApiGetDatasetRequest(), owner_slug=owner, dataset_slug=slug)
        asked = Asked("show the dataset", "dataset", f"{owner}/{slug}")
        response = self.ask_or_none("datasets.dataset_api_client.get_dataset", request, asked)
        return None if response is None else int(response.current_version_number or 0) or None

    def dataset_codes(self, owner: str, slug: str) -> dict[str, int]:
        """Return with which HTTP codes Kaggle answers when a dataset and its state are asked for."""
        from kagglesdk.datasets.types.dataset_api_service import ApiGetDatasetRequest, ApiGetDatasetStatusRequest

        asked = Asked("show the dataset", "dataset", f"{owner}/{slug}")
        state, dataset = (
            filled(kind(), owner_slug=owner, dataset_slug=slug)
            for kind in (ApiGetDatasetStatusRequest, ApiGetDatasetRequest)
        )
        return {
            "state": self.code_of("datasets.dataset_api_client.get_dataset_status", state, asked),
            "dataset": self.code_of("datasets.dataset_api_client.get_dataset", dataset, asked),
        }

    def dataset_files(self, owner: str, slug: str, version: int | None = None) -> dict[str, int]:
        """Return name → bytes of every file, all pages; empty if the dataset does not exist."""
        from kagglesdk.datasets.types.dataset_api_service import ApiListDatasetFilesRequest

        request = filled(ApiListDatasetFilesRequest(), owner_slug=owner, dataset_slug=slug, page_size=PAGE)
        request.dataset_version_number = version
        asked = Asked("list the dataset's files", "dataset", f"{owner}/{slug}")
        files: dict[str, int] = {}
        try:
            for page in self.pages("datasets.dataset_api_client.list_dataset_files", request, asked):
                files |= responses.listed_files(page)
        except CheckFailed as failed:
            if not is_absent(failed):
                raise
            return {}
        return files

    def dataset_file(self, owner: str, slug: str, name: str, limit_bytes: int = 10**7) -> bytes | None:
        """Return the content of one small file of the newest version, None if it is not there."""
        from kagglesdk.datasets.types.dataset_api_service import ApiDownloadDatasetRequest

        from build.kaggle.downloads import read_small

        request = filled(ApiDownloadDatasetRequest(), owner_slug=owner, dataset_slug=slug, file_name=name)
        asked = Asked(f"send {name}", "dataset", f"{owner}/{slug}")
        try:
            # Read within the attempt: a response that breaks off is asked for again.
            return self.ask("datasets.dataset_api_client.download_dataset", request, asked, read_small(limit_bytes))
        except CheckFailed as failed:
            if is_absent(failed):
                return None
            raise

    def upload(self, folder: Path) -> Uploaded:
        """Upload every file of a flat folder (but dataset-metadata.json); no dataset has them yet.

        Raises:
            CheckFailed: not all of them arrived.
        """
        metadata = _dataset_metadata(folder)
        return upload_all(self.announce_upload, folder, _saving(metadata), self._uploads, self.username)

    def announce_upload(self, path: Path) -> tuple[str, str]:
        """Announce a file; return its token and the address that takes it."""
        asked = Asked(f"take {path.name}", "dataset", path.parent.name)
        response: Any = self.ask("blobs.blob_api_client.start_blob_upload", blob_request(path), asked)
        return str(response.token), str(response.create_url)

    def forget_uploads(self, folder: Path) -> None:
        """Throw away the notes of uploads that have become part of a dataset; the address in one is like a password."""
        asked = _saving(_dataset_metadata(folder))
        Uploads(self._uploads, self.username, asked, self.announce_upload).forget(files_of(folder))

    def create_dataset(
        self, folder: Path, uploaded: Uploaded | None = None, sending: Callable[[], None] = lambda: None
    ) -> None:
        """Make a new private dataset of exactly the files of `folder`, which are uploaded first if they are not."""
        self._save_dataset(folder, None, uploaded or self.upload(folder), sending)

    def new_dataset_version(
        self, folder: Path, note: str, uploaded: Uploaded | None = None, sending: Callable[[], None] = lambda: None
    ) -> None:
        """Make a new version of exactly the files of `folder`, which are uploaded first if they are not."""
        self._save_dataset(folder, note, uploaded or self.upload(folder), sending)

    def _save_dataset(self, folder: Path, note: str | None, uploaded: Uploaded, sending: Callable[[], None]) -> None:
        metadata = _dataset_metadata(folder)
        owner, _, slug = metadata["id"].partition("/")
        before = 0 if note is None else self.dataset_version(owner, slug) or 0
        if note is None:
            method, request = "create_dataset", create_request(metadata, uploaded.tokens)
        else:
            method, request = "create_dataset_version", version_request(metadata, uploaded.tokens, note)

        def save() -> bool:
            return self.send_once(f"datasets.dataset_api_client.{method}", request, responses.saved_dataset)

        def look() -> bool | None:
            state = self.dataset_state(owner, slug)
            shows = state is not None and (note is None or state not in SETTLED)
            return True if shows or (self.dataset_version(owner, slug) or 0) > before else None

        try:
            change(save, _saving(metadata), look, sending=sending)
        except ResponseLost:
            raise  # the notes stay: the uploads are part of a version, or will be
        except CheckFailed:
            uploaded.forget()  # refused: these tokens are of no use any more
            raise
        uploaded.forget()


def _dataset_metadata(folder: Path) -> dict[str, Any]:
    metadata: dict[str, Any] = json.loads((folder / DATASET_METADATA).read_text(encoding="utf-8"))
    return metadata


def _saving(metadata: Mapping[str, Any]) -> Asked:
    return Asked("take the dataset", "dataset", metadata["id"])


def upload_all(announce: Announce, folder: Path, asked: Asked, state: Path, account: str) -> Uploaded:
    """Upload every file of a flat folder; all of them arrive, or none becomes a dataset.

    Raises:
        CheckFailed: a file did not arrive, or changed while it was sent.
    """
    paths = files_of(folder)
    uploads = Uploads(state, account, asked, announce)
    total, done, tokens = sum(path.stat().st_size for path in paths), 0, {}
    with counting("uploading, bytes", quiet=not sys.stdout.isatty()) as advance:
        for path in paths:
            before = path.stat()
            tokens[path.name] = uploads.upload(path, lambda sent, _, done=done: advance(done + sent, total))  # type: ignore[misc]
            done += before.st_size
            if (path.stat().st_size, path.stat().st_mtime_ns) != (before.st_size, before.st_mtime_ns):
                problem = Problem(what="the file changed while it was sent", where=str(path), cure="run again")
                raise CheckFailed([problem])
    if missing := [path.name for path in paths if not tokens.get(path.name)]:
        what = f"Kaggle gave no token for {', '.join(missing)}, so the dataset would lack them; it was not made"
        raise CheckFailed([Problem(what=what, where=asked.ref, cure="run the same command again")])
    return Uploaded(tokens, uploads, paths)


def files_of(folder: Path) -> list[Path]:
    """Return what is uploaded of a folder."""
    return [path for path in sorted(folder.iterdir()) if path.name != DATASET_METADATA]


def blob_request(path: Path) -> Any:
    """Fill the request that announces one file."""
    from kagglesdk.blobs.types.blob_api_service import ApiBlobType, ApiStartBlobUploadRequest

    request = ApiStartBlobUploadRequest()
    request.type = ApiBlobType.DATASET
    request.name = path.name
    request.content_length = path.stat().st_size
    request.last_modified_epoch_seconds = int(path.stat().st_mtime)
    return request


def create_request(metadata: Mapping[str, Any], tokens: Mapping[str, str]) -> Any:
    """Fill the request that makes a new, private dataset."""
    from kagglesdk.datasets.types.dataset_api_service import ApiCreateDatasetRequest

    owner, _, slug = metadata["id"].partition("/")
    request = ApiCreateDatasetRequest()
    request.owner_slug, request.slug, request.title = owner, slug, metadata["title"]
    request.license_name = metadata["licenses"][0]["name"]
    request.is_private = True
    request.subtitle, request.description = metadata.get("subtitle"), metadata.get("description")
    request.files = _files(tokens)
    return request


def version_request(metadata: Mapping[str, Any], tokens: Mapping[str, str], note: str) -> Any:
    """Fill the request that makes a new version; it replaces all files."""
    from kagglesdk.datasets.types.dataset_api_service import (
        ApiCreateDatasetVersionRequest,
        ApiCreateDatasetVersionRequestBody,
    )

    request = ApiCreateDatasetVersionRequest()
    request.owner_slug, _, request.dataset_slug = metadata["id"].partition("/")
    body = ApiCreateDatasetVersionRequestBody()
    body.version_notes = note
    body.subtitle, body.description = metadata.get("subtitle"), metadata.get("description")
    body.delete_old_versions = False
    body.files = _files(tokens)
    request.body = body
    return request


def _files(tokens: Mapping[str, str]) -> list[Any]:
    from kagglesdk.datasets.types.dataset_api_service import ApiDatasetNewFile

    files = []
    for token in tokens.values():
        file = ApiDatasetNewFile()
        file.token = token
        files.append(file)
    return files
