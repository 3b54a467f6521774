"""The doctor: one line per thing that a push needs, with its cure, and no secret in any of them."""

import json
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from build.kaggle.command import doctor_verb
from build.kaggle.doctor import next_submission_reset
from build.kaggle.journal import Journal
from build.kaggle.preparation import JOURNAL
from build.kaggle.quota import next_quota_reset, until
from build.notebooks.builder import NOTEBOOKS, ROOT, all_cards, build_notebook
from build.notebooks.metadata import kernel_slug
from tests.build.kaggle.site import Dataset, Kernel

Examine = Callable[[], tuple[bool, dict[str, list[tuple[str, str]]]]]


@pytest.fixture
def examine(server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Examine:
    """Run the verb; return whether it says ok, and about → [(level, text and cure)]."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("build.kaggle.client.UPLOADS", tmp_path / "uploads")

    def run():
        code = 0
        try:
            doctor_verb(as_json=True)
        except SystemExit as ended:
            code = ended.code
        printed = capsys.readouterr()
        assert server.site.keys["kim"] not in printed.out + printed.err
        said = json.loads(printed.out)
        assert code == (0 if said["ok"] else 1)
        lines: dict[str, list[tuple[str, str]]] = {}
        for one in said["findings"]:
            lines.setdefault(one["about"], []).append((one["level"], f"{one['text']} → {one['cure']}"))
        return said["ok"], lines

    return run


def put_dataset(server, slug: str, files: dict[str, bytes]) -> None:
    dataset = Dataset("kim", slug, slug, "other", True, [files], states=["READY"])
    server.site.datasets[f"kim/{slug}"] = dataset


def bundle_files(slug: str, weights: bytes = b"weights") -> dict[str, bytes]:
    manifest = {"format": 1, "dataset": slug, "files": {"fold0.safetensors": {"bytes": 7, "sha256": "0" * 64}}}
    return {"manifest.json": json.dumps(manifest).encode(), "fold0.safetensors": weights}


def put_kernel(server, slug: str, source: str) -> None:
    body = {"slug": f"kim/{slug}", "text": source, "newTitle": slug, "kernelType": "notebook", "language": "python"}
    server.site.kernels[f"kim/{slug}"] = Kernel("kim", slug, [body], ["COMPLETE"])


def test_with_everything_in_order_it_says_ok_and_what_is_not_there_yet(examine: Examine) -> None:
    ok, lines = examine()
    assert ok
    assert lines["sign-in"] == [("ok", "as kim → ")]
    assert lines["client"][0] == ("ok", "kaggle 2.2.4 → ")
    assert lines["credentials"] == [("ok", "the key from KAGGLE_USERNAME and KAGGLE_KEY is used → ")]
    assert lines["rules"][0][0] == "ok"
    assert lines["quota"][0][0] == "ok" and "29.0 of 30 GPU hours left" in lines["quota"][0][1]
    assert "5 left today" in lines["submissions"][0][1]
    assert ("warn", "kim/i2b-demo-weights is not on Kaggle → make push-data EXPERIMENT=demo") in lines["dataset"]
    assert [level for level, _ in lines["drift"]] == ["ok"] * len(all_cards())


def test_what_was_never_pushed_is_counted_for_a_person_not_listed(
    examine: Examine, capsys: pytest.CaptureFixture
) -> None:
    doctor_verb()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) < 15 and f"{len(all_cards())} more are not on Kaggle" in lines[-2]
    assert lines[-1] == "nothing stops a push"


def test_a_stale_token_that_hides_good_keys_is_named_and_not_printed(examine: Examine, home: Path) -> None:
    token = home / ".kaggle" / "access_token"
    token.parent.mkdir()
    token.write_text("stale-token-5571")
    token.chmod(0o600)
    ok, lines = examine()
    assert not ok
    assert any(level == "warn" and "is hidden by the token from" in text for level, text in lines["credentials"])
    ((level, text),) = lines["sign-in"]
    assert level == "fail" and "takes precedence over the key" in text and f"remove {token}" in text
    assert "stale-token-5571" not in str(lines)


def test_credentials_that_others_can_read_fail_with_the_chmod(examine: Examine, home: Path) -> None:
    (home / ".kaggle").mkdir()
    stored = home / ".kaggle" / "kaggle.json"
    stored.write_text(json.dumps({"username": "kim", "key": "key-of-kim"}))
    stored.chmod(0o644)
    ok, lines = examine()
    assert not ok and stat.S_IMODE(stored.stat().st_mode) == 0o644
    assert any(level == "fail" and f"chmod 600 {stored}" in text for level, text in lines["credentials"])


def test_no_credentials_end_the_examination_with_where_to_get_them(
    examine: Examine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KAGGLE_USERNAME")
    ok, lines = examine()
    assert not ok and "sign-in" not in lines and "settings/api" in lines["credentials"][0][1]


def test_rules_not_accepted_fail_with_the_page(examine: Examine, site) -> None:
    site.rules_accepted = False
    ok, lines = examine()
    ((level, text),) = lines["rules"]
    assert not ok and level == "fail" and "csiro-biomass/rules" in text


@pytest.mark.parametrize(
    ("used_h", "total_h", "level", "said"),
    [(30, 30, "fail", "wait until"), (29, 30, "warn", "hardly for training"), (0, 30, "ok", "30.0 of 30")],
)
def test_the_gpu_hours_left(examine: Examine, site, used_h: int, total_h: int, level: str, said: str) -> None:
    site.gpu_used_s, site.gpu_total_s = used_h * 3600, total_h * 3600
    ok, lines = examine()
    assert ok == (level != "fail")
    assert lines["quota"][0][0] == level and said in lines["quota"][0][1]


def test_no_submissions_left_warns_when_there_are_more(examine: Examine, site) -> None:
    site.submissions_a_day = 0
    ((level, text),) = examine()[1]["submissions"]
    assert level == "warn" and "00:00 UTC" in text


@pytest.mark.parametrize(
    ("files", "state", "level", "said"),
    [
        (bundle_files("i2b-v1-weights"), "READY", "ok", "READY, 2 files"),
        (bundle_files("i2b-v1-weights", b"half"), "READY", "fail", "fold0.safetensors has 4 bytes of 7"),
        ({"manifest.json": bundle_files("i2b-v1-weights")["manifest.json"]}, "READY", "fail", "is missing"),
        ({}, "READY", "fail", "lists no file"),
        ({"fold0.safetensors": b"weights"}, "READY", "warn", "without manifest.json"),
        (bundle_files("i2b-v1-weights"), "NOT_YET_PERSISTED", "warn", "a push waits for it"),
        (bundle_files("i2b-v1-weights"), "FAILED", "fail", "push-data EXPERIMENT=v1"),
    ],
)
def test_the_state_of_a_dataset(examine: Examine, server, files: dict, state: str, level: str, said: str) -> None:
    put_dataset(server, "i2b-v1-weights", files)
    server.site.datasets["kim/i2b-v1-weights"].states = [state]
    server.site.hides_first_version = False
    ok, lines = examine()
    found = [line for line in lines["dataset"] if "i2b-v1-weights" in line[1]]
    assert [one for one, _ in found] == [level] and said in found[0][1]
    assert ok == (level != "fail")


def test_other_weights_on_the_site_than_here_are_a_warning(examine: Examine, server, tmp_path: Path) -> None:
    here = tmp_path / "out" / "bundles" / "v1"
    here.mkdir(parents=True)
    for name, data in bundle_files("i2b-v1-weights").items():
        (here / name).write_bytes(data + b"\n" if name == "manifest.json" else data)
    put_dataset(server, "i2b-v1-weights", bundle_files("i2b-v1-weights"))
    found = [line for line in examine()[1]["dataset"] if "i2b-v1-weights" in line[1]]
    assert found[0][0] == "warn" and "the bundle on this machine is a different one" in found[0][1]


@pytest.mark.full
def test_an_edit_in_the_browser_fails_and_a_mere_run_does_not(examine: Examine, server) -> None:
    cards = [card for card in all_cards() if card.experiment in {"demo", "v1"}]  # committed, and built on demand
    slugs = [kernel_slug(card.experiment, card.kernel) for card in cards]
    for slug, card in zip(slugs, cards, strict=True):
        path = ROOT / NOTEBOOKS / slug / f"{slug}.ipynb"
        put_kernel(server, slug, path.read_text() if path.is_file() else build_notebook(card).notebook.decode())
    ok, lines = examine()
    assert ok and {level for level, _ in lines["drift"]} == {"ok"}
    notebook = json.loads(server.site.kernels[f"kim/{slugs[0]}"].versions[0]["text"])
    notebook["cells"][-1]["source"] = "edited = True"
    server.site.edit_kernel(f"kim/{slugs[0]}", json.dumps(notebook))
    ok, lines = examine()
    assert not ok and [level for level, _ in lines["drift"]].count("fail") == 1
    assert "make pull-kernel EXPERIMENT=demo KERNEL=train" in str(lines["drift"])


def test_a_question_that_fails_is_a_line_and_the_next_is_asked(examine: Examine, server) -> None:
    server.fault("GetAcceleratorQuotaStatistics", status=400, body={"message": "broken"}, times=99)
    ok, lines = examine()
    assert not ok and lines["quota"][0][0] == "fail" and lines["submissions"][0][0] == "ok"


def test_what_was_begun_and_has_not_ended_is_named(examine: Examine) -> None:
    journal = Journal(JOURNAL)
    with pytest.raises(KeyboardInterrupt), journal.attempt("kernel", {"kernel": "kim/i2b-demo-infer"}):
        raise KeyboardInterrupt
    journal.close()
    ((level, text),) = examine()[1]["journal"]
    assert level == "warn" and "kernel of kim/i2b-demo-infer" in text and "resumes" in text


def test_a_variable_that_leads_to_production_fails(examine: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "TEST")
    ok, lines = examine()
    assert not ok and lines["environment"][0][0] == "fail" and lines["sign-in"][0][0] == "fail"


def test_it_changes_nothing_on_the_site(examine: Examine, server) -> None:
    examine()
    reading = ("Get", "List", "Introspect", "Download")
    assert [name for name in server.names() if not name.startswith(reading)] == []


def test_the_lines_for_a_person_hold_the_same(
    server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    server.site.gpu_used_s = server.site.gpu_total_s
    with pytest.raises(SystemExit):
        doctor_verb()
    printed = capsys.readouterr().out
    assert "fail  quota" in printed and "1 of " in printed.splitlines()[-1]


def test_the_week_begins_on_saturday_and_the_day_at_midnight_in_utc() -> None:
    for day in range(1, 15):
        now = datetime(2026, 11, day, 13, 30, tzinfo=UTC)
        reset = next_quota_reset(now)
        assert reset.weekday() == 5 and timedelta(0) < reset - now <= timedelta(days=7)
    friday = datetime(2026, 11, 27, 23, 30, tzinfo=UTC)
    assert until(next_quota_reset(friday), friday) == "Sat 28 Nov 00:00 UTC, in 0 h 30 min"
    assert next_submission_reset(friday) == datetime(2026, 11, 28, tzinfo=UTC)
    assert next_quota_reset(datetime(2026, 11, 28, tzinfo=UTC)) == datetime(2026, 12, 5, tzinfo=UTC)
