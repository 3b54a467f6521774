"""`make report`: one page that holds itself, leads with the sentence that matters, and says what is missing."""

import json
import os
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from build.core.errors import CheckFailed, UsageError
from build.core.long_tables import wide_to_long
from build.core.pages import find_loads
from build.notebooks.builder import ROOT
from build.report.command import report_verb
from build.report.page import judge, page
from build.report.places import find_run
from build.report.record import read_record
from build.scores.comparison import compare_files
from kernel_src.competitions.biomass.submission import write_submission
from tests.build.report.desk import (
    BUNDLE,
    GRAMS,
    NAME,
    REHEARSAL,
    RUN,
    TABLE,
    lay_out,
    submit,
    write_bundle,
    write_rehearsal,
    write_run,
)
from tests.build.scores.painted import predicted, write_oof
from tests.build.typing_in import type_in


class Page(HTMLParser):
    """A page as a browser meets it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables_outside: int = 0
        self._open: list[tuple[str, bool]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        own = dict(attrs)
        self.tags.append((tag, own))
        inside = any(scrolls for _, scrolls in self._open)
        if tag == "table" and not inside:
            self.tables_outside += 1
        if tag not in ("meta", "link", "img", "br"):
            self._open.append((tag, "wide" in (own.get("class") or "").split()))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert tag in [name for name, _ in self._open], f"</{tag}> closes nothing"
        while self._open.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        if not any(tag == "style" for tag, _ in self._open):
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))

    def named(self, name: str) -> list[dict[str, str | None]]:
        return [attrs for tag, attrs in self.tags if tag == name]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A machine on which v7 was trained, bundled, rehearsed and submitted; read it, never write it."""
    root = lay_out(tmp_path_factory.mktemp("desk"))
    submit(root)
    shutil.copytree(
        ROOT / "docs", root / "docs", dirs_exist_ok=True, ignore=shutil.ignore_patterns("scores.csv", "*.jpg")
    )
    return root


@pytest.fixture(scope="module")
def shown(desk: Path) -> tuple[Page, str]:
    before = Path.cwd()
    os.chdir(desk)
    try:
        record = read_record(NAME)
        text = page(record, judge(record))
    finally:
        os.chdir(before)
    return Page(text), text


@pytest.fixture
def at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of a test's own, and the working folder on it."""
    monkeypatch.chdir(lay_out(tmp_path / "desk"))
    return tmp_path / "desk"


def said(root: Path, **more: Any) -> dict[str, Any]:
    """What the command's JSON says."""
    verdict = judge(record := read_record(NAME, **more))
    return {"ready": verdict.ready, "verdict": verdict.sentence, "next": verdict.next, "missing": record.missing}


# Through the door


@pytest.mark.full
def test_the_command_writes_the_page_and_says_the_sentence(desk: Path, tmp_path: Path) -> None:
    out = tmp_path / "v7.html"
    done = type_in("report", NAME, "--out", out, "--json", folder=desk)
    assert done.returncode == 0, done.stderr
    value = json.loads(done.stdout)
    assert value["ready"] and value["missing"] == [] and value["page"] == str(out)
    assert value["verdict"].startswith("v7: out-of-fold R² 0.") and "submitted, public 0.581" in value["verdict"]
    text = out.read_text()
    assert value["bytes"] == len(text.encode()) and value["verdict"] in Page(text).text


def test_the_page_stands_where_make_report_says(at: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report_verb(NAME)
    printed = capsys.readouterr().out
    assert "written: out/reports/v7.html" in printed and (at / "out/reports/v7.html").is_file()
    assert "missing: no submission yet: make push-inference EXPERIMENT=v7" in printed


def test_a_run_is_reported_by_its_folder_with_its_diagnosis_and_its_test_predictions(
    at: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(older := at / "out/runs/v7/older", predicted(TABLE, 9))
    os.utime(older / "config.json", (1, 1))
    submission = at / "submission.csv"
    grams = wide_to_long(["T0"], GRAMS[:1])
    write_submission(submission, list(grams), grams)
    report_verb(str(older), submission=submission, as_json=True)
    value = json.loads(capsys.readouterr().out)
    assert (value["experiment"], value["run"]) == ("v7", str(older))
    assert value["diagnosis"]["images"] == len(TABLE) and value["diagnosis"]["shift"]["images"] == 1


def test_what_is_neither_an_experiment_nor_a_run_nor_a_file_is_refused(at: Path) -> None:
    (at / "empty").mkdir()
    for subject, said in (
        ("v77", "no experiment 'v77'"),
        ("empty", "no file empty/oof.csv"),
        ("a.csv", "no file a.csv"),
    ):
        with pytest.raises(UsageError, match=said):
            report_verb(subject)


# It holds itself.


def test_nothing_is_loaded_and_nothing_runs(shown: tuple[Page, str]) -> None:
    parsed, text = shown
    assert not {"script", "iframe", "object", "embed", "form"} & {tag for tag, _ in parsed.tags}
    for _, attributes in parsed.tags:
        for name in ("src", "href", "srcset", "data", "action", "poster"):
            assert (attributes.get(name) or "#").startswith(("data:", "#")), attributes
        assert not [name for name in attributes if name.startswith("on")]
    assert not find_loads(text) and "@import" not in text and "url(" not in text


@pytest.mark.parametrize(
    "load",
    [
        "<script>alert(1)</script>",
        '<img src="https://example.org/a.png">',
        "<img alt=x src='//example.org/a.png'>",
        '<link rel="stylesheet" href="style.css">',
        "<style>@import 'a.css'</style>",
        "<p style='background: url(a.png)'>",
        '<svg><image xlink:href="a.png"/></svg>',
        '<iframe src="data:,">',
    ],
)
def test_what_a_page_must_not_hold_is_found(load: str) -> None:
    assert find_loads(f'<p>text</p>{load}<img src="data:image/png;base64,AA==">')


def test_a_page_beyond_5_mb_is_refused_and_the_largest_section_named(at: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("build.report.page.LIMIT_BYTES", 20_000)
    record = read_record(NAME)
    with pytest.raises(CheckFailed, match="a report may have 20,000; most of it is "):
        page(record, judge(record))


def test_photographs_of_full_size_stay_small(at: Path) -> None:
    """2000 x 1000 pixels of noise are the worst that a JPEG can meet."""
    import cv2

    noise = np.random.default_rng(0).integers(0, 255, (1000, 2000, 3), np.uint8)
    for i, path in enumerate(sorted((at / "data/csiro-biomass/train").iterdir())):
        cv2.imwrite(str(path), np.roll(noise, 37 * i, axis=1))
    record = read_record(NAME)
    assert len(page(record, judge(record)).encode()) < 3_000_000


# A phone and a keyboard


def test_headings_descend_one_by_one_and_links_find_their_sections(shown: tuple[Page, str]) -> None:
    parsed, _ = shown
    levels = [int(tag[1]) for tag, _ in parsed.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(levels, levels[1:], strict=False))
    ids = [attributes["id"] for _, attributes in parsed.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = [attributes["href"] for attributes in parsed.named("a")]
    assert len(links) > 10 and all(link and link[1:] in ids for link in links)
    (nav,) = parsed.named("nav")
    assert nav["aria-label"] and parsed.named("main")


def test_a_phone_gets_its_width_and_what_is_wider_scrolls_by_keys_too(shown: tuple[Page, str]) -> None:
    parsed, _ = shown
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in parsed.named("meta")
    assert parsed.named("html")[0]["lang"] == "en" and parsed.tables_outside == 0
    scrollers = [one for one in parsed.named("div") if "wide" in (one.get("class") or "").split()]
    assert scrollers and all(one["tabindex"] == "0" and one["aria-label"] for one in scrollers)


def test_every_picture_is_told_in_words(shown: tuple[Page, str]) -> None:
    parsed, _ = shown
    assert all(image["alt"] for image in parsed.named("img")) and len(parsed.named("img")) >= 8
    assert all(drawing["role"] == "img" and drawing["aria-label"] for drawing in parsed.named("svg"))


# What stands in it


def test_the_score_its_interval_and_the_floors_are_those_of_compare_after_the_constraint(
    desk: Path, shown: tuple[Page, str], tmp_path: Path
) -> None:
    from kernel_src.competitions.biomass.constraints import constrain

    file = write_oof(tmp_path / "oof.csv", TABLE, constrain(predicted(TABLE, 1), "projection"))
    compared = compare_files([str(file)], desk / "data/csiro-biomass/train.csv")
    (model,), text = compared.models, shown[0].text
    assert f"R² {model.estimate:.3f} [{model.low:.3f}, {model.high:.3f}], floor" in text
    for name, value in compared.floors.items():
        assert f"{value:.3f} {name}" in text, "each reference point is a line of the drawing"


def test_folds_curves_training_bundle_rehearsal_and_submission_are_told(shown: tuple[Page, str]) -> None:
    text = shown[0].text
    assert "5 folds by GroupSplit, seed 0; no State+Sampling_Date group lies in two folds" in text
    assert "2 x Tesla T4, fp16" in text and "ab" * 32 in text and "torch 2.11.0" in text
    assert "The experiment as it stands in the sources now." in text
    assert text.count("Fold 3") >= 2 and "loss on the inner rows" in text
    assert "fold4.safetensors" in text and "Every file is as its manifest says" in text
    assert "31 of 32400" in text and "1.84 of 29" in text and "612 s" in text and "200, valid" in text
    assert "0.5812" in text and "first real one" in text and "V7 DINOv2 ViT-B" in text


def test_the_epoch_that_was_kept_is_the_best_of_the_inner_rows(shown: tuple[Page, str]) -> None:
    """The log's inner loss falls to epoch 3 and rises by one after it."""
    cells = re.findall(r"<tr><td>0</td>(.*?)</tr>", shown[1])
    assert any("<td>5</td><td>3</td><td>50</td>" in row for row in cells)


def test_a_run_that_keeps_its_last_epoch_shows_one_curve_and_says_which_epoch_stayed(at: Path) -> None:
    log = write_run(at / RUN) / "log.csv"
    rows = [f"{fold},{epoch},{3 / epoch},,0.0001,10.0" for fold in range(5) for epoch in range(1, 6)]
    log.write_text("\n".join(["fold,epoch,train_loss,inner_loss,learning_rate,seconds", *rows]) + "\n")
    made = page(record := read_record(NAME), judge(record))
    text = Page(made).text
    assert "loss in training" in text and "loss on the inner rows" not in text
    assert any("<td>5</td><td>5</td><td>50</td>" in row for row in re.findall(r"<tr><td>0</td>(.*?)</tr>", made))


def test_a_run_with_changes_says_which(at: Path) -> None:
    write_run(at / RUN, **{"schedule.epochs": 3, "predict.tta": "none"})
    text = Page(page(record := read_record(NAME), judge(record))).text
    changes = "predict.tta trained → none, schedule.epochs 30 → 3."
    assert f"Unlike the experiment as it stands in the sources now: {changes}" in text


# What is missing


def test_each_piece_that_is_missing_is_named_with_its_command(at: Path) -> None:
    shutil.rmtree(at / BUNDLE)
    (at / REHEARSAL).unlink()
    (at / RUN / "log.csv").unlink()
    found = said(at)
    text = Page(page(record := read_record(NAME), judge(record))).text
    for what, command in (
        ("training curves", "python -m build report RUN_FOLDER"),
        ("no bundle of this run", f"python -m build bundle {RUN}"),
        ("no rehearsal", "python -m build rehearse --experiment v7 --data DATA --weights BUNDLE --rerun"),
        ("no submission yet", "make push-inference EXPERIMENT=v7"),
    ):
        assert any(what in one.what and command in one.command for one in found["missing"]), what
        assert what in text and command in text
    assert not found["ready"] and found["verdict"].endswith("not ready: no bundle of this run.")


def test_without_train_csv_the_reference_floors_stand_there_and_the_command_that_brings_it(at: Path) -> None:
    shutil.rmtree(at / "data")
    found = said(at)
    text = Page(page(record := read_record(NAME), judge(record))).text
    assert "its interval not known here" in found["verdict"]
    for line in ("0.240 each target's mean", "0.213 mean of the other groups", "0.611 true mean of each group"):
        assert line in text
    assert any("make data" in one.command for one in found["missing"])


def test_nothing_trained_here_is_said_with_the_ways_to_train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="make train EXPERIMENT=v7 DATA=…`, or `make push-training EXPERIMENT=v7"):
        read_record(NAME)
    with pytest.raises(UsageError, match="`make demo`, or"):
        read_record("demo")
    with pytest.raises(UsageError, match="v6 is an ensemble and was never trained: report on its members v4, v5"):
        read_record("v6")


def test_a_folder_named_must_be_what_it_should_be(at: Path) -> None:
    with pytest.raises(UsageError, match="is a run of v7, not of v8"):
        read_record("v8", run=RUN)
    with pytest.raises(UsageError, match="holds no finished training run"):
        read_record(NAME, run=Path("docs"))
    with pytest.raises(UsageError, match="--data is the competition's folder"):
        read_record(NAME, data=Path("out"))


# Which pieces belong together


def test_the_newest_of_several_runs_is_meant_and_an_older_ones_bundle_is_not_passed_off_as_its_own(at: Path) -> None:
    newer = write_run(at / "out/runs/v7/def", predicted(TABLE, 9))
    os.utime(newer / "config.json", (4e9, 4e9))
    record = read_record(NAME)
    assert record.run == Path("out/runs/v7/def") and record.bundle is None
    assert read_record(NAME, run=RUN).bundle is not None


def test_a_bundle_alone_gives_a_report_without_curves(at: Path) -> None:
    shutil.rmtree(at / "out/runs")
    record = read_record(NAME)
    assert record.run == BUNDLE and record.bundle and record.comparison
    assert "No log.csv beside this run's config" in Page(page(record, judge(record))).text


def test_report_demo_finds_what_make_demo_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trained_run: Path, tiny_competition: Path
) -> None:
    """The layout of out/demo, with a run of the smallest net instead of four minutes of training."""
    from build.weights.bundle import make_bundle

    demo = tmp_path / "out/demo"
    shutil.copytree(tiny_competition, demo / "competition")
    place = Path(shutil.copytree(trained_run, demo / "rehearsal-train/working/run"))
    config = json.loads((place / "config.json").read_text())
    config["experiment"]["name"] = "demo"
    (place / "config.json").write_text(json.dumps(config))
    monkeypatch.chdir(tmp_path)
    make_bundle(place, demo / "bundle", slug="i2b-demo-weights", data=demo / "competition")
    report = json.loads(write_rehearsal_of_demo(demo).read_text())
    assert report["ok"]
    report_verb("demo", out=Path("demo.html"), as_json=True)
    record = read_record("demo")
    assert record.run == Path("out/demo/rehearsal-train/working/run") and record.bundle
    assert record.bundle.folder == Path("out/demo/bundle") and record.rehearsal and record.rehearsal.ok
    assert [one.what for one in record.missing] == ["no submission yet"]
    text = Page(Path("demo.html").read_text()).text
    assert "on 20 photographs of 7 groups the score means nothing" in text and "README.md" in text


def write_rehearsal_of_demo(demo: Path) -> Path:
    from build.run.rehearse.report import Report
    from kernel_src.runtime.files import sha256_of

    (demo / "rehearsal").mkdir()
    Report(
        notebook="notebooks/i2b-demo-infer/i2b-demo-infer.ipynb",
        manifests={"i2b-demo-weights": sha256_of(demo / "bundle/manifest.json")},
        out="out/demo/rehearsal",
        rerun=True,
        layout="new",
        seconds=9.0,
        limit_s=300.0,
        peak_rss_gb=0.9,
        memory_gb=4.0,
        isolation={},
        network_attempts=0,
    ).write(demo / "rehearsal/report.json")
    return demo / "rehearsal/report.json"


# The sentence


def test_ready_to_submit_names_the_minutes_and_the_command(at: Path) -> None:
    found = said(at)
    assert found["ready"] and found["next"] == "make push-inference EXPERIMENT=v7"
    assert "ready to submit" in found["verdict"] and "would take 10 of 540 minutes" in found["verdict"]


def test_what_two_submissions_taught_stands_in_the_sentence(at: Path) -> None:
    submit(at, experiment="v4", bundle_sha256="4" * 64, submission_ref=4, cv=0.4, public=0.38)
    submit(at, experiment="v5", bundle_sha256="5" * 64, submission_ref=5, cv=0.5, public=0.47)
    assert "expected public score 0." in said(at)["verdict"]


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        ("a changed weight", "not ready: the bundle is damaged"),
        ("another bundle", "not ready: no rehearsal on this bundle"),
        ("a failed rehearsal", "not ready: the rehearsal failed: 9 rows too few"),
        ("the public test only", "not ready: rehearsed on the public test only, not as the rerun"),
        ("knows nothing", "it has learnt nothing: the means alone score as much"),
        ("a group cut apart", "do not believe the level: v7: folds split a group: "),
    ],
)
def test_the_gravest_fault_is_the_sentence(at: Path, damage: str, sentence: str) -> None:
    from build.core.errors import Problem

    if damage == "a changed weight":
        (at / BUNDLE / "fold0.safetensors").write_bytes(b"other weights")
    elif damage == "another bundle":
        write_rehearsal(at, manifests={"i2b-v7-weights": "0" * 64})
    elif damage == "a failed rehearsal":
        write_rehearsal(at, problems=(Problem(what="9 rows too few"),))
    elif damage == "the public test only":
        write_rehearsal(at, rerun=False)
    elif damage == "knows nothing":
        write_run(at / RUN, np.random.default_rng(0).permutation(GRAMS))
        write_bundle(at)
    else:
        write_run(at / RUN, folds=np.arange(len(TABLE)) % 5)
        write_bundle(at)
    found = said(at)
    assert sentence in found["verdict"] and not found["ready"]


@pytest.mark.parametrize(("content", "what"), [(b"{", "holds no JSON"), (b"[1]", "no object")])
def test_a_damaged_file_is_named_and_does_not_pass_for_a_missing_one(tmp_path: Path, content: bytes, what: str) -> None:
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(CheckFailed) as failed:
        find_run("demo", tmp_path)
    (problem,) = failed.value.problems
    assert what in problem.what and problem.where == str(tmp_path / "config.json") and "move it away" in problem.cure
