"""`data` and `push-data` as a user starts them: processes of their own, also killed in the middle."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from build.core.bundle_files import file_entry
from kernel_src.runtime.files import write_json
from tests.build.kaggle.zygote import Command, Mother

ROOT = Path(__file__).resolve().parents[3]
SLUG = "i2b-demo-weights"
REF = f"kim/{SLUG}"


@pytest.fixture
def bundle(make_folder) -> Path:
    folder = make_folder("bundle", {"fold0.safetensors": b"w" * 3000, "config.json": b"{}"})
    files = {file.name: file_entry(file) for file in sorted(folder.iterdir())}
    write_json(folder / "manifest.json", {"format": 1, "dataset": SLUG, "files": files})
    return folder


class Shell:
    """Where the commands of these tests come from: the process that has everything imported."""

    mother: Mother


@pytest.fixture(autouse=True)
def shell(mother: Mother) -> None:
    Shell.mother = mother


def start(tmp_path: Path, *arguments: str | Path) -> Command:
    """Start a verb in `tmp_path`, where its out/ and data/ lie."""
    return Shell.mother.start(*map(str, arguments), folder=tmp_path)


def run(tmp_path: Path, *arguments: str | Path) -> tuple[int, str, str]:
    process = start(tmp_path, *arguments)
    out, errors = process.communicate()
    return process.wait(), out, errors


def test_push_data_of_a_bundle_says_begin_end_and_link_and_the_second_time_has_nothing_to_do(
    server, tmp_path, bundle
) -> None:
    code, out, errors = run(tmp_path, "push-data", "--experiment", "demo", "--dir", bundle)
    assert code == 0, errors
    lines = out.splitlines()
    assert lines[2].startswith("[2/2] dataset:") and f"https://www.kaggle.com/datasets/{REF}" in lines[2]
    assert "created: kim/i2b-demo-weights version 1, ready with 3 files" in lines[-1]
    code, out, _ = run(tmp_path, "push-data", "--experiment", "demo", "--dir", bundle)
    assert code == 0 and "already there" in out and server.site.summary()["datasets"] == {REF: 1}


def test_json_is_one_object_and_nothing_else(server, tmp_path, bundle) -> None:
    code, out, _ = run(tmp_path, "push-data", "--experiment", "demo", "--dir", bundle, "--json")
    value = json.loads(out)
    assert code == 0 and value["ok"] and value["datasets"][0]["version"] == 1
    code, out, _ = run(tmp_path, "push-data", "--dir", bundle.parent / "home", "--slug", "i2b-toy-data", "--json")
    assert code == 1 and json.loads(out)["ok"] is False


def test_push_data_takes_any_flat_folder(server, tmp_path, make_folder) -> None:
    folder = make_folder("external", {"table.csv": b"a,b\n1,2\n"})
    code, out, errors = run(tmp_path, "push-data", "--dir", folder, "--slug", "i2b-external-tables")
    assert code == 0, errors
    assert set(server.site.datasets["kim/i2b-external-tables"].versions[0]) == {"table.csv", "kit-manifest.json"}


def test_data_comes_into_the_folder_of_the_competition(server, tmp_path) -> None:
    server.site.competitions["csiro-biomass"] = {"train.csv": b"a\n", "train/ID1.jpg": b"jpg"}
    code, out, errors = run(tmp_path, "data")
    assert code == 0, errors
    assert (tmp_path / "data/csiro-biomass/train/ID1.jpg").read_bytes() == b"jpg"
    assert "[2/2] data: https://www.kaggle.com/competitions/csiro-biomass → data/csiro-biomass" in out


@pytest.mark.parametrize(
    ("typed", "slug"),
    [("leaf", "leaf-classification"), ("paws", "petfinder-pawpularity-score"), ("titanic", "titanic")],
)
def test_data_of_another_competition_is_named_by_its_name_here_or_by_any_slug(
    server, tmp_path, typed: str, slug: str
) -> None:
    server.site.competitions[slug] = {"train.csv": b"a\n"}
    code, out, errors = run(tmp_path, "data", "--competition", typed)
    assert code == 0, errors
    assert (tmp_path / "data" / slug / "train.csv").read_bytes() == b"a\n"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("push-data", "--experiment", "nothing"), 2, "no experiment 'nothing'"),
        (("push-data", "--dir", "nowhere", "--slug", "i2b-toy-data"), 2, "is not a folder"),
        (("push-data", "--dir", "bundle"), 2, "give EXPERIMENT=… for its bundle, or DIR=… and SLUG=…"),
        (("push-data", "--slug", "i2b-toy-data"), 2, "give EXPERIMENT=… for its bundle, or DIR=… and SLUG=…"),
        (("push-data", "--experiment", "demo", "--slug", "i2b-toy-data"), 2, "give EXPERIMENT=… for its bundle, or"),
        (("push-data", "--experiment", "v1", "--dir", "bundle"), 1, "is the bundle of i2b-demo-weights"),
        (("push-data", "--experiment", "demo", "--dir", "home"), 1, "is not a bundle of this kit"),
    ],
)
def test_an_invalid_command_says_so_before_any_request(
    server, tmp_path, bundle, arguments: tuple[str, ...], code: int, message: str
) -> None:
    got, out, errors = run(tmp_path, *arguments)
    assert (got, server.log) == (code, []) and message in errors and "Traceback" not in errors


def test_a_failure_ends_with_one_and_the_reason(server, tmp_path, bundle) -> None:
    server.fault("CreateDataset", body={"status": "error", "error": "Invalid licence"})
    code, _, errors = run(tmp_path, "push-data", "--experiment", "demo", "--dir", bundle)
    assert code == 1 and "Invalid licence" in errors and "Traceback" not in errors


def test_ctrl_c_says_how_to_go_on(server, tmp_path, bundle) -> None:
    server.site.dataset_states = ["BLOBS_RECEIVED"]
    process = start(tmp_path, "push-data", "--experiment", "demo", "--dir", bundle)
    seen = []

    def interrupt(phase: str, n: int, name: str) -> None:
        if name == "GetDatasetStatus" and phase == "after" and "CreateDataset" in server.names() and not seen:
            seen.append(n)
            process.send_signal(signal.SIGINT)

    server.hook = interrupt
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and f"`make push-data EXPERIMENT=demo DIR={bundle}` continues" in errors
    server.site.datasets[REF].states = ["READY"]
    code, _, _ = run(tmp_path, "push-data", "--experiment", "demo", "--dir", bundle)
    assert code == 0 and server.site.summary()["datasets"] == {REF: 1}


def test_no_credential_is_in_anything_written_or_printed(server, site, tmp_path, bundle, monkeypatch) -> None:
    marker = "MARKER-77aa-secret"
    site.keys["kim"] = marker
    monkeypatch.setenv("KAGGLE_KEY", marker)
    monkeypatch.setenv("VERBOSE", "true")
    server.fault("CreateDataset", status=503, body={"code": 503, "message": f"key {marker}"}, times=2)
    texts = list(run(tmp_path, "push-data", "--experiment", "demo", "--dir", bundle)[1:])
    server.fault("GetDatasetStatus", status=400, body={"code": 400, "message": f"key {marker}"}, times=99)
    texts += run(tmp_path, "push-data", "--experiment", "demo", "--dir", bundle)[1:]
    assert "***" in texts[-1]
    texts += [path.read_bytes().decode("latin-1") for path in tmp_path.rglob("*") if path.is_file()]
    assert not [text for text in texts if marker in text or "signature=secret" in text]


def kill_at(server, process: Command, boundary: tuple[str, int | str]) -> None:
    """Kill a command before or after the effect of its n-th request, or of the first of a name."""

    def kill(phase: str, n: int, name: str) -> None:
        if boundary in ((phase, n), (phase, name)) and process.returncode is None:
            process.kill()
            assert process.ended.wait(10)

    server.hook = kill


BOUNDARIES = [(phase, n) for n in range(13) for phase in ("before", "after")]


@pytest.mark.parametrize("slow", [False, True], ids=["ready at once", "first hidden, then processed"])
@pytest.mark.parametrize("boundary", BOUNDARIES, ids=str)
@pytest.mark.full
def test_killed_at_any_request_and_run_again_there_is_one_version(
    server, site, tmp_path, bundle, boundary: tuple[str, int], slow: bool
) -> None:
    if slow:
        site.dataset_states = ["403", "BLOBS_RECEIVED", "READY"]
    with server.lock:  # no request is answered before it is known which one kills
        process = start(tmp_path, "push-data", "--experiment", "demo", "--dir", bundle)
        kill_at(server, process, boundary)
    process.wait()
    server.hook = lambda phase, n, name: None
    code, out, errors = run(tmp_path, "push-data", "--experiment", "demo", "--dir", bundle)
    assert code == 0, errors
    assert site.summary()["datasets"] == {REF: 1}
    assert set(site.datasets[REF].versions[0]) == {"fold0.safetensors", "config.json", "manifest.json"}


@pytest.mark.parametrize("request_name", ["PUT", "CreateDataset"])
def test_killed_after_an_effect_and_before_its_answer_there_is_one_version(
    server, site, tmp_path, bundle, request_name: str
) -> None:
    with server.lock:
        process = start(tmp_path, "push-data", "--experiment", "demo", "--dir", bundle)
        kill_at(server, process, ("after", request_name))
    process.wait()
    assert process.returncode == -signal.SIGKILL
    server.hook = lambda phase, n, name: None
    code, _, errors = run(tmp_path, "push-data", "--experiment", "demo", "--dir", bundle)
    assert code == 0, errors
    assert site.summary()["datasets"] == {REF: 1}


def test_the_stand_in_runs_as_a_process_that_outlives_its_clients(clean_environment, home, tmp_path, bundle) -> None:
    process = subprocess.Popen([sys.executable, "-m", "tests.build.kaggle.server"], cwd=ROOT, stdout=-1, text=True)
    try:
        port = json.loads(process.stdout.readline())["port"]

        def control(**order: object) -> dict:
            body = json.dumps(order).encode()
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            return json.loads(opener.open(f"http://127.0.0.1:{port}/control", body).read())

        environment = {
            "KAGGLE_API_ENVIRONMENT": "LOCALHOST",
            "http_proxy": f"http://127.0.0.1:{port}",
            "KAGGLE_USERNAME": "kim",
            "KAGGLE_KEY": "key-of-kim",
            "KIT_POLL_S": "0.05",
        }
        control(do="fault", match="CreateDataset", drop="after")
        command = [sys.executable, "-m", "build", "push-data", "--experiment", "demo", "--dir", str(bundle)]
        for _ in range(2):
            subprocess.run(command, cwd=tmp_path, env=os.environ | environment | {"PYTHONPATH": str(ROOT)}, check=True)
        assert control(do="summary")["datasets"] == {REF: 1}
        assert control(do="log")["log"]
    finally:
        process.kill()
        process.wait()
