"""The command line as a whole: each verb says how it is used, and asking for help loads nothing heavy."""

import html
import inspect
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from build import cli
from build.cli import app
from build.core.errors import UsageError
from kernel_src.competition.choice import chosen_competition

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "numpy", "pandas", "timm", "nbformat", "requests", "kaggle", "rich", "sqlite3", "optuna")
VERBS = typer.main.get_command(app).commands
EXAMPLE = re.compile(r"\b(python -m build (.+?))(?:, then|$)")
PAGE = ROOT / "docs" / "commands.md"
PAGE_HEAD = """# Commands

For whoever looks for a command: every verb of `python -m build`, in the groups of `python -m build --help`. Each verb's
own `--help` has its options; `make help` lists the shorter doors to the usual ones. Written from the command line by
tests/build/test_cli.py: do not edit.
"""


def examples(name: str) -> list[str]:
    """Return the commands that a verb's help gives, each in one line."""
    lines = [one for one in (VERBS[name].help or "").splitlines() if one.startswith(cli.EXAMPLE)]
    return [command for line in lines for part in line.split(", then ") for command, _ in EXAMPLE.findall(part)]


def test_help_lists_every_verb_and_loads_nothing_that_takes_time() -> None:
    script = f"""
import sys
from build.cli import main
sys.argv = ["build", "--help"]
try:
    main()
finally:
    print("LOADED", [name for name in {HEAVY} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "LOADED []" in done.stdout
    sections = dict(re.findall(r"^([A-Z][a-z]+):\n((?:  .*\n)+)", done.stdout, re.MULTILINE))
    listed = {group: re.findall(r"^  ([a-z-]+) ", text, re.MULTILINE) for group, text in sections.items()}
    del listed["Options"]
    assert list(listed) == list(cli.VERBS) == ["Build", "Run", "Train", "Push", "Edit", "Judge"]
    assert [name for names in listed.values() for name in names] == list(VERBS)


def test_help_prints_each_example_whole_on_one_line_to_be_copied() -> None:
    for name in VERBS:
        printed = CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "80"}).output.splitlines()
        assert all(
            any(line.strip().startswith(cli.EXAMPLE) and one in line for line in printed) for one in examples(name)
        )


def test_every_verb_has_an_example_that_begins_with_itself() -> None:
    for name in VERBS:
        assert examples(name), name
        assert all(shlex.split(one)[3] == name for one in examples(name)), name


@pytest.mark.parametrize("example", [one for name in VERBS for one in examples(name)])
def test_every_example_is_parsed_down_to_the_call(example: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, *words = shlex.split(example)[3:]
    calls: list[dict[str, Any]] = []
    function = next(one.callback for one in app.registered_commands if one.name == name and one.callback)
    monkeypatch.setattr(VERBS[name], "callback", lambda **values: calls.append(values))
    VERBS[name].main(words, standalone_mode=False)
    (given,) = calls
    inspect.signature(function).bind(**given)


def test_the_list_of_verbs_fits_a_terminal_of_80_columns() -> None:
    listed = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "80"}).output
    assert all(f"  {name} " in listed for name in VERBS)
    assert "..." not in listed.partition("Build:")[2], "a line was cut short"


def commands_page() -> str:
    """Write the page: one table per group, of command, what it does, and an example."""
    lines = [PAGE_HEAD]
    for group in cli.VERBS:
        lines += [f"## {group}", "", "| command | what it does | example |", "|---|---|---|"]
        for command in app.registered_commands:
            if command.rich_help_panel == group:
                first = inspect.cleandoc(VERBS[command.name or ""].help or "").partition("\n")[0]
                shown = "<br>".join(f"`{one}`" for one in examples(command.name or ""))
                lines.append(f"| `{command.name}` | {html.escape(first, quote=False)} | {shown} |")
        lines.append("")
    return "\n".join(lines)


def test_the_page_of_commands_is_what_the_command_line_says() -> None:
    page = commands_page()
    stale = not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != page
    if stale:
        PAGE.write_text(page, encoding="utf-8")
    assert not stale, "docs/commands.md was stale and is written anew: look at it, and commit it"


def test_the_option_chooses_before_the_verb_runs_and_a_contradiction_stops_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    seen = []

    def train_verb(experiment: str, data: Path) -> None:
        seen.append((chosen_competition(), experiment, str(data)))

    train = cli.choosing(train_verb, "train")
    train(competition="", experiment="v5", data=None)
    train(competition="", experiment="paws", data=Path("d"))
    train(competition="leaf", experiment="", data=None)
    train(competition="", experiment="", data=None)
    assert seen == [
        ("biomass", "v5", "out/demo/competition"),
        ("paws", "paws", "d"),
        ("leaf", "leaf", "out/demo/leaf/competition"),
        ("biomass", "demo", "out/demo/competition"),
    ]
    with pytest.raises(UsageError, match="one command works on one competition"):
        train(competition="leaf", experiment="v1", data=None)


def test_ctrl_c_is_no_failed_check(capsys: pytest.CaptureFixture[str]) -> None:
    def check_verb() -> None:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as ended:
        cli.choosing(check_verb, "check")()
    assert ended.value.code == 130 and capsys.readouterr().err == "\ncheck: stopped\n"
