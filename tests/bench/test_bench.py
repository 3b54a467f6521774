"""The bench's frame: figures are ratios of medians with their spread, parts fail alone, the page stands by itself."""

import json
from pathlib import Path
from typing import Any

import pytest

import bench.run as run
from bench.decode import our_tensor, usual_tensor
from bench.run import PARTS, TARGETS, Part, Target, figures, judge, main, merge, run_part
from bench.timing import Budget, alternate, amount, ratio, speedup


def test_a_ratio_is_that_of_the_medians_with_the_quartiles_of_the_pairs() -> None:
    assert ratio([4.0, 6.0, 8.0], [2.0, 2.0, 2.0]) == {"value": 3.0, "n": 3, "spread": [2.0, 4.0]}
    of_five = ratio([1.0, 2.0, 3.0, 4.0, 100.0], [1.0] * 5)
    assert of_five["value"] == 3.0 and of_five["spread"][0] == 1.5, "one slow pair moves neither"


def test_both_sides_run_equally_often_and_take_turns_in_going_first() -> None:
    order: list[str] = []
    ours_s, theirs_s = alternate(lambda: order.append("ours"), lambda: order.append("theirs"), 3, warm_up=0)
    assert order == ["ours", "theirs", "theirs", "ours", "ours", "theirs"]
    assert len(ours_s) == len(theirs_s) == 3


def test_what_takes_twice_as_long_is_half_as_fast() -> None:
    now = 0.0

    def takes(seconds: float) -> None:
        nonlocal now
        now += seconds

    found = speedup(lambda: takes(1.0), lambda: takes(2.0), 5, clock=lambda: now)
    assert found == {"value": 2.0, "n": 5, "spread": [2.0, 2.0], "ours_s": 1.0, "theirs_s": 2.0}


def test_an_amount_carries_its_extremes_and_its_unit() -> None:
    assert amount([3.0, 1.0, 2.0], "s") == {"value": 2.0, "n": 3, "spread": [1.0, 3.0], "unit": "s"}


def test_a_target_that_is_missed_is_told_and_one_that_was_not_measured_is_not_judged() -> None:
    slow = {"decode": {"384": {"speedup": {"value": 1.4, "n": 3, "spread": [1, 2]}}}}
    assert judge(slow) == {"decode.384.speedup": False}
    slow["decode"]["384"]["speedup"]["n"] = 2
    assert judge(slow) == {"decode.384.speedup": None}, "two rounds judge nothing"
    assert Target("k", "", at_most=1.1).is_met(1.1) and not Target("k", "", at_most=1.1).is_met(1.11)


def test_two_parts_cannot_claim_the_same_figure() -> None:
    results: dict[str, Any] = {"overhead": {"v5": 1}}
    merge(results, {"overhead": {"v7": 2}})
    assert results == {"overhead": {"v5": 1, "v7": 2}}
    with pytest.raises(ValueError, match="'v5'"):
        merge(results, {"overhead": {"v5": 3}})


def test_every_part_has_its_module() -> None:
    assert all((run.ROOT / "bench" / f"{part.module}.py").is_file() for part in PARTS)


# %%
@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A bench of one part, `toy`, that measures one figure, and one that fails; both in this process."""
    monkeypatch.setattr(run, "PARTS", (Part("toy", "a toy", 5), Part("broken", "fails", 5)))
    monkeypatch.setattr(run, "TARGETS", (Target("toy.speedup", "a toy is fast", at_least=2),))

    def measured(part: Part, quick: bool, share_s: float, left_s: float) -> dict[str, Any]:
        common = {"quick": quick, "seconds": 1.0, "load_before": 0.5, "at": "now"}
        if part.name == "broken":
            return {**common, "failed": "exit code 1: <boom>"}
        return {**common, "results": {"toy": {"speedup": ratio([3.0] * 3, [1.0] * 3), "note": "a & b"}}}

    monkeypatch.setattr(run, "run_part", measured)
    return tmp_path


def test_a_part_that_fails_is_named_and_the_others_are_kept(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--out", str(toy)]) == 1
    results = json.loads((toy / "results.json").read_text())
    assert results["toy"]["speedup"]["value"] == 3.0 and results["targets"] == {"toy.speedup": True}
    assert results["runs"]["broken"]["failed"] == "exit code 1: <boom>"
    assert {"cpu", "cores", "python", "torch", "commit"} <= results["machine"].keys()
    assert "[2/2] broken" in capsys.readouterr().out


def test_what_the_time_of_a_run_does_not_allow_is_not_begun(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "BUDGET_S", 0)
    assert main(["--out", str(toy)]) == 1
    runs = json.loads((toy / "results.json").read_text())["runs"]
    assert all("has 0 s" in runs[name]["failed"] for name in ("toy", "broken"))


def test_what_is_left_of_the_budget_is_divided_among_the_parts_that_are_left(
    toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares: list[float] = []
    measured = run.run_part
    monkeypatch.setattr(run, "BUDGET_S", 3)

    def noted(part: Part, quick: bool, share_s: float, left_s: float) -> dict[str, Any]:
        shares.append(share_s)
        assert share_s <= left_s <= 3
        return measured(part, quick, share_s, left_s)

    monkeypatch.setattr(run, "run_part", noted)
    main(["--out", str(toy)])
    assert shares == [pytest.approx(1.5, abs=0.2), pytest.approx(3, abs=0.3)], "what the first left is the second's"


def test_a_measurement_is_repeated_as_often_as_its_share_allows_and_at_least_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    monkeypatch.setattr("bench.timing.time.monotonic", lambda: now)

    def rounds_of(budget: Budget, seconds: float, most: int) -> int:
        nonlocal now
        count = 0
        for _ in budget.rounds(most):
            now += seconds
            count += 1
        return count

    budget = Budget(30)
    budget.plan(3)
    assert rounds_of(budget, 3, 60) == 3, "10 s are its share"
    assert rounds_of(budget, 50, 60) == 1, "no time, and yet a figure"
    assert rounds_of(budget, 1, 60) == 1
    assert rounds_of(Budget(), 1e6, 60) == 60, "without a limit all of them"


@pytest.mark.full
def test_a_part_with_no_time_at_all_still_leaves_its_figures() -> None:
    found = run_part(Part("build_times", "", 1), quick=True, share_s=0.0, left_s=300)
    assert "failed" not in found, found
    each = dict(figures(found["results"]))
    assert each and all(figure["n"] == 1 for figure in each.values())


def test_one_part_can_be_measured_alone_and_the_others_stay(toy: Path) -> None:
    assert main(["--out", str(toy)]) == 1
    assert main(["--out", str(toy), "--only", "broken"]) == 1
    assert json.loads((toy / "results.json").read_text())["toy"]["speedup"]["value"] == 3.0


def test_an_unknown_part_is_refused_with_those_there_are(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--out", str(toy), "--only", "toys"])
    assert "no part toys: there are toy, broken" in capsys.readouterr().err


def test_a_missed_target_fails_a_run_but_not_a_quick_one(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "TARGETS", (Target("toy.speedup", "", at_least=4),))
    assert main(["--out", str(toy), "--only", "toy"]) == 1
    assert main(["--out", str(toy), "--only", "toy", "--quick"]) == 0


def test_the_page_asks_for_nothing_outside_itself_and_escapes_what_it_shows(toy: Path) -> None:
    main(["--out", str(toy)])
    text = (toy / "index.html").read_text().replace('<link rel="icon" href="data:,">', "")
    assert text.count("<svg") == 1 and "3 (n 3), met" in text and "&lt;boom&gt;" in text and "a &amp; b" in text
    assert not any(word in text for word in ("http", "src=", "href=", "<script"))


def test_a_part_runs_in_its_own_process_and_is_stopped_when_the_run_is_over() -> None:
    assert "stopped after 0 s" in run_part(Part("decode", "", 1), quick=True, share_s=1, left_s=0)["failed"]


def test_a_part_that_raises_says_why() -> None:
    found = run_part(Part("no_such_part", "", 60), quick=True, share_s=60, left_s=60)
    assert "No module named 'bench.no_such_part'" in found["failed"]


# %%
@pytest.mark.parametrize("px", [96, 120])
def test_both_ways_of_decoding_end_in_the_same_kind_of_tensor(px: int, tmp_path: Path) -> None:
    """A comparison of unlike things would prove nothing."""
    import numpy as np
    from PIL import Image

    soft = Image.fromarray(np.random.default_rng(0).integers(0, 255, (6, 12, 3), np.uint8)).resize((400, 200))
    soft.save(tmp_path / "a.jpg", quality=95)
    ours, usual = our_tensor(px)(tmp_path / "a.jpg"), usual_tensor(px)(tmp_path / "a.jpg")
    assert ours.shape == usual.shape == (3, px, px) and ours.dtype == usual.dtype
    assert (ours - usual).abs().mean() < 0.05


def test_the_keys_that_the_issue_names_are_judged() -> None:
    assert {"decode.384.speedup", "cache.read_speedup"} <= {target.key for target in TARGETS}
    assert dict(figures({"a": {"b": ratio([1.0], [1.0])}})).keys() == {"a.b"}


def test_the_views_that_are_measured_are_those_of_the_recipes() -> None:
    from bench import overhead, seed_way
    from kernel_src.competitions.held_recipes import EXPERIMENTS
    from kernel_src.data.trained_views import views
    from kernel_src.recipes.changes import changed

    for tta, count in seed_way.VIEWS.items():
        assert len(views(changed(EXPERIMENTS["v5"], {"predict.tta": tta}))) == count
    counts = {of: len(views(changed(EXPERIMENTS[of], {"predict.tta": tta}))) for of, tta in overhead.SYMMETRIES.items()}
    assert counts == {"v5": 8, "v7": 1, "v8": 1}
