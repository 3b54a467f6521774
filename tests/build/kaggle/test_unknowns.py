"""The table of what is unknown: complete, and the same on the page for the first real hour."""

import re
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest

from build.kaggle.preflight_stages import ASK
from build.kaggle.unknowns import ANSWERS_PLACE, STAGES, UNKNOWNS, Stage, stage_named, unknowns_of

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "first-real-hour.md"
BLOCK = re.compile(r"(<!-- (stages|unknowns): [^\n]*-->\n).*?(<!-- end -->)", re.DOTALL)


def folder_of(package: str) -> Path:
    """Where a package lies; importing kaggle would sign in."""
    spec = find_spec(package)
    assert spec and spec.origin
    return Path(spec.origin).parent


def stages_table() -> str:
    lines = ["| stage | what it does | cost |", "|---|---|---|"]
    lines += [f"| `{stage.command}` | {stage.does} | {stage.cost} |" for stage in STAGES]
    minutes = sum(stage.seconds for stage in STAGES) / 60
    hours = sum(stage.gpu_minutes for stage in STAGES)
    return "\n".join([*lines, "", f"Together about {minutes:.0f} minutes, {hours} GPU minutes, one submission.", ""])


def unknowns_table() -> str:
    lines = ["| name | unknown | why it matters | command | seconds, quota | kept in |", "|---|---|---|---|---|---|"]
    for one in UNKNOWNS:
        stage = stage_named(one.stage)
        command = stage.command if stage else one.command
        cost = stage.cost.removeprefix("about ") if stage else one.cost
        kept = f"`{ANSWERS_PLACE}`" if stage else f"`{one.kept}`" if " " not in one.kept else one.kept
        shown = f"`{command}`" if command else "none settles it"
        cells = (f"`{one.name}`", one.question, one.matters, shown, cost or "–", kept if one.kept or stage else "–")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def test_the_page_has_the_tables_as_they_are() -> None:
    tables = {"stages": stages_table(), "unknowns": unknowns_table()}
    before = PAGE.read_text(encoding="utf-8")
    after = BLOCK.sub(lambda found: found[1] + tables[found[2]] + found[3], before)
    assert [found[2] for found in BLOCK.finditer(before)] == ["stages", "unknowns"]
    if after != before:
        PAGE.write_text(after, encoding="utf-8")
    assert after == before, "docs/first-real-hour.md was stale and is written anew: look at it, and commit it"


def test_each_unknown_has_a_name_of_its_own_and_a_stage_that_there_is() -> None:
    names = [one.name for one in UNKNOWNS]
    assert len(set(names)) == len(names)
    assert {one.stage for one in UNKNOWNS} - {""} == {stage.name for stage in STAGES} == set(ASK)
    assert all(not (one.stage and one.command) for one in UNKNOWNS), "a stage has its own command"


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_the_page_names_each_stage_and_the_cheapest_come_first(stage: Stage) -> None:
    text = PAGE.read_text(encoding="utf-8").partition("<!-- stages")[0]
    assert stage.command in text or stage.name == "image"
    later = STAGES[STAGES.index(stage) :]
    cost = (stage.submissions, stage.gpu_minutes)
    assert all(cost <= (other.submissions, other.gpu_minutes) for other in later)
    assert unknowns_of(stage)


def test_what_limits_md_calls_unseen_is_in_the_table() -> None:
    section = (ROOT / "docs" / "limits.md").read_text().partition("## What could not be tried")[2]
    points = re.findall(r"^- ((?:.|\n  )*?)(?:;|\.)$", section.partition("`make preflight`")[0], re.MULTILINE)
    settled_by = {  # beginning of a point → the unknowns that are it
        "how Kaggle words limits": ["limits_in_words"],
        "how long a lost request": ["settling"],
        "what the site gives back": ["read_back"],
        "the store's resume": ["upload_resume", "upload_ready", "submission_list", "rules"],
    }
    assert len(points) == len(settled_by)
    for point, (beginning, names) in zip(points, settled_by.items(), strict=True):
        assert point.startswith(beginning)
        assert set(names) <= {one.name for one in UNKNOWNS}


def test_what_the_page_says_of_hosting_a_competition_is_in_the_client_that_is_installed() -> None:
    section = PAGE.read_text(encoding="utf-8").partition("## A private competition")[2]
    client, sdk = folder_of("kaggle"), folder_of("kagglesdk")
    sources = [client / "cli.py", client / "api" / "kaggle_api_extended.py", *sdk.glob("competitions/*/*.py")]
    assert f"`kaggle` {version('kaggle')} over `kagglesdk` {version('kagglesdk')}" in " ".join(section.split())
    text = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    names = set(re.findall(r"`([A-Za-z_]{4,})`", section))
    names |= {"competition-metadata.json", "--rerun", "--at"}
    ours = {"kaggle", "kagglesdk"}
    assert {name for name in names - ours if name not in text} == set()
    for words in re.findall(r"`kaggle competitions ([a-z ]+[a-z])(?= [A-Z-])", section):
        *group, verb = words.split()
        assert f'"{verb}",' in text and all(f'"{one}",' in text for one in group), words
    for name in ("CreateCompetition", "CreateCompetitionData", "LaunchCompetition", "UpdateCompetitionSettings"):
        assert f'"{name}"' in text
    assert '"UpdateCompetitionSolutionMapping"' not in text and "delete_competition(" not in text
