"""Requests about a competition: submissions, their limits and scores, and its data."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from build.core.foreign_text import shown
from build.kaggle import responses
from build.kaggle.effects import change
from build.kaggle.explain import Asked
from build.kaggle.responses import Submission, SubmissionLimits
from build.kaggle.session import PAGE, ApiSession, filled, silence

SUBMISSIONS_KEPT = 200


def find_submission(listed: Iterable[Submission], receipt: str) -> Submission | None:
    """Find the submission that carries a receipt of ours."""
    return next((one for one in listed if receipt in one.description), None)


class CompetitionRequests(ApiSession):
    """A competition that this account has joined."""

    def submit(
        self,
        competition: str,
        owner: str,
        slug: str,
        version: int,
        file: str,
        *,
        receipt: str,
        message: str,
        sending: Callable[[], None] = lambda: None,
    ) -> int | None:
        """Submit a kernel version's file; by the `receipt` in its description a submission is found again.

        Sent once: where the response is lost and the list does not show it, the run ends (effects.py). `sending` is
        called just before the request leaves. Returns the submission's ref, None where Kaggle does not return it.

        Raises:
            ResponseLost: nobody knows whether there is a submission.
            CheckFailed: there is none; Kaggle refuses it.
        """
        asked = Asked("take the submission", "competition", competition)

        def submit() -> int | None:
            with silence():
                response = self._api.competition_submit_code(
                    file,
                    f"[{receipt}] {message}",
                    competition,
                    kernel=f"{owner}/{slug}",
                    kernel_version=version,
                    quiet=True,
                )
            return responses.submission_ref(response)

        def look() -> int | None:
            found = find_submission(self.submissions(competition), receipt)
            return found.ref if found else None

        return change(submit, asked, look, sending=sending, repeats=False)

    def submissions(self, competition: str) -> list[Submission]:
        """Return the submissions, newest first, all pages up to 200."""
        from kagglesdk.competitions.types.competition_api_service import ApiListSubmissionsRequest

        request = filled(ApiListSubmissionsRequest(), competition_name=competition, page_size=PAGE)
        asked = Asked("list the submissions", "competition", competition)
        found: list[Submission] = []
        for page in self.pages("competitions.competition_api_client.list_submissions", request, asked):
            found += [responses.submission(entry) for entry in page.submissions or []]
            if len(found) >= SUBMISSIONS_KEPT:
                break
        return found

    def submission_limits(self, competition: str) -> SubmissionLimits | None:
        """Return how many submissions are left, None where Kaggle does not say."""
        from kagglesdk.competitions.types.competition_api_service import ApiGetSubmissionLimitsRequest

        request = filled(ApiGetSubmissionLimitsRequest(), competition_name=competition)
        asked = Asked("show the submissions left", "competition", competition)
        response = self.ask_or_none("competitions.competition_api_client.get_submission_limits", request, asked)
        if response is None:
            return None
        return SubmissionLimits(response.num_today, response.num_total, response.num_allowed_now)

    def competition_files(self, competition: str) -> Mapping[str, int]:
        """Return name → bytes of the competition's data files, all pages."""
        from kagglesdk.competitions.types.competition_api_service import ApiListDataFilesRequest

        request = filled(ApiListDataFilesRequest(), competition_name=competition, page_size=PAGE)
        asked = Asked("list the competition's files", "competition", competition)
        files: dict[str, int] = {}
        for page in self.pages("competitions.competition_api_client.list_data_files", request, asked):
            files |= {shown(file.name): int(file.total_bytes or 0) for file in page.files or []}
        return files

    def download_competition(
        self, competition: str, archive: Path, *, limit_bytes: int, advance: Callable[[int, int], None]
    ) -> None:
        """Download the competition's archive to `archive`, resuming at the byte."""
        from kagglesdk.competitions.types.competition_api_service import ApiDownloadDataFilesRequest

        from build.kaggle.downloads import continue_download

        request = filled(ApiDownloadDataFilesRequest(), competition_name=competition)
        asked = Asked("send the competition's data", "competition", competition)
        take = continue_download(archive, limit_bytes=limit_bytes, advance=advance)
        self.ask("competitions.competition_api_client.download_data_files", request, asked, take)
