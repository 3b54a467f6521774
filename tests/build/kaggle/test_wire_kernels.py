"""Saving a kernel, reading it back, its run and its outputs: one version per push whatever happens to the answer."""

import json
from pathlib import Path

import pytest

from build.core.errors import CheckFailed
from build.kaggle.explain import QuotaSpent, ResponseLost, SessionLimitReached
from build.kaggle.responses import ABSENT
from build.kaggle.sources import cells_sha256

NAME = ("kim", "i2b-demo-infer")
REF = "/".join(NAME)
METADATA = {
    "id": REF,
    "title": "i2b demo infer",
    "code_file": "i2b-demo-infer.ipynb",
    "language": "python",
    "kernel_type": "notebook",
    "is_private": True,
    "enable_gpu": True,
    "enable_internet": False,
    "machine_shape": "NvidiaTeslaT4",
    "dataset_sources": [],
    "competition_sources": ["csiro-biomass"],
}


def notebook(text: str) -> str:
    cells = [{"cell_type": "code", "source": [text, "\nprint(1)"], "outputs": [{"x": 1}], "metadata": {}}]
    return json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


@pytest.fixture
def folder(make_folder) -> Path:
    source = notebook("a = 1").encode()
    return make_folder(
        "kernel", {"i2b-demo-infer.ipynb": source, "kernel-metadata.json": json.dumps(METADATA).encode()}
    )


@pytest.mark.parametrize(
    "fault",
    [
        {},
        {"drop": "after"},
        {"status": 429},
        {"status": 503},
        {"status": 500, "after": True},
        {"status": 504, "after": True},
        {"body": "<html>gateway</html>", "after": True},
        {"cut_bytes": 3},
        {"drop": "after", "nth": 1, "times": 3},
    ],
    ids=str,
)
def test_a_push_makes_one_version_whatever_becomes_of_the_answer(kaggle, server, site, folder, fault: dict) -> None:
    if fault:
        server.fault("SaveKernel", **fault)
    assert kaggle.push_kernel(folder).version == 1
    assert site.summary()["kernels"] == {REF: 1}


def test_a_push_of_the_same_source_with_another_description_is_not_taken_for_done(kaggle, server, site, folder) -> None:
    kaggle.push_kernel(folder)
    changed = METADATA | {"enable_gpu": False, "machine_shape": ""}
    (folder / "kernel-metadata.json").write_text(json.dumps(changed))
    server.fault("SaveKernel", status=503)
    assert kaggle.push_kernel(folder).version == 2
    assert kaggle.pull_kernel(*NAME).metadata["enable_gpu"] is False


def test_a_lost_answer_is_looked_for_even_after_the_last_attempt(kaggle, server, site, folder) -> None:
    server.fault("SaveKernel", status=503, times=5)
    server.fault("SaveKernel", nth=6, drop="after")
    assert kaggle.push_kernel(folder).recovered
    assert site.summary()["kernels"] == {REF: 1}


def test_private_and_without_internet_are_always_said(kaggle, server, folder) -> None:
    kaggle.push_kernel(folder)
    sent = server.bodies("SaveKernel")[0]
    assert sent["isPrivate"] is True and sent["enableInternet"] is False and sent["machineShape"] == "NvidiaTeslaT4"


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ({"error": "Notebook is malformed"}, "did not save the notebook: Notebook is malformed"),
        ({"versionNumber": None}, "names no version"),
        ({"invalidDatasetSources": ["kim/i2b-x"]}, "version 1 without dataset kim/i2b-x"),
        ({"invalidCompetitionSources": ["other"]}, "without competition other"),
        ({"invalidKernelSources": ["kim/k"]}, "without notebook kim/k"),
        ({"invalidModelSources": ["kim/m"]}, "without model kim/m"),
    ],
)
def test_what_the_client_calls_success_and_is_none_is_an_error(
    kaggle, server, folder, edit: dict, message: str
) -> None:
    server.fault("SaveKernel", edit=edit)
    with pytest.raises(CheckFailed, match=message):
        kaggle.push_kernel(folder)
    assert server.names().count("SaveKernel") == 1


def test_a_source_that_does_not_exist_is_named(kaggle, folder) -> None:
    (folder / "kernel-metadata.json").write_text(json.dumps(METADATA | {"dataset_sources": ["kim/i2b-nowhere"]}))
    with pytest.raises(CheckFailed, match="dataset kim/i2b-nowhere"):
        kaggle.push_kernel(folder)


def test_the_two_limits_of_gpu_use_are_told_apart(kaggle, server, folder) -> None:
    server.fault("SaveKernel", body={"error": "Maximum batch GPU session count of 2 reached."})
    with pytest.raises(SessionLimitReached, match="wait for a running notebook"):
        kaggle.push_kernel(folder)
    server.fault("SaveKernel", body={"error": "Maximum weekly GPU quota of 30.00 hours has been reached."})
    with pytest.raises(QuotaSpent, match="Saturday 00:00 UTC"):
        kaggle.push_kernel(folder)


def test_what_the_client_itself_refuses_is_told_at_once(kaggle, server, folder) -> None:
    (folder / "kernel-metadata.json").write_text(json.dumps(METADATA | {"language": "cobol"}))
    with pytest.raises(CheckFailed, match="client refuses to save the notebook: A valid language"):
        kaggle.push_kernel(folder)
    assert "SaveKernel" not in server.names()


def test_a_title_in_use_is_explained(kaggle, folder) -> None:
    (folder / "kernel-metadata.json").write_text(json.dumps(METADATA | {"title": "something else"}))
    with pytest.raises(CheckFailed, match="already in use.*rename"):
        kaggle.push_kernel(folder)


def test_a_notebook_over_one_megabyte_is_explained(kaggle, folder) -> None:
    (folder / "i2b-demo-infer.ipynb").write_text(notebook("x" * 1_000_001))
    with pytest.raises(CheckFailed, match="1 MB: make check"):
        kaggle.push_kernel(folder)


@pytest.mark.parametrize("status", [403, 404])
def test_a_kernel_that_does_not_exist_is_no_error(kaggle, site, status: int) -> None:
    site.absent_status = status
    assert kaggle.pull_kernel(*NAME) is None
    assert kaggle.kernel_state(*NAME).state == ABSENT


def test_the_digest_knows_what_was_pushed_from_what_was_edited(kaggle, site, folder) -> None:
    kaggle.push_kernel(folder)
    local = (folder / "i2b-demo-infer.ipynb").read_text()
    assert cells_sha256(kaggle.pull_kernel(*NAME).source) == cells_sha256(local)
    site.edit_kernel(REF, notebook("a = 2"))
    assert cells_sha256(kaggle.pull_kernel(*NAME).source) != cells_sha256(local)


def test_states_are_told_as_kaggle_tells_them(kaggle, site, folder) -> None:
    site.kernel_states = ["QUEUED", "RUNNING", "QUEUED", "ERROR"]
    kaggle.push_kernel(folder)
    states = [kaggle.kernel_state(*NAME) for _ in range(4)]
    assert [state.state for state in states] == ["QUEUED", "RUNNING", "QUEUED", "ERROR"]
    assert states[3].is_final and "exception" in states[3].failure


class TestOutputs:
    @pytest.fixture(autouse=True)
    def run(self, kaggle, folder) -> None:
        kaggle.push_kernel(folder)

    def test_all_pages_come_with_folders_and_log(self, kaggle, site, tmp_path: Path) -> None:
        site.outputs[NAME[1]] = {f"run/fold{n}.bin": bytes([n]) * (n + 1) for n in range(12)} | {
            "submission.csv": b"a,b"
        }
        site.logs[NAME[1]] = '[{"data": "hello"}]'
        site.page_size = 5
        output = kaggle.kernel_output(*NAME, tmp_path / "out")
        assert output.files["run/fold11.bin"] == 12 and len(output.files) == 13 and "hello" in output.log
        assert (tmp_path / "out/run/fold7.bin").read_bytes() == bytes([7]) * 8
        assert not list(tmp_path.rglob("*.part*"))

    @pytest.mark.parametrize(
        "name",
        [
            "../evil",
            "run/../../evil",
            "/tmp/evil",
            "a/./b",
            "",
            ".",
            "a//b",
            "a\\..\\evil",
            "C:evil",
            "x\0y",
            "a\nb",
            "~/../x/..",
        ],
    )
    def test_a_name_that_leads_out_of_the_folder_writes_nothing(self, kaggle, site, tmp_path: Path, name: str) -> None:
        site.outputs[NAME[1]] = {"fine.txt": b"1", name: b"2"}
        with pytest.raises(CheckFailed, match="would not stay in its folder"):
            kaggle.kernel_output(*NAME, tmp_path / "out")
        assert not (tmp_path / "out").exists() and not list(tmp_path.rglob("evil"))

    def test_a_link_in_the_folder_is_not_followed(self, kaggle, site, tmp_path: Path) -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "out/run").symlink_to(tmp_path / "elsewhere")
        site.outputs[NAME[1]] = {"run/a.txt": b"1"}
        with pytest.raises(CheckFailed, match="would not stay"):
            kaggle.kernel_output(*NAME, tmp_path / "out")
        assert not list((tmp_path / "elsewhere").iterdir())

    def test_more_bytes_than_allowed_are_not_kept(self, kaggle, site, tmp_path: Path) -> None:
        site.outputs[NAME[1]] = {"a.bin": b"x" * 600, "b.bin": b"x" * 600}
        with pytest.raises(CheckFailed, match="allowed"):
            kaggle.kernel_output(*NAME, tmp_path / "out", limit_bytes=1000)
        assert not (tmp_path / "out/b.bin").exists()

    def test_a_length_that_lies_does_not_get_past_the_limit(self, kaggle, server, site, tmp_path: Path) -> None:
        site.outputs[NAME[1]] = {"a.bin": b"x" * 600}
        server.fault("GET", status=200, body="y" * 5000, headers={"Content-Length": "5000"}, times=9)
        with pytest.raises(CheckFailed, match="allowed"):
            kaggle.kernel_output(*NAME, tmp_path / "out", limit_bytes=1000)
        assert not list((tmp_path / "out").iterdir())

    def test_without_a_length_the_limit_counts_what_comes(self, kaggle, server, site, tmp_path: Path) -> None:
        site.outputs[NAME[1]] = {"a.bin": b"x" * 900, "b.bin": b"x" * 5000}
        server.fault("GET", no_length=True, times=9)
        kaggle.kernel_output(*NAME, tmp_path / "out", limit_bytes=5900)
        assert (tmp_path / "out/b.bin").read_bytes() == b"x" * 5000
        with pytest.raises(CheckFailed, match="goes on after .* bytes: it was not kept"):
            kaggle.kernel_output(*NAME, tmp_path / "again", limit_bytes=2000)
        assert [path.name for path in (tmp_path / "again").iterdir()] == ["a.bin"]

    @pytest.mark.parametrize("length", ["900", "-1", "many"])
    def test_a_length_that_is_not_what_comes_is_never_taken_for_a_whole_file(
        self, kaggle, server, site, tmp_path: Path, length: str
    ) -> None:
        """900 bytes are promised, 600 come, and then the connection ends."""
        site.outputs[NAME[1]] = {"a.bin": b"x" * 600}
        server.fault("GET", headers={"Content-Length": length}, cut_bytes=600, times=99)
        try:
            kaggle.kernel_output(*NAME, tmp_path / "out", limit_bytes=1000)
        except CheckFailed:
            assert not (tmp_path / "out/a.bin").exists()
        else:
            assert length != "900"

    def test_what_is_small_and_grows_on_unpacking_is_stopped_at_the_limit(
        self, kaggle, server, site, tmp_path: Path
    ) -> None:
        import gzip

        site.outputs[NAME[1]] = {"a.bin": gzip.compress(b"0" * 3_000_000)}
        server.fault("GET", headers={"Content-Encoding": "gzip"}, times=9)
        with pytest.raises(CheckFailed, match="goes on after"):
            kaggle.kernel_output(*NAME, tmp_path / "out", limit_bytes=1_000_000)
        assert not list((tmp_path / "out").glob("a.bin*"))

    def test_a_broken_download_goes_on_at_the_byte(self, kaggle, server, site, tmp_path: Path) -> None:
        data = bytes(range(256)) * 4000
        site.outputs[NAME[1]] = {"big.bin": data}
        server.fault("GET", cut_bytes=700_000)
        kaggle.kernel_output(*NAME, tmp_path / "out")
        assert (tmp_path / "out/big.bin").read_bytes() == data
        ranges = [seen.headers.get("Range") for seen in server.log if seen.name == "GET"]
        assert ranges[0] is None and ranges[-1] is not None and int(ranges[-1][6:-1]) > 0

    def test_a_file_that_changed_in_between_is_taken_from_the_start(self, kaggle, server, site, tmp_path: Path) -> None:
        old, new = b"old" * 200_000, b"new" * 200_000
        site.outputs[NAME[1]] = {"big.bin": old}
        server.fault("GET", cut_bytes=400_000)
        server.hook = lambda phase, n, name: (
            site.files.update({path: new for path in site.files}) if (phase, name) == ("after", "GET") else None
        )
        kaggle.kernel_output(*NAME, tmp_path / "out")
        assert (tmp_path / "out/big.bin").read_bytes() == new

    def test_downloads_carry_no_credentials(self, kaggle, server, site, tmp_path: Path) -> None:
        site.outputs[NAME[1]] = {"a.bin": b"x"}
        kaggle.kernel_output(*NAME, tmp_path / "out")
        assert server.leaks == []


def submit(kaggle, receipt: str) -> int | None:
    return kaggle.submit("csiro-biomass", *NAME, 1, "submission.csv", receipt=receipt, message="by a test")


class TestSubmissions:
    @pytest.fixture(autouse=True)
    def run(self, kaggle, site, folder) -> None:
        kaggle.push_kernel(folder)
        site.outputs[NAME[1]] = {"submission.csv": b"a,b"}

    @pytest.mark.parametrize(
        "fault",
        [
            {},
            {"drop": "after"},
            {"status": 503, "after": True},
            {"status": 429},
        ],
        ids=str,
    )
    def test_one_submission_whatever_becomes_of_the_answer(self, kaggle, server, site, fault: dict) -> None:
        if fault:
            server.fault("CreateCodeSubmission", **fault)
        ref = submit(kaggle, "receipt 7f3a")
        assert ref == 100 and len(site.submissions) == 1

    @pytest.mark.parametrize("fault", [{"drop": "before"}, {"status": 503}, {"status": 504}], ids=str)
    def test_a_submission_is_never_sent_a_second_time_by_the_run_that_sent_it(
        self, kaggle, server, site, fault: dict
    ) -> None:
        server.fault("CreateCodeSubmission", **fault)
        with pytest.raises(ResponseLost, match="the response was lost.*run the same command: it looks again"):
            submit(kaggle, "receipt 1")
        assert server.names().count("CreateCodeSubmission") == 1 and not site.submissions

    def test_a_submission_of_before_with_another_receipt_is_not_ours(self, kaggle, server, site) -> None:
        submit(kaggle, "receipt 1")
        server.fault("CreateCodeSubmission", drop="before")
        with pytest.raises(ResponseLost):
            submit(kaggle, "receipt 2")

    def test_an_answer_without_a_number_is_still_an_answer(self, kaggle, server, site) -> None:
        server.fault("CreateCodeSubmission", edit={"ref": 0})
        assert submit(kaggle, "receipt 1") is None and len(site.submissions) == 1

    def test_the_list_tells_scores_and_times(self, kaggle, site) -> None:
        site.polls_until_scored = 1
        submit(kaggle, "receipt 1")
        assert kaggle.submissions("csiro-biomass")[0].status == "PENDING"
        scored = kaggle.submissions("csiro-biomass")[0]
        assert (scored.status, scored.public, scored.private) == ("COMPLETE", 0.71, None)
        assert scored.date is not None and scored.date.utcoffset() is not None

    def test_the_days_limit_is_told_in_kaggles_words(self, kaggle, site) -> None:
        site.submissions_a_day = 0
        with pytest.raises(CheckFailed, match="limit of submissions for today"):
            submit(kaggle, "r")
        assert kaggle.submission_limits("csiro-biomass").left_now == 0

    def test_an_empty_answer_is_no_success(self, kaggle, server) -> None:
        server.fault("CreateCodeSubmission", body={})
        with pytest.raises(CheckFailed, match="the response is empty"):
            submit(kaggle, "r")

    def test_rules_that_are_not_accepted_come_with_the_page(self, kaggle, site) -> None:
        site.rules_accepted = False
        with pytest.raises(CheckFailed, match="https://www.kaggle.com/competitions/csiro-biomass/rules"):
            submit(kaggle, "r")


def test_gpu_hours_are_hours(kaggle, site) -> None:
    site.gpu_used_s = 5400
    quota = kaggle.quota()
    assert (quota.gpu_used_h, quota.gpu_total_h, quota.gpu_left_h) == (1.5, 30.0, 28.5)
