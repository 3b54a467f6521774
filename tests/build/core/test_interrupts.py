"""Ctrl-C ends the work with the command that continues, also where Python or a library loses the exception."""

import os
import signal
import sys
from collections.abc import Iterator

import pytest

from build.core.interrupts import INTERRUPTED, noting_interrupts, raise_noted
from build.kaggle.preparation import resumable


@pytest.fixture(autouse=True)
def ctrl_c() -> Iterator[None]:
    """As in a terminal; where the tests run in the background, it is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler  # given back
    signal.signal(signal.SIGINT, before)


def press() -> None:
    os.kill(os.getpid(), signal.SIGINT)


class Closed:
    """A connection that is given back while Ctrl-C is pressed."""

    def __del__(self) -> None:
        press()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_one_that_a_finalizer_loses_ends_the_work_at_the_next_request(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended, resumable("make queue"):
        del [Closed()][0]  # Python throws the exception away
        raise_noted()  # what each request does first
        raise AssertionError("it went on")
    assert ended.value.code == INTERRUPTED
    assert "`make queue` continues" in capsys.readouterr().err
    with noting_interrupts() as was_interrupted:
        assert not was_interrupted()  # the next command begins anew


def test_one_that_a_library_turns_into_its_own_error_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended, resumable("make queue"):
        try:
            press()
        except BaseException:
            raise AttributeError("half a connection") from None
    assert ended.value.code == INTERRUPTED
    assert "`make queue` continues" in capsys.readouterr().err


def test_what_it_says_is_seen_though_the_client_was_being_silenced(capsys: pytest.CaptureFixture[str]) -> None:
    import io

    screen = sys.stderr
    with pytest.raises(SystemExit), resumable("make queue"):
        sys.stderr = io.StringIO()
        press()
    assert sys.stderr is screen
    assert "`make queue` continues" in capsys.readouterr().err


def test_an_error_without_ctrl_c_stays_one() -> None:
    with pytest.raises(AttributeError, match="half"), resumable("make queue"):
        raise AttributeError("half a connection")


def test_where_it_is_ignored_it_stays_ignored() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with noting_interrupts() as was_interrupted:
        press()
        assert not was_interrupted()
    signal.signal(signal.SIGINT, signal.default_int_handler)
