"""Waiting for Kaggle: between two looks, and before a question is asked again after 429, 5xx or a lost connection.

1. A Retry-After is waited for, up to `LONGEST_RETRY_AFTER_S`; otherwise the wait doubles, with jitter, so that two
   machines of a team do not retry in step.
2. An error that stands in the body of a 200 is Kaggle's response, not an accident: the request is never sent again.

Requests that change something go by effects.py, which asks `judge` what became of one.
"""

import os
import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from json import JSONDecodeError
from typing import Literal, TypeVar

from build.core.errors import UsageError
from build.kaggle.explain import Asked, BodyError, explain, in_short, is_certificate, is_local_fault

POLL_VARIABLE, POLL_S = "KIT_POLL_S", 30.0  # Kaggle limits requests, and a run takes minutes to hours anyway
LONGEST_S = 3600.0


def poll_s() -> float:
    """Return the seconds between two looks: KIT_POLL_S, 30 by default.

    Raises:
        UsageError: it is not a number above 0 and up to an hour.
    """
    return seconds_of(POLL_VARIABLE, POLL_S, LONGEST_S)


def seconds_of(variable: str, default: float, longest: float) -> float:
    """Read a time from the environment.

    Raises:
        UsageError: it is not a number above 0 and up to `longest`.
    """
    text = os.environ.get(variable, "")
    try:
        seconds = float(text or default)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= longest:
        raise UsageError(f"{variable}={text}: seconds above 0 and up to {longest:g}, e.g. {default:g}")
    return seconds


def pause() -> None:
    """Wait until the next look."""
    time.sleep(poll_s())


T = TypeVar("T")
ATTEMPTS = 6
TIMEOUT_S = 120.0
LONGEST_WAIT_S = 60.0
LONGEST_RETRY_AFTER_S = 900.0  # a Retry-After beyond it ends the run, which resumes later


Fate = Literal["not taken", "given up", "unknown"]
GIVEN_UP = (500, 503)  # by the site itself; any other 5xx is a gateway's, and the request may be at work behind it


@dataclass(frozen=True)
class Failure:
    """What a failed attempt says about another one."""

    again: bool  # a question may be asked again
    fate: Fate  # what became of the request: it had no effect; perhaps one, if any; or it may have one even later
    retry_after_s: float | None = None  # Retry-After


def timeout_s() -> float:
    """Return how long the server may keep silent: KIT_TIMEOUT_S, 120 by default; saving 1 MB takes a while.

    Raises:
        UsageError: KIT_TIMEOUT_S is not a time.
    """
    return seconds_of("KIT_TIMEOUT_S", TIMEOUT_S, 3600.0)


def send(request: Callable[[], T], asked: Asked) -> T:
    """Send a request that changes nothing until it is answered, and return the response.

    Raises:
        CheckFailed: refused, or no response after `ATTEMPTS`; explained in the user's terms.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return request()
        except failures() as error:
            failure = judge(error)
            if is_hopeless(failure, attempt):
                raise explain(error, asked) from error
            back_off(error, failure, attempt)
    raise AssertionError("the last attempt returns or raises")


def is_hopeless(failure: Failure, attempt: int) -> bool:
    """Return whether another attempt makes no sense: refused, enough of them, or its Retry-After is too long."""
    return not failure.again or attempt == ATTEMPTS or (failure.retry_after_s or 0.0) > LONGEST_RETRY_AFTER_S


def failures() -> tuple[type[Exception], ...]:
    """Return what Kaggle's client raises: requests' own errors, and what a garbled response causes while it is read."""
    from requests.exceptions import RequestException

    return (RequestException, BodyError, OSError, ValueError, KeyError, TypeError, AttributeError)


def judge(error: Exception) -> Failure:
    """Decide whether the same request makes sense again, and whether it may have had its effect."""
    from requests.exceptions import ConnectionError as NoConnection
    from requests.exceptions import HTTPError, InvalidSchema, InvalidURL, RequestException

    if isinstance(error, BodyError):
        return Failure(again=False, fate="not taken")
    if isinstance(error, HTTPError) and error.response is not None:
        status = error.response.status_code
        if status == 429:
            return Failure(True, "not taken", _retry_after(error.response.headers.get("Retry-After")))
        if status >= 500:
            fate: Fate = "given up" if status in GIVEN_UP else "unknown"
            return Failure(True, fate, _retry_after(error.response.headers.get("Retry-After")))
        return Failure(again=False, fate="not taken")  # 4xx, and the body error of a 200
    if isinstance(error, InvalidURL | InvalidSchema) or is_certificate(error) or is_local_fault(error):
        return Failure(again=False, fate="not taken")
    if isinstance(error, NoConnection) and _never_connected(error):
        return Failure(again=True, fate="not taken")
    if isinstance(error, RequestException | OSError | JSONDecodeError):
        return Failure(again=True, fate="unknown")  # broken off, timed out, or half a response
    return Failure(again=False, fate="unknown")  # the client refuses, or does not understand a response


def _never_connected(error: Exception) -> bool:
    from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

    reason = getattr(error.args[0], "reason", None) if error.args else None
    reason = getattr(reason, "original_error", reason)  # what happened on the way to a proxy
    return isinstance(reason, NewConnectionError | ConnectTimeoutError)


def _retry_after(text: str | None) -> float | None:
    """Read the header: seconds, or a date (RFC 9110, 10.2.3)."""
    if not text:
        return None
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (date - datetime.now(UTC)).total_seconds()) if date.tzinfo else None


def wait_s(failure: Failure, attempt: int) -> float:
    """Return how long to wait before attempt `attempt + 1`."""
    if failure.retry_after_s is not None:
        return failure.retry_after_s * random.uniform(1.0, 1.1)  # never less than asked for
    first_s = min(1.0, poll_s())
    return float(min(LONGEST_WAIT_S, first_s * 2 ** (attempt - 1)) * random.uniform(0.5, 1.0))


def back_off(error: Exception, failure: Failure, attempt: int) -> None:
    """Wait before the next attempt, and say so."""
    pause_s = wait_s(failure, attempt)
    line = f"      {in_short(error)}; trying again in {pause_s:.0f} s ({attempt + 1} of {ATTEMPTS})"
    print(line, file=sys.stderr, flush=True)
    time.sleep(pause_s)
