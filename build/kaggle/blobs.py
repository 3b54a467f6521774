"""The files of a dataset on their way up, and the request that makes one version of exactly these."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from build.core.errors import CheckFailed, Problem
from build.core.progress import counting
from build.kaggle.explain import Asked
from build.kaggle.uploads import Announce, Uploads
from build.notebooks.metadata import DATASET_METADATA


@dataclass(frozen=True)
class Uploaded:
    """All files are in Kaggle's store; no dataset has them yet."""

    tokens: dict[str, str]  # file name → token
    uploads: Uploads
    paths: list[Path]

    def forget(self) -> None:
        """Throw away the notes by which the uploads could be resumed."""
        self.uploads.forget(self.paths)


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
