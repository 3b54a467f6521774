"""Make as the user's door: every value reaches the command as it was typed, whatever is in it, in every target.

A stand-in for `python -m build` and `python -m bench.run` records its arguments, in a checkout in a folder `a b`.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import typer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from build.cli import app
from build.kaggle.flow import PushOptions
from build.make import arguments, read_by, split

ROOT = Path(__file__).resolve().parents[2]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
OPTIONS = re.search(r"^PUSH_OPTIONS = (.*)$", MAKEFILE, re.MULTILINE)
VERBS = typer.main.get_command(app).commands
# target → the words that build/make.py gets, the module first
TARGETS = {
    target: ["build" if start == "$(KIT)" else start.split()[-1], *rest.split()]
    for target, start, rest in re.findall(
        r"^([a-z-]+):.*\n(?:\t@(?!\$\(KIT\)).*\n)*?\t@(\$\(KIT\)|\S+ -m build\.make \$@ [a-z.]+)(.*)$",
        MAKEFILE.replace("$(PUSH_OPTIONS)", OPTIONS[1] if OPTIONS else ""),
        re.MULTILINE,
    )
}
READ = {target: read_by(words) for target, words in TARGETS.items()}
SWITCHES = {word.partition("=")[2][:-2] for words in TARGETS.values() for word in words if re.search("=[A-Z]+=", word)}
LISTS = {word.rpartition("=")[2].partition(".")[0] for words in TARGETS.values() for word in words if "..." in word}
ATTACKS = [
    "/x/run$2",
    "cost $HOME of it",
    "$(touch HIT)",
    "$(shell touch HIT)",
    "${shell touch HIT}",
    "`touch HIT`",
    "$$(touch HIT)",
    "a; touch HIT",
    "a & touch HIT &",
    "a | touch HIT",
    "> HIT",
    "a\ntouch HIT",
    '" ; touch HIT ; "',
    "' ; touch HIT ; '",
    "$(eval x:=$(shell touch HIT))",
    'it\'s "so"',
    "two  words ",
    "50 % of #1",
    "a\\",
    "\\$x \\n",
    "-f",
    "--json",
    "--help",
    "~/x",
    "*",
    "a=b:c,d",
    "(",
    "$(",
    "Weide \u00e4\u00f6 \U0001f331",
    "a,b",
    "$@ $< $^ $(MAKE) $(KIT)",
]
RECORDER = """
import json, os, sys
json.dump(sys.argv[1:], open(os.environ["RECORD"], "w"))
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with the real Makefile and build/make.py, everything else recording."""
    root = tmp_path_factory.mktemp("make") / "a b"
    for package, module in (("build", "__main__.py"), ("bench", "run.py")):
        (root / package).mkdir(parents=True)
        (root / package / "__init__.py").touch()
        (root / package / module).write_text(RECORDER)
    shutil.copy(ROOT / "Makefile", root)
    shutil.copy(ROOT / "build" / "make.py", root / "build")
    (root / "build" / "environment.py").touch()
    (root / ".venv" / "bin").mkdir(parents=True)
    (root / ".venv" / "bin" / "python").symlink_to(sys.executable)
    return root


def make(
    checkout: Path, *words: str, environment: Mapping[str, str] | None = None, python: str = shutil.which("true") or ""
) -> tuple[list[str] | None, subprocess.CompletedProcess[str]]:
    """Run make and return what the command received, None if nothing was run, and how make ended."""
    record = checkout.parent / "record.json"
    record.unlink(missing_ok=True)
    clean = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")}
    settled = {"PYTHON": python} | clean | {"RECORD": str(record)} | dict(environment or {})
    done = subprocess.run(["make", *words], cwd=checkout, env=settled, capture_output=True, text=True, timeout=60)
    return (json.loads(record.read_text()) if record.exists() else None), done


def no_hit(checkout: Path) -> bool:
    return not list(checkout.parent.rglob("HIT*")) and not Path("HIT").exists()


def quoted_in_list(value: str) -> str:
    """Write one value as a list of one, as in a shell."""
    return "'" + value.replace("'", "'\"'\"'") + "'"


def values_of(target: str, shift: int) -> dict[str, str]:
    names = [name for name in dict.fromkeys(READ[target]) if name not in SWITCHES]
    return {name: ATTACKS[(shift + 5 * number) % len(ATTACKS)] for number, name in enumerate(names)}


def missing(target: str, received: list[str] | None, values: Mapping[str, str]) -> list[str]:
    """Return what should have been received for these values, each whole and behind its option, and was not."""
    found = (re.match(r"(--[a-z-]+=)?([A-Z]+)", word) for word in TARGETS[target][1:])
    wanted = [f"{word[1] or ''}{values[word[2]]}" for word in found if word and word[2] in values]
    return [argument for argument in wanted if argument not in (received or [])]


def attack(checkout: Path, target: str, values: Mapping[str, str], how: str) -> None:
    typed = {name: quoted_in_list(value) if name in LISTS else value for name, value in values.items()}
    words = [f"{name}={value}" for name, value in typed.items()] if how == "typed" else ["-e"] if how == "-e" else []
    received, done = make(checkout, target, *words, environment=None if how == "typed" else typed)
    assert done.returncode == 0, done.stderr
    assert missing(target, received, values) == []
    assert no_hit(checkout), (target, values)


def test_what_a_push_advises_goes_on_with_its_options(checkout: Path) -> None:
    options = PushOptions(experiment="demo", message="it's $5", submit=False, wait=False, again=True, overwrite=True)
    received, done = make(checkout, *shlex.split(options.command())[1:])
    assert received is not None and "push-inference" in received, done.stderr
    wanted = {"--experiment=demo", "--message=it's $5", "--no-submit", "--no-wait", "--overwrite"}
    assert wanted <= set(received) and "--again" not in received, "which would begin once more what is gone on with"
    submits = """make push-inference EXPERIMENT=demo MESSAGE='it'"'"'s $5' OVERWRITE=1"""
    assert options.command(submit=True, wait=True) == submits
    assert PushOptions(experiment="demo").command("push-training") == "make push-training EXPERIMENT=demo"


def test_every_target_that_reads_a_variable_is_known_here() -> None:
    assert len(TARGETS) >= 22
    named = set(re.findall(r"\b([A-Z]{3,})\b", " ".join(" ".join(words) for words in TARGETS.values())))
    assert named == {name for names in READ.values() for name in names}
    assert {"DIR", "SLUG", "MESSAGE", "PSEUDO", "MODELS", "PARTS", "STORAGE", "SPACE"} <= named


def test_no_recipe_lets_make_or_a_shell_read_a_variable() -> None:
    referenced = set(re.findall(r"\$[({]([A-Za-z_]+)[)}]", MAKEFILE)) - {"KIT", "PUSH_OPTIONS", "TYPED", "v"}
    assert referenced == set()
    assert set(re.findall(r"\$\$\{?([A-Za-z0-9_]+)", MAKEFILE)) == {"PYTHON", "1", "2"}  # 1 and 2 are awk's
    assert "$(shell" not in MAKEFILE


@pytest.mark.parametrize("target", [target for target in TARGETS if set(READ[target]) - SWITCHES])
def test_values_reach_the_command_as_typed(checkout: Path, target: str) -> None:
    for shift, how in enumerate(("typed", "typed", "environment", "-e")):
        attack(checkout, target, values_of(target, 3 * shift + len(target)), how)


@pytest.mark.full
@pytest.mark.parametrize("target", [target for target in TARGETS if set(READ[target]) - SWITCHES])
def test_every_value_reaches_the_command_in_every_variable(checkout: Path, target: str) -> None:
    for shift in range(len(ATTACKS)):
        attack(checkout, target, values_of(target, shift), "typed")
        if shift % 4 == 0:
            attack(checkout, target, values_of(target, shift), "environment")


TYPEABLE = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), min_size=1, max_size=40)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=TYPEABLE | st.text("$()`'\"\\ \n;&#%{}=:,-x", min_size=1), typed=st.booleans())
def test_any_text_arrives(checkout: Path, value: str, typed: bool) -> None:
    pair = {"MESSAGE": value, "EXPERIMENT": value}
    words = [f"{name}={text}" for name, text in pair.items()] if typed else []
    received, done = make(checkout, "push-inference", *words, environment=None if typed else pair)
    arrived = value.lstrip(" \t\n\v\f\r") if typed else value  # make drops blanks before a value that it is given
    if not arrived:
        assert done.returncode and "EXPERIMENT=… is missing" in done.stderr
    else:
        assert received == ["push-inference", f"--experiment={arrived}", f"--message={arrived}"]


@given(words=st.lists(TYPEABLE, min_size=1, max_size=4))
def test_a_list_is_what_was_quoted(words: list[str]) -> None:
    assert split("WEIGHTS", " ".join(map(quoted_in_list, words))) == words


def test_a_folder_with_spaces_is_one_word_without_quotes_if_it_is_there(tmp_path: Path) -> None:
    folder = tmp_path / "a b" / "it's"
    folder.mkdir(parents=True)
    assert split("WEIGHTS", str(folder)) == [str(folder)]
    assert split("MODELS", f"o/m/f/v/1={folder.parent}") == [f"o/m/f/v/1={folder.parent}"]
    assert split("WEIGHTS", f'"{folder}" other') == [str(folder), "other"]


def test_a_value_that_is_one_folder_or_two_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b", "a b"):
        (tmp_path / name).mkdir()
    with pytest.raises(Exception, match="one path and 2 others"):
        split("WEIGHTS", "a b")
    assert split("WEIGHTS", "'a b'") == ["a b"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("pull-kernel",), "EXPERIMENT=… is missing"),
        (
            ("pull-kernel", "SLUG=i2b-v1-infer"),
            "SLUG: no variable of this target, it reads COMPETITION, EXPERIMENT, KERNEL, YES",
        ),
        (("push-training", "EXPERIMENT="), "EXPERIMENT=… is missing"),
        (("push-training", "EXPERIMENT=v1", "AGAIN=yes"), "AGAIN=yes: give 0 or 1"),
        (("train", "EXPERIMNT=v5"), "EXPERIMNT: no variable of this target"),
        (("status", "EXPERIMENT=v5"), "EXPERIMENT: no variable of this target, it reads COMPETITION"),
        (("check", "EXPERIMENT=v5"), "it reads none"),
        (("infer", "WEIGHTS='a"), "No closing quotation"),
        (("train", "X$(shell touch HIT)=$(shell touch HIT)"), ""),
    ],
)
def test_what_cannot_be_meant_is_refused_in_a_line(checkout: Path, words: tuple[str, ...], said: str) -> None:
    received, done = make(checkout, *words)
    if said:
        assert (received, done.returncode) == (None, 2)
        assert said in done.stderr
        assert len(done.stderr.splitlines()) == 2  # ours, and make's own
    assert no_hit(checkout) or not said


def test_what_is_not_given_is_left_to_the_verb_which_knows_the_competition(checkout: Path) -> None:
    assert make(checkout, "train", "EXPERIMENT=v5")[0] == ["train", "--experiment=v5"]
    assert make(checkout, "rehearse", "COMPETITION=leaf", "KERNEL=train", "DATA=d")[0] == [
        "rehearse", "--competition=leaf", "--kernel=train", "--data=d",
    ]  # fmt: skip


def test_switches(checkout: Path) -> None:
    assert make(checkout, "push-inference", "EXPERIMENT=v1", "SUBMIT=0", "WAIT=0", "AGAIN=1", "OVERWRITE=0")[0] == [
        "push-inference", "--experiment=v1", "--no-wait", "--again", "--no-submit",
    ]  # fmt: skip
    assert make(checkout, "bench", "PARTS=a,b", "QUICK=1")[0] == ["--only=a,b", "--quick"]


def test_dry_make_runs_nothing(checkout: Path) -> None:
    received, done = make(checkout, "-n", "rehearse", "KERNEL=$(shell touch HIT)", "EXPERIMENT=$(shell touch HIT)")
    assert (received, done.returncode) == (None, 0)
    assert no_hit(checkout)


def test_the_interpreter_may_stand_in_a_folder_with_a_space(checkout: Path) -> None:
    python = checkout / "my python $x"
    python.write_text(f'#!/bin/sh\necho "set up by $0"\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    for how in ({"python": str(python)}, {"python": "none", "typed": f"PYTHON={python}"}):
        received, done = make(checkout, "status", *filter(None, [how.get("typed")]), python=how["python"])
        assert received == ["status"], done.stderr
        assert f"set up by {python}" in done.stdout


def test_every_target_gives_its_verb_what_it_takes() -> None:
    for target, (module, verb, *words) in TARGETS.items():
        if module != "build":
            continue
        sample = {name: "1" if name in SWITCHES else "7" for name in READ[target]} | {"KERNEL": "infer"}
        given_words, _ = arguments(words, sample)
        VERBS[verb].make_context(
            verb, given_words
        )  # parses, runs nothing; SystemExit or UsageError where it does not fit
        given_words, _ = arguments(words, sample | {name: "0" for name in SWITCHES})
        VERBS[verb].make_context(verb, given_words)
