"""Stage `account`: what the site says about this account and competition, and how it says that something is not there.

Only questions: nothing is made, changed or spent, so they are all asked again each time.
"""

from collections.abc import Callable
from typing import Any

from build.core.errors import CheckFailed
from build.kaggle.asking import Asking
from build.kaggle.client import Kaggle
from build.kaggle.explain import Asked, status_of
from build.kaggle.preparation import account
from build.kaggle.session import filled
from kernel_src.competitions.held_facts import facts

ABSENT_SLUG = "i2b-no-such-thing-5c1f"  # of a notebook and a dataset that nobody makes


def ask_account(asking: Asking) -> dict[str, Any]:
    """Ask the account's questions."""
    steps = asking.steps(2)
    client, owner = account(steps)
    with steps.step("questions", f"about {owner} and {facts().slug}") as note:
        asking.ask("rules", "ListDataFiles", lambda: _data_files(client))
        asking.ask("gpu_quota", "GetAcceleratorQuotaStatistics", lambda: _quota(client))
        asking.ask("submissions_left", "GetSubmissionLimits", lambda: _limits(client))
        asking.ask("submission_list", "ListSubmissions", lambda: _submissions(client))
        asking.ask("absent_kernel", "GetKernel, GetKernelSessionStatus", lambda: _absent_kernel(client))
        asking.ask("absent_dataset", "GetDatasetStatus, GetDataset", lambda: _absent_dataset(client))
        note("answered" if not asking.problems else "not all of them were answered")
    return {}


def _data_files(client: Kaggle) -> dict[str, Any]:
    files = client.competition_files(facts().slug)
    return {"files": len(files), "bytes": sum(files.values())}


def _quota(client: Kaggle) -> dict[str, Any]:
    quota = client.quota()
    resets = quota.resets.strftime("%Y-%m-%dT%H:%M:%SZ") if quota.resets else None
    return {"used_h": quota.gpu_used_h, "allowed_h": quota.gpu_total_h, "resets": resets}


def _limits(client: Kaggle) -> dict[str, Any] | None:
    limits = client.submission_limits(facts().slug)
    return {"left": limits.left_now, "today": limits.today, "in_all": limits.total} if limits else None


def _submissions(client: Kaggle) -> dict[str, Any]:
    listed = client.submissions(facts().slug)
    return {"listed": len(listed), "states": sorted({one.status for one in listed})}


def _absent_kernel(client: Kaggle) -> dict[str, Any]:
    from kagglesdk.kernels.types.kernels_api_service import ApiGetKernelRequest, ApiGetKernelSessionStatusRequest

    asked = Asked("show a notebook that does not exist", "kernel", f"{client.username}/{ABSENT_SLUG}")
    named = {"user_name": client.username, "kernel_slug": ABSENT_SLUG}
    notebook, state = filled(ApiGetKernelRequest(), **named), filled(ApiGetKernelSessionStatusRequest(), **named)
    return {
        "source": _code_of(lambda: client.ask("kernels.kernels_api_client.get_kernel", notebook, asked)),
        "state": _code_of(lambda: client.ask("kernels.kernels_api_client.get_kernel_session_status", state, asked)),
    }


def _absent_dataset(client: Kaggle) -> dict[str, Any]:
    from kagglesdk.datasets.types.dataset_api_service import ApiGetDatasetRequest, ApiGetDatasetStatusRequest

    asked = Asked("show a dataset that does not exist", "dataset", f"{client.username}/{ABSENT_SLUG}")
    named = {"owner_slug": client.username, "dataset_slug": ABSENT_SLUG}
    dataset, state = filled(ApiGetDatasetRequest(), **named), filled(ApiGetDatasetStatusRequest(), **named)
    return {
        "state": _code_of(lambda: client.ask("datasets.dataset_api_client.get_dataset_status", state, asked)),
        "dataset": _code_of(lambda: client.ask("datasets.dataset_api_client.get_dataset", dataset, asked)),
    }


def _code_of(question: Callable[[], Any]) -> int:
    """Return the HTTP code of the response; 200 where the site answered as if it were there.

    Raises:
        CheckFailed: there was no response.
    """
    try:
        question()
    except CheckFailed as failed:
        code = status_of(failed.__cause__) if isinstance(failed.__cause__, Exception) else 0
        if not code:
            raise
        return code
    return 200
