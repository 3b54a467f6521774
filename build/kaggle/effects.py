"""Requests that change something on Kaggle (a version, a submission): sent, and looked for where the answer is lost.

1. Just before such a request leaves, the journal notes the time. What will show its effect is known by then: a version
   number above the last one with these very cells or files, a submission with our receipt in its description.
2. Not taken, and proved so: the connection was never made, or the site answered 429. It is sent again after a wait, a
   bounded number of times.
3. Refused, and proved so: any other 4xx, an error in the body of a 200. The run ends with Kaggle's own reason.
4. Given up by the site, which answered 500 or 503: the effect is looked for `LOOKS` times. What does not show by then
   is sent again; a submission never is (there are five a day), that run ends as in 5.
5. Nobody knows: no answer, half an answer, one that makes no sense, a gateway's 502 or 504. The request may be at work
   in there still. It is looked for every KIT_POLL_S until KIT_SETTLE_S (ten minutes) have passed since it was sent. If
   nothing shows, the run ends with exit 1 (`ResponseLost`) and sends nothing again, whatever came before.
6. Once a request may have arrived, a refusal of the next one proves nothing ("this title is in use": by whom?): rules 4
   and 5 hold for the whole run.
7. The next run, also after a kill at any moment, reads that time in the journal and looks until as many seconds have
   passed. Only what a site that answers does not show by then counts as never arrived, and is sent.

So one thing is assumed and cannot be proved: that a request of which nothing shows ten minutes after it was sent has no
effect afterwards.
"""

import itertools
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import TypeVar

from build.core.errors import CheckFailed, Problem
from build.kaggle.explain import Asked, ResponseLost, explain, in_short
from build.kaggle.journal import Entry
from build.kaggle.retry import ATTEMPTS, back_off, failures, is_hopeless, judge, pause, seconds_of
from build.kaggle.wire import requests_sent

T = TypeVar("T")
LOOKS = 3  # at what the site has given up, before it is sent again
SETTLE_VARIABLE, SETTLE_S = "KIT_SETTLE_S", 600.0
LONGEST_S = 24 * 3600.0


def settle_s() -> float:
    """Return how long a request may take to show its effect: KIT_SETTLE_S, 600 by default.

    Raises:
        UsageError: it is not a number above 0 and up to a day.
    """
    return seconds_of(SETTLE_VARIABLE, SETTLE_S, LONGEST_S)


def change(
    request: Callable[[], T],
    asked: Asked,
    look: Callable[[], T | None],
    *,
    sending: Callable[[], None],
    repeats: bool = True,
) -> T:
    """Send a request that changes something; return its response, or what `look` makes of its effect.

    `look` asks the site once, None: nothing shows. `sending` notes in the journal that the request leaves now.
    `repeats`: it may be sent again where the site has given it up and shows nothing of it.

    Raises:
        ResponseLost: nobody knows whether it had its effect.
        CheckFailed: it had none, with Kaggle's reason.
    """
    perhaps_taken = False
    for attempt in range(1, ATTEMPTS + 1):
        sending()
        sent, left = time.time(), requests_sent()
        try:
            return request()
        except failures() as error:
            failure = judge(error)
            if requests_sent() == left:  # the client refused what it was given, and sent nothing
                failure = replace(failure, again=False, fate="not taken")
            perhaps_taken = perhaps_taken or failure.fate != "not taken"
            if perhaps_taken:
                until = sent + settle_s() if failure.fate == "unknown" else 0.0
                _print_what_is_awaited(error, until)
                found = _look_for(look, until, asked, error)
                if found is not None:
                    return found
            if failure.fate == "unknown" or (perhaps_taken and not repeats):
                raise lost(asked) from error
            if is_hopeless(failure, attempt):
                explained = explain(error, asked)
                raise ResponseLost(explained.problems) if perhaps_taken else explained from error
            back_off(error, failure, attempt)
    raise AssertionError("the last attempt returns or raises")


def look_until(look: Callable[[], T | None], until: float = 0.0, *, looks: int = 1) -> T | None:
    """Look at least `looks` times, and on until the time `until` (seconds since the epoch); None: nothing showed."""
    # Bounded also where the clock was set back since the request was sent, or is now.
    end = time.monotonic() + min(until - time.time(), settle_s())
    for number in itertools.count(1):
        if (found := look()) is not None:
            return found
        if number >= looks and time.monotonic() >= end:
            return None
        pause()
    raise AssertionError("it counts without end")


def was_sent(entry: Entry | None) -> bool:
    """Return whether an attempt in the journal has sent its request, and what came of that is not known."""
    return entry is not None and entry.state == "begun" and "sent" in entry.result


def settles_at(entry: Entry | None) -> float:
    """Return until when the effect of an attempt in the journal may still show; 0: nothing of it is on its way.

    It was never sent, or it was refused.
    """
    if entry is None or (entry.state == "failed" and not entry.result.get("taken")):
        return 0.0
    sent = float(entry.result.get("sent", 0.0))
    return sent + settle_s() if sent else 0.0


def lost(asked: Asked) -> ResponseLost:
    """Return the error for a request of which nobody knows whether it had its effect."""
    what = f"the request to {asked.doing} was sent, the response was lost, and Kaggle shows nothing of it so far"
    cure = (
        f"nothing was sent twice; look at {asked.link}, then run the same command: it looks again, and sends again "
        f"only what Kaggle does not show {settle_s():.0f} s after it was sent"
    )
    return ResponseLost([Problem(what=what, where=asked.ref, cure=cure)])


def _look_for(look: Callable[[], T | None], until: float, asked: Asked, error: Exception) -> T | None:
    try:
        return look_until(look, until, looks=LOOKS)
    except CheckFailed as blind:  # the site cannot even be asked
        raise ResponseLost([*lost(asked).problems, *blind.problems]) from error


def _print_what_is_awaited(error: Exception, until: float) -> None:
    how_long = f" until {datetime.fromtimestamp(until):%H:%M:%S}" if until else ""
    line = f"      {in_short(error)}; checking whether Kaggle took it{how_long}"
    print(line, file=sys.stderr, flush=True)
