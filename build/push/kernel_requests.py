"""What is asked and told about kernels: save, state, source, outputs, and the GPU hours they cost."""

import json
from collections.abc import Callable
from pathlib import Path

from build.metadata import KERNEL_METADATA
from build.push import answers
from build.push.effects import change
from build.push.explain import Asked
from build.push.line import PAGE, Line, filled
from build.push.records import ABSENT, KernelOutput, KernelState, PushedKernel, Quota, RemoteKernel
from build.push.session import silence
from build.push.sources import cells_sha256


class KernelRequests(Line):
    """Kernels of any account that this one may see; its own can be saved."""

    def push_kernel(self, folder: Path, sending: Callable[[], None] = lambda: None) -> PushedKernel:
        """Save a new version of the kernel in `folder` (kernel-metadata.json with the owner filled in).

        A lost answer is settled by the newest version's number and its cells, by the rules of effects.py; `sending` is
        called just before the request leaves.

        Raises:
            AnswerLost: nobody knows whether there is a new version.
            CheckFailed: an error in the answer, no version, any dropped source; also SessionLimitReached, QuotaSpent.
        """
        metadata = json.loads((folder / KERNEL_METADATA).read_text(encoding="utf-8"))
        owner, _, slug = metadata["id"].partition("/")
        cells = cells_sha256((folder / metadata["code_file"]).read_text(encoding="utf-8"))
        before = self.pull_kernel(owner, slug)
        version_before = (before.version or 0) if before else 0

        def push() -> PushedKernel:
            with silence():
                return answers.pushed_kernel(self._api.kernels_push(str(folder)))

        def look() -> PushedKernel | None:
            now = self.pull_kernel(owner, slug)
            if now and (now.version or 0) > version_before and cells_sha256(now.source) == cells:
                return PushedKernel(now.version or 0, f"https://www.kaggle.com/code/{owner}/{slug}", recovered=True)
            return None

        return change(push, Asked("save the notebook", "kernel", metadata["id"]), look, sending=sending)

    def kernel_state(self, owner: str, slug: str) -> KernelState:
        """Tell how far the kernel's newest run is; ABSENT where there is none (403 or 404)."""
        from kagglesdk.kernels.types.kernels_api_service import ApiGetKernelSessionStatusRequest

        request = filled(ApiGetKernelSessionStatusRequest(), user_name=owner, kernel_slug=slug)
        asked = Asked("tell the state of the notebook", "kernel", f"{owner}/{slug}")
        answer = self.ask_or_none("kernels.kernels_api_client.get_kernel_session_status", request, asked)
        return answers.kernel_state(answer) if answer is not None else KernelState(ABSENT)

    kernel_status = kernel_state

    def pull_kernel(self, owner: str, slug: str) -> RemoteKernel | None:
        """Return the kernel as the site has it, None if it does not exist."""
        from kagglesdk.kernels.types.kernels_api_service import ApiGetKernelRequest

        request = filled(ApiGetKernelRequest(), user_name=owner, kernel_slug=slug)
        asked = Asked("show the notebook", "kernel", f"{owner}/{slug}")
        answer = self.ask_or_none("kernels.kernels_api_client.get_kernel", request, asked)
        return answers.remote_kernel(answer) if answer is not None else None

    def kernel_output(self, owner: str, slug: str, into: Path, *, limit_bytes: int = 20 * 10**9) -> KernelOutput:
        """Download what the newest run left: files confined to `into`, bounded in size; the log comes as text."""
        from kagglesdk.kernels.types.kernels_api_service import ApiListKernelSessionOutputRequest

        from build.push.downloads import fetch_files

        asked = Asked("list the notebook's outputs", "kernel", f"{owner}/{slug}")
        request = filled(ApiListKernelSessionOutputRequest(), user_name=owner, kernel_slug=slug, page_size=PAGE)
        addresses: dict[str, str] = {}
        log = ""
        for page in self.pages("kernels.kernels_api_client.list_kernel_session_output", request, asked):
            addresses |= {file.file_name: file.url for file in page.files or []}
            log = page.log or log
        return KernelOutput(fetch_files(addresses, into, asked, limit_bytes=limit_bytes), log)

    def quota(self) -> Quota:
        """Return this week's GPU hours."""
        from kagglesdk.kernels.types.kernels_api_service import ApiGetAcceleratorQuotaStatisticsRequest

        request = ApiGetAcceleratorQuotaStatisticsRequest()
        asked = Asked("tell the GPU hours", "account")
        return answers.quota(self.ask("kernels.kernels_api_client.get_accelerator_quota_statistics", request, asked))
