"""Kaggle, through its own client: every request of this kit passes through here, retried and explained.

Requests that ask something are repeated (retry.py); those that change something follow the rules of effects.py.
"""

from pathlib import Path

from build.kaggle.competition_requests import CompetitionRequests
from build.kaggle.dataset_requests import DatasetRequests
from build.kaggle.kernel_requests import KernelRequests
from build.kaggle.session import sign_in

UPLOADS = Path("out", "push", "uploads")


class Kaggle(KernelRequests, DatasetRequests, CompetitionRequests):
    """One account on Kaggle. All methods raise CheckFailed, explained in the user's terms."""

    @property
    def client_version(self) -> str:
        """Return the version of the package kaggle."""
        import kaggle

        return str(kaggle.__version__)


def open_client(uploads: Path = UPLOADS) -> Kaggle:
    """Find the credentials, import Kaggle's client and sign in.

    Raises:
        CheckFailed: no credentials, readable by others, or stale; says which source is at fault and the cure.
    """
    return Kaggle(sign_in(), uploads)
