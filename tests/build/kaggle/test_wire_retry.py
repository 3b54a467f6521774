"""What a single request survives, and how it ends when it does not: the real client against the stand-in."""

import time

import pytest

from build.core.errors import CheckFailed, UsageError
from build.kaggle import retry
from tests.build.kaggle.site import Dataset

REF = ("kim", "i2b-demo-weights")


def state(kaggle) -> str | None:
    return kaggle.dataset_state(*REF)


@pytest.fixture
def dataset(site, server) -> None:
    made = Dataset("kim", REF[1], "t", "other", True, [{}], states=["READY"])
    site.datasets["/".join(REF)] = made


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 429},
        {"status": 500},
        {"status": 502, "body": "<html>Bad Gateway</html>"},
        {"status": 503, "times": 5},
        {"drop": "before"},
        {"drop": "after"},
        {"cut_bytes": 5},
        {"body": "<html>a page in between</html>"},
    ],
    ids=str,
)
def test_a_passing_fault_is_waited_out(kaggle, server, dataset, fault: dict) -> None:
    server.fault("GetDatasetStatus", **fault)
    assert state(kaggle) == "READY"
    assert len(server.log) == 1 + fault.get("times", 1)


def test_a_fault_that_stays_ends_after_six_attempts_and_says_how_to_go_on(kaggle, server, dataset) -> None:
    server.fault("GetDatasetStatus", status=503, times=99)
    with pytest.raises(CheckFailed, match="keeps answering 503.*run the same command later; it resumes"):
        state(kaggle)
    assert len(server.log) == retry.ATTEMPTS == 6


def test_a_retry_after_is_waited_for(kaggle, server, dataset) -> None:
    server.fault("GetDatasetStatus", status=429, headers={"Retry-After": "0.4"})
    start = time.monotonic()
    assert state(kaggle) == "READY"
    assert time.monotonic() - start >= 0.4


def test_a_retry_after_given_as_a_date_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    from datetime import UTC, datetime, timedelta
    from email.utils import format_datetime

    moment = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    wait_s = retry._retry_after(moment)
    assert wait_s is not None and 95 < wait_s <= 100
    assert retry._retry_after("soon") is None


def test_a_retry_after_of_an_hour_ends_the_run_at_once(kaggle, server, dataset) -> None:
    server.fault("GetDatasetStatus", status=429, headers={"Retry-After": "3600"}, times=9)
    start = time.monotonic()
    with pytest.raises(CheckFailed, match="429"):
        state(kaggle)
    assert time.monotonic() - start < 2 and len(server.log) == 1


def test_waits_double_are_bounded_and_never_in_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIT_POLL_S", "30")
    failure = retry.Failure(again=True, fate="not taken")
    for attempt in range(1, 12):
        waits = {retry.wait_s(failure, attempt) for _ in range(20)}
        longest = min(retry.LONGEST_WAIT_S, 2 ** (attempt - 1))
        assert len(waits) > 10 and all(longest / 2 <= wait <= longest for wait in waits)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409])
def test_a_refusal_is_not_repeated(kaggle, server, status: int) -> None:
    server.fault("GetAcceleratorQuotaStatistics", status=status, body={"code": status, "message": "no"}, times=9)
    with pytest.raises(CheckFailed, match=str(status) if status != 409 else "in use"):
        kaggle.quota()
    assert len(server.log) == 1


@pytest.mark.parametrize("code", [400, 403, 429, 500, 503])
def test_an_error_in_the_body_of_a_200_is_never_repeated(kaggle, server, code: int) -> None:
    server.fault("GetAcceleratorQuotaStatistics", body={"code": code, "message": "it broke"}, times=9)
    with pytest.raises(CheckFailed, match="did not show the GPU hours: it broke"):
        kaggle.quota()
    assert len(server.log) == 1


def test_a_silent_server_is_given_up_in_time(kaggle, server, dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIT_TIMEOUT_S", "0.2")
    server.fault("GetDatasetStatus", delay_s=1.0)
    start = time.monotonic()
    assert state(kaggle) == "READY"
    assert time.monotonic() - start < 0.9


def test_a_server_that_is_gone_is_named(kaggle, server) -> None:
    server.shutdown()
    server.server_close()
    with pytest.raises(CheckFailed, match="cannot be reached.*check the network"):
        state(kaggle)


def test_a_state_that_this_client_does_not_know_is_an_error_not_a_traceback(kaggle, server, dataset) -> None:
    server.fault("GetDatasetStatus", body={"status": "LEVITATING"}, times=9)
    with pytest.raises(CheckFailed, match="client does not understand"):
        state(kaggle)


@pytest.mark.parametrize("value", ["soon", "0", "-1", "nan", "99999"])
def test_a_time_limit_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("KIT_TIMEOUT_S", value)
    with pytest.raises(UsageError, match="KIT_TIMEOUT_S"):
        retry.timeout_s()


def test_every_page_of_a_list_is_read_also_when_one_breaks_off(kaggle, server, site, dataset) -> None:
    site.datasets["/".join(REF)].versions = [{f"f{n:03}.bin": b"x" * n for n in range(1, 46)}]
    site.page_size = 10
    server.fault("ListDatasetFiles", nth=3, drop="after")
    assert kaggle.dataset_files(*REF) == {f"f{n:03}.bin": n for n in range(1, 46)}
    assert server.names().count("ListDatasetFiles") == 5 + 1


def test_a_list_that_repeats_a_page_ends(kaggle, server, dataset) -> None:
    server.fault("ListDatasetFiles", edit={"nextPageToken": "1"}, times=99)
    with pytest.raises(CheckFailed, match="repeats the same page"):
        kaggle.dataset_files(*REF)


def test_a_full_disk_is_told_as_such_and_not_tried_again(kaggle, server, dataset, monkeypatch) -> None:
    import errno

    def full(*_: object) -> bytes:
        raise OSError(errno.ENOSPC, "No space left on device")

    server.site.datasets["/".join(REF)].versions = [{"a.csv": b"1"}]
    monkeypatch.setattr("build.kaggle.downloads.read_small", lambda limit: full)
    with pytest.raises(CheckFailed, match="this machine could not go on.*No space left"):
        kaggle.dataset_file(*REF, "a.csv")
    assert server.names() == ["DownloadDataset", "GET"]


def test_a_broken_encrypted_connection_is_tried_again_and_a_foreign_certificate_is_not() -> None:
    from requests.exceptions import SSLError

    broken = retry.judge(SSLError("EOF occurred in violation of protocol (_ssl.c:1006)"))
    assert broken.again and broken.fate == "unknown"
    assert not retry.judge(SSLError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed certificate")).again
