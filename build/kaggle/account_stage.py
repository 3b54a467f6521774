"""Stage `account`: what the site says about this account and competition, and how it says that something is not there.

Only questions: nothing is made, changed or spent, so they are all asked again each time.
"""

from typing import Any

from build.kaggle.asking import Asking
from build.kaggle.client import Kaggle
from build.kaggle.preparation import account
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
        asking.ask(
            "absent_kernel", "GetKernel, GetKernelSessionStatus", lambda: client.kernel_codes(owner, ABSENT_SLUG)
        )
        asking.ask("absent_dataset", "GetDatasetStatus, GetDataset", lambda: client.dataset_codes(owner, ABSENT_SLUG))
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
