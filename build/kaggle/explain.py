"""What a response of Kaggle's means for the person at the keyboard, with the cure; and no credential in any message."""

import re
from dataclasses import dataclass
from typing import Literal

from build.core.credentials import TOKEN_PAGE, find_sources
from build.core.errors import CheckFailed, Problem
from build.core.foreign_text import shown

Kind = Literal["kernel", "dataset", "competition", "account"]
SITE = "https://www.kaggle.com"
_TAKEN = re.compile(r"already (in use|exists)|title.*in use", re.I)
LONGEST_QUOTE = 300  # characters of Kaggle's own words


class SessionLimitReached(CheckFailed):
    """Kaggle runs no more GPU sessions at once for this account: wait and push again."""


class QuotaSpent(CheckFailed):
    """This week's GPU hours are spent: stop and say when they come back."""


class BodyError(Exception):
    """A 200 whose body says that it did not work."""


class ResponseLost(CheckFailed):
    """A request was sent, and nobody knows whether it had its effect: the next run asks again (effects.py)."""


@dataclass(frozen=True)
class Asked:
    """What a request was about."""

    doing: str  # "save the notebook"
    kind: Kind
    ref: str = ""  # owner/slug, or the competition's slug

    @property
    def link(self) -> str:
        """The page that a person looks at."""
        folder = {"kernel": "code", "dataset": "datasets", "competition": "competitions", "account": "settings"}
        return f"{SITE}/{folder[self.kind]}/{self.ref}".rstrip("/")


def quote(error: Exception) -> str:
    """Return Kaggle's own words on one line, shortened, without credentials."""
    text = " ".join(shown(error.args[0] if error.args else error).split())
    text = re.sub(r" for url: \S+", "", text)  # of our own request, which the message names in words
    return text if len(text) <= LONGEST_QUOTE else text[: LONGEST_QUOTE - 1] + "…"


def status_of(error: Exception) -> int:
    """Return the HTTP code of a response, 0 if there was none."""
    response = getattr(error, "response", None)
    return 0 if response is None else int(response.status_code)


def in_short(error: Exception) -> str:
    """Say in a few words what happened to one attempt."""
    status = status_of(error)
    if status == 429:
        return "too many requests (429)"
    if status:
        return f"Kaggle answered {status}"
    return f"no usable response ({type(error).__name__})"


def is_absent(failed: CheckFailed) -> bool:
    """Return whether this was the response for something that does not exist, or not yet: 403 or 404."""
    return status_of(failed.__cause__) in (403, 404) if isinstance(failed.__cause__, Exception) else False


def is_certificate(error: Exception) -> bool:
    """Return whether a certificate is not trusted; an encrypted connection that merely broke is something else."""
    from requests.exceptions import SSLError

    return isinstance(error, SSLError) and "CERTIFICATE" in str(error).upper()


def is_local_fault(error: Exception) -> bool:
    """Return whether it is this machine's fault: a full disk, a file that may not be read."""
    from requests.exceptions import RequestException

    return isinstance(error, OSError) and not isinstance(error, RequestException | ConnectionError | TimeoutError)


def is_taken(failed: CheckFailed) -> bool:
    """Return whether a title or slug was refused because it is in use: 409, or the same in the body of a 200."""
    cause = failed.__cause__
    return isinstance(cause, Exception) and (status_of(cause) == 409 or bool(_TAKEN.search(str(cause))))


def explain(error: Exception, asked: Asked) -> CheckFailed:
    """Turn what the client raised into a message with cause and cure."""
    from requests.exceptions import RequestException, Timeout

    status, words, where = status_of(error), quote(error), asked.ref
    if isinstance(error, BodyError) or status == 200:
        return said_no(words, asked)
    if limit := _limit(words, asked):
        return limit
    if status:
        what, cure = _by_status(status, words, asked)
    elif is_certificate(error):
        what = f"the encrypted connection could not be verified: {words}"
        cure = "is a proxy in between? put its certificate into REQUESTS_CA_BUNDLE; verification is never switched off"
    elif isinstance(error, Timeout):
        what, cure = f"no response in time to the request to {asked.doing}", "run the same command again; it resumes"
    elif is_local_fault(error):
        what, cure = (
            f"this machine could not go on: {shown(error)}",
            "free some space or allow access, then run again; it resumes",
        )
    elif isinstance(error, RequestException | OSError):
        what = f"Kaggle cannot be reached ({type(error).__name__}: {words})"
        cure = "check the network, then run the same command again; it resumes"
    elif type(error) is ValueError:  # before it sends anything, the client looks at what it is given
        what, cure = f"Kaggle's client refuses to {asked.doing}: {words}", "correct it, then run the same command again"
    else:
        what = f"a response that Kaggle's client does not understand ({type(error).__name__}: {words})"
        cure = "run the same command again; if that does not help, the client is too old for the site: see make doctor"
    return CheckFailed([Problem(what=what, where=where, cure=cure)])


def said_no(words: str, asked: Asked) -> CheckFailed:
    """Explain an error that stood in the body of a 200."""
    if limit := _limit(words, asked):
        return limit
    if _TAKEN.search(words):
        what, cure = _by_status(409, words, asked)
    else:
        what, cure = f"Kaggle did not {asked.doing}: {words or 'no reason given'}", asked.link
    return CheckFailed([Problem(what=what, where=asked.ref, cure=cure)])


def _limit(words: str, asked: Asked) -> CheckFailed | None:
    """Recognise the two limits of GPU use (live wording: facts/kaggle-platform.md)."""
    if re.search(r"session count", words, re.I):
        cure = "wait for a running notebook to end, or stop one on https://www.kaggle.com/code"
        return SessionLimitReached(
            [Problem(what=f"too many GPU sessions at once: {words}", where=asked.ref, cure=cure)]
        )
    if re.search(r"weekly .*quota|quota .*(exceeded|reached|spent)", words, re.I):
        cure = "the hours come back on Saturday 00:00 UTC; make doctor shows how many are left"
        return QuotaSpent([Problem(what=f"this week's GPU hours are spent: {words}", where=asked.ref, cure=cure)])
    return None


def _by_status(status: int, words: str, asked: Asked) -> tuple[str, str]:
    if status == 401:
        return _unauthenticated()
    if asked.kind == "competition" and status == 403:
        return (
            f"Kaggle does not let this account {asked.doing}: {words}; most likely you have not accepted the rules yet",
            f"join and accept them at {asked.link}/rules, then run the same command again",
        )
    if status in (403, 404):
        what = f"Kaggle answers {status} ({words}) to the request to {asked.doing}: "
        if asked.kind == "dataset":
            what += "it does not exist, its first version is still being processed, or it belongs to another account"
            return what, f"look at {asked.link}; is the owner right? if it was just made, wait and run again"
        if asked.kind == "kernel":
            what += "it does not exist yet, or it belongs to another account (Kaggle says 403 for both)"
            return what, f"look at {asked.link}; the account signed in is the owner that is pushed to"
        return what + "no such page, or this account may not see it", f"look at {asked.link}"
    if status == 409:
        return (
            f"the title or slug is already in use: {words}",
            f"look at {asked.link}; another page of yours has this title: rename it there, or rename the experiment",
        )
    if status == 429:
        return "Kaggle keeps answering 429, too many requests", "run the same command later; it resumes"
    if status == 413 or (status == 400 and asked.kind == "kernel" and "1 MB" in words):
        return f"Kaggle says it is too large: {words}", "a notebook's source must stay below 1 MB: make check"
    if status >= 500:
        return f"Kaggle keeps answering {status}: {words}", "run the same command later; it resumes"
    return f"Kaggle refuses to {asked.doing} ({status}: {words})", asked.link


def _unauthenticated() -> tuple[str, str]:
    """Explain a 401: a token that is found first hides good keys."""
    sources = find_sources()
    if not sources:
        return "Kaggle does not know these credentials (401)", f"make a new token at {TOKEN_PAGE}"
    first, others = sources[0], sources[1:]
    what = f"Kaggle does not accept the {first.kind} from {first.where} (401): expired, revoked or mistyped"
    cure = f"make a new one at {TOKEN_PAGE}"
    if others:
        what += f"; it takes precedence over the {others[0].kind} from {others[0].where}, which may be good"
        cure = f"{first.removal}, so that the {others[0].kind} is used, or {cure}"
    return what, cure
