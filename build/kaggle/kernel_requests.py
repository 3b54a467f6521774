"""Requests about kernels: save, state, source, outputs, and the GPU hours they cost."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from build.core.errors import CheckFailed
from build.core.foreign_text import shown
from build.kaggle import responses
from build.kaggle.effects import change
from build.kaggle.explain import Asked, is_absent, status_of
from build.kaggle.responses import ABSENT, KernelOutput, KernelState, PushedKernel, Quota, RemoteKernel
from build.kaggle.session import PAGE, ApiSession, filled, silence
from build.kaggle.sources import cells_sha256
from build.kaggle.wire import CONNECT_S
from build.notebooks.metadata import KERNEL_METADATA

if TYPE_CHECKING:
    from requests import Response

RECENT = 20  # more cannot have been started within a session's time: two run at once
NEWER_VERSIONS = 20  # so far back a version of ours is looked for behind newer ones


def label(version: int | None) -> dict[str, str]:
    """Return the field that names a version in a request; Kaggle answers a bare number with 404."""
    return {"version_label": f"v{version}"} if version else {}


def _is_refused(failed: CheckFailed) -> bool:
    return isinstance(failed.__cause__, Exception) and status_of(failed.__cause__) == 400


class KernelRequests(ApiSession):
    """Kernels of any account that this one may see; its own can be saved."""

    def push_kernel(self, folder: Path, sending: Callable[[], None] = lambda: None) -> PushedKernel:
        """Save a new version of the kernel in `folder` (kernel-metadata.json with the owner filled in).

        A lost response is settled by the newest version's number and its cells (rules in effects.py); `sending` is
        called just before the request leaves.

        Raises:
            ResponseLost: nobody knows whether there is a new version.
            CheckFailed: an error in the response, no version, any dropped source; also SessionLimitReached, QuotaSpent.
        """
        metadata = json.loads((folder / KERNEL_METADATA).read_text(encoding="utf-8"))
        owner, _, slug = metadata["id"].partition("/")
        cells = cells_sha256((folder / metadata["code_file"]).read_text(encoding="utf-8"))
        before = self.pull_kernel(owner, slug)
        version_before = (before.version or 0) if before else 0

        def push() -> PushedKernel:
            with silence():
                return responses.pushed_kernel(self._api.kernels_push(str(folder)))

        def look() -> PushedKernel | None:
            for now in self.newer_versions(owner, slug, version_before):
                if cells_sha256(now.source) == cells:
                    return PushedKernel(now.version or 0, f"https://www.kaggle.com/code/{owner}/{slug}", recovered=True)
            return None

        return change(push, Asked("save the notebook", "kernel", metadata["id"]), look, sending=sending)

    def kernel_state(self, owner: str, slug: str, version: int | None = None) -> KernelState:
        """Return how far the run of a version is, of the newest by default; ABSENT where Kaggle shows none."""
        from kagglesdk.kernels.types.kernels_api_service import ApiGetKernelSessionStatusRequest

        request = filled(ApiGetKernelSessionStatusRequest(), user_name=owner, kernel_slug=slug, **label(version))
        asked = Asked("show the state of the notebook", "kernel", f"{owner}/{slug}")
        response = self._ask_version("kernels.kernels_api_client.get_kernel_session_status", request, asked)
        return responses.kernel_state(response) if response is not None else KernelState(ABSENT)

    def pull_kernel(self, owner: str, slug: str, version: int | None = None) -> RemoteKernel | None:
        """Return a version of the kernel as the site has it, the newest by default; None where Kaggle shows none."""
        from kagglesdk.kernels.types.kernels_api_service import ApiGetKernelRequest

        request = filled(ApiGetKernelRequest(), user_name=owner, kernel_slug=slug, **label(version))
        asked = Asked("show the notebook", "kernel", f"{owner}/{slug}")
        response = self._ask_version("kernels.kernels_api_client.get_kernel", request, asked)
        if response is None:
            return None
        remote = responses.remote_kernel(response)  # its number is that of the newest version, whichever is shown
        return replace(remote, version=version) if version else remote

    def newer_versions(self, owner: str, slug: str, before: int) -> Iterator[RemoteKernel]:
        """Yield the versions after `before`, the newest first: ours may not be the last that was saved."""
        newest = self.pull_kernel(owner, slug)
        number = (newest.version or 0) if newest else 0
        if newest and number > before:
            yield newest
        for older in range(number - 1, max(before, number - NEWER_VERSIONS), -1):
            if remote := self.pull_kernel(owner, slug, older):
                yield remote

    def _ask_version(self, method: str, request: Any, asked: Asked) -> Any:
        """Ask about a kernel; None where Kaggle shows it not, or not under this label."""
        try:
            return self.ask(method, request, asked)
        except CheckFailed as failed:
            if is_absent(failed) or (request.version_label and _is_refused(failed)):
                return None
            raise

    def kernel_codes(self, owner: str, slug: str) -> dict[str, int]:
        """Return with which HTTP codes Kaggle answers when a notebook and its state are asked for."""
        from kagglesdk.kernels.types.kernels_api_service import ApiGetKernelRequest, ApiGetKernelSessionStatusRequest

        asked = Asked("show the notebook", "kernel", f"{owner}/{slug}")
        source, state = (
            filled(kind(), user_name=owner, kernel_slug=slug)
            for kind in (ApiGetKernelRequest, ApiGetKernelSessionStatusRequest)
        )
        return {
            "source": self.code_of("kernels.kernels_api_client.get_kernel", source, asked),
            "state": self.code_of("kernels.kernels_api_client.get_kernel_session_status", state, asked),
        }

    def kernel_output(
        self, owner: str, slug: str, into: Path, version: int | None = None, *, limit_bytes: int = 20 * 10**9
    ) -> KernelOutput:
        """Download what the run of a version left, of the newest by default; the log comes as text.

        Files are confined to `into` and bounded in size. Where Kaggle shows nothing under the version's label, it is
        the newest version's, and `of_newest` says so.
        """
        from kagglesdk.kernels.types.kernels_api_service import ApiListKernelSessionOutputRequest

        from build.kaggle.downloads import fetch_files

        asked = Asked("list the notebook's outputs", "kernel", f"{owner}/{slug}")

        def listed(of: int | None) -> tuple[dict[str, str], str]:
            request = filled(
                ApiListKernelSessionOutputRequest(), user_name=owner, kernel_slug=slug, page_size=PAGE, **label(of)
            )
            addresses: dict[str, str] = {}
            log = ""
            for page in self.pages("kernels.kernels_api_client.list_kernel_session_output", request, asked):
                addresses |= {file.file_name: file.url for file in page.files or []}
                log = page.log or log
            return addresses, log

        of_newest = version is None
        try:
            addresses, log = listed(version)
        except CheckFailed as failed:
            if of_newest or not (is_absent(failed) or _is_refused(failed)):
                raise
            of_newest = True
            addresses, log = listed(None)
        return KernelOutput(fetch_files(addresses, into, asked, limit_bytes=limit_bytes), log, of_newest)

    def open_log(self, owner: str, slug: str, version: int, silent_s: float | None = None) -> "Response":
        """Open the log of a version, once: events while it runs, what is stored afterwards; whatever the status.

        It is not read yet, and to be closed. The site may keep silent for `silent_s`, as long as in all requests by
        default. The client has a method for it that names no version. Nothing is silenced here, as the client is
        elsewhere: that holds for a whole process, and this is for a thread beside the others.

        Raises:
            CheckFailed: the address leads elsewhere (wire.py).
            OSError, ValueError: no response (retry.failures).
        """
        from kagglesdk.kaggle_env import KaggleEnv

        http = self._api.build_kaggle_client().http_client()
        base = http._endpoint if http._env == KaggleEnv.PROD else f"{http._endpoint}/api"  # noqa: SLF001
        session = http._session  # noqa: SLF001
        headers: dict[str, Any] = {"Accept": "text/event-stream, */*", "Content-Type": None}
        return session.get(
            f"{base}/v1/kernels/logs/stream/{quote(owner)}/{quote(slug)}",
            params={"versionLabel": f"v{version}"},
            headers=headers,
            stream=True,
            timeout=(CONNECT_S, silent_s) if silent_s else None,
        )

    def stored_log(self, owner: str, slug: str, version: int) -> str:
        """Return the log of a version's run as the list of its outputs has it; nothing of the outputs is fetched."""
        from kagglesdk.kernels.types.kernels_api_service import ApiListKernelSessionOutputRequest

        asked = Asked("show the notebook's log", "kernel", f"{owner}/{slug}")
        request = filled(
            ApiListKernelSessionOutputRequest(), user_name=owner, kernel_slug=slug, page_size=1, **label(version)
        )
        response: Any = self.ask("kernels.kernels_api_client.list_kernel_session_output", request, asked)
        return str(response.log or "")

    def recent_kernels(self) -> list[str]:
        """Return owner/slug of this account's kernels, the one that ran last first: `RECENT` at most."""
        from kagglesdk.kernels.types.kernels_api_service import ApiListKernelsRequest
        from kagglesdk.kernels.types.kernels_enums import KernelsListSortType, KernelsListViewType

        request = filled(
            ApiListKernelsRequest(),
            group=KernelsListViewType.PROFILE,
            sort_by=KernelsListSortType.DATE_RUN,
            page_size=RECENT,
        )
        asked = Asked("list the account's notebooks", "account")
        response: Any = self.ask("kernels.kernels_api_client.list_kernels", request, asked)
        return [shown(kernel.ref) for kernel in response.kernels or [] if kernel and "/" in (kernel.ref or "")]

    def quota(self) -> Quota:
        """Return this week's GPU hours."""
        from kagglesdk.kernels.types.kernels_api_service import ApiGetAcceleratorQuotaStatisticsRequest

        request = ApiGetAcceleratorQuotaStatisticsRequest()
        asked = Asked("show the GPU hours", "account")
        return responses.quota(self.ask("kernels.kernels_api_client.get_accelerator_quota_statistics", request, asked))
