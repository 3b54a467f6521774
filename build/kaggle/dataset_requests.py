"""What is asked and told about datasets: state, files, uploads, new versions."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from build.core.errors import CheckFailed
from build.kaggle import responses as answers
from build.kaggle.api_session import PAGE, ApiSession, filled
from build.kaggle.blobs import Uploaded, blob_request, create_request, files_of, upload_all, version_request
from build.kaggle.effects import change
from build.kaggle.explain import AnswerLost, Asked, is_absent
from build.kaggle.uploads import Uploads
from build.notebooks.metadata import DATASET_METADATA

READY, DEAD = "READY", ("FAILED", "DELETED")
SETTLED = (READY, *DEAD)  # nothing is being processed


class DatasetRequests(ApiSession):
    """Datasets of any account that this one may see; its own get versions."""

    def dataset_state(self, owner: str, slug: str) -> str | None:
        """Return READY, FAILED or a state of processing; None: does not exist (or, says Kaggle's 403, not yet)."""
        from kagglesdk.datasets.types.dataset_api_service import ApiGetDatasetStatusRequest

        request = filled(ApiGetDatasetStatusRequest(), owner_slug=owner, dataset_slug=slug)
        asked = Asked("tell the state of the dataset", "dataset", f"{owner}/{slug}")
        answer = self.ask_or_none("datasets.dataset_api_client.get_dataset_status", request, asked)
        return None if answer is None else str(answer.status.name)

    def dataset_version(self, owner: str, slug: str) -> int | None:
        """Return the newest version's number, None if the dataset does not exist."""
        from kagglesdk.datasets.types.dataset_api_service import ApiGetDatasetRequest

        request = filled(ApiGetDatasetRequest(), owner_slug=owner, dataset_slug=slug)
        asked = Asked("show the dataset", "dataset", f"{owner}/{slug}")
        answer = self.ask_or_none("datasets.dataset_api_client.get_dataset", request, asked)
        return None if answer is None else int(answer.current_version_number or 0) or None

    def dataset_files(self, owner: str, slug: str, version: int | None = None) -> dict[str, int]:
        """Return name → bytes of every file, all pages; empty if the dataset does not exist."""
        from kagglesdk.datasets.types.dataset_api_service import ApiListDatasetFilesRequest

        request = filled(ApiListDatasetFilesRequest(), owner_slug=owner, dataset_slug=slug, page_size=PAGE)
        request.dataset_version_number = version
        asked = Asked("list the dataset's files", "dataset", f"{owner}/{slug}")
        files: dict[str, int] = {}
        try:
            for page in self.pages("datasets.dataset_api_client.list_dataset_files", request, asked):
                files |= answers.listed_files(page)
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
            # Read within the attempt: an answer that breaks off is asked for again.
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
        """Tell Kaggle that a file comes; return its token and the address that takes it."""
        asked = Asked(f"take {path.name}", "dataset", path.parent.name)
        answer: Any = self.ask("blobs.blob_api_client.start_blob_upload", blob_request(path), asked)
        return str(answer.token), str(answer.create_url)

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
            return self.send_once(f"datasets.dataset_api_client.{method}", request, answers.saved_dataset)

        def look() -> bool | None:
            state = self.dataset_state(owner, slug)
            shows = state is not None and (note is None or state not in SETTLED)
            return True if shows or (self.dataset_version(owner, slug) or 0) > before else None

        try:
            change(save, _saving(metadata), look, sending=sending)
        except AnswerLost:
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
