"""The law of the way back, on random edits: what is built from the synced sources is the edited notebook."""

import copy
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from build.core.errors import CheckFailed
from build.notebooks.writing import recover, write_all
from tests.build.sync.conftest import MAIN, Toy, shown
from tests.build.sync.restructuring import lines_of, restructure

ROOT = Path(__file__).resolve().parents[3]


def edit(toy: Toy, choice: random.Random, tag: str) -> str:
    """Make one edit as a person would; return a text that it brings in, once."""
    cells = toy.notebook["cells"]
    code = [c for c in cells if c["cell_type"] == "code" and "def " in c["source"]]
    prose = [c for c in cells if c["cell_type"] == "markdown"]
    kind = choice.choice(["comment", "function", "prose", "body", "split", "cell"])
    cell = choice.choice(code)
    lines = cell["source"].split("\n")
    if kind == "comment":
        places = [n for n, line in enumerate(lines) if n and line.strip() and not line.startswith(" ")]
        lines.insert(choice.choice(places or [len(lines)]), f"# {tag}")
        cell["source"] = "\n".join(lines)
    elif kind == "function":
        cell["source"] += f"\n\n\ndef {tag}(number):\n    return double(number)"
    elif kind == "prose":
        one = choice.choice(prose)
        head, note, rest = one["source"].partition("\n\n*Stitched from")
        one["source"] = f"{head}\n\nAlso {tag}.{note}{rest}"
    elif kind == "body":
        places = [n for n, line in enumerate(lines) if line.startswith("    return")]
        if places:
            lines.insert(choice.choice(places), f"    note = {tag!r}")
        else:  # a split left a cell without any function's end
            lines.append(f"# {tag}")
        cell["source"] = "\n".join(lines)
    elif kind == "split":
        places = [n for n, line in enumerate(lines) if n > 1 and line.startswith("def ") and lines[n - 1] == ""]
        cell["source"] += f"\n\n\n{tag} = 1"
        if places:
            at = choice.choice(places)
            cell["source"] = "\n".join(lines[:at]).rstrip()
            below = copy.deepcopy(cell) | {"id": tag, "metadata": {}}
            below["source"] = "\n".join(lines[at:]) + f"\n\n\n{tag} = 1"
            cells.insert(cells.index(cell) + 1, below)
    else:
        toy_cell = {"cell_type": "code", "id": tag, "metadata": {}, "outputs": [], "execution_count": None}
        cells.insert(cells.index(cell) + 1, toy_cell | {"source": f"def {tag}(number):\n    return number"})
    return tag


# Nothing is made smaller: that takes minutes where the seeds say all.
FOUND = [Phase.explicit, Phase.reuse, Phase.generate]


@settings(max_examples=15, deadline=None, phases=FOUND)
@given(st.integers(0, 10**9), st.integers(1, 4))
def test_building_from_the_synced_sources_gives_the_edited_notebook(seed: int, count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        toy, choice = Toy(Path(folder)), random.Random(seed)
        for number in range(count):
            edit(toy, choice, f"new_{number}")
        edited = copy.deepcopy(toy.notebook)
        result = toy.sync()
        once = toy.sources
        assert toy.sync().texts == {} and toy.sources == once  # twice equals once
        assert result.complete
        assert shown(toy.build()) == shown(edited)
        assert not toy.sync().edited  # sync(build(S)) changes nothing


@settings(max_examples=15, deadline=None, phases=FOUND)
@given(st.integers(0, 10**9), st.integers(1, 6))
def test_cells_deleted_merged_moved_or_swapped_are_written_back_or_are_refused_with_a_reason(
    seed: int, count: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        toy, choice = Toy(Path(folder)), random.Random(seed)
        for number in range(count):
            if choice.random() < 0.5:
                edit(toy, choice, f"new_{number}_")
                continue
            before, sources = copy.deepcopy(toy.notebook), toy.sources
            if restructure(toy, choice) and refused(toy):
                assert toy.sources == sources
                toy.notebook = before
        edited = copy.deepcopy(toy.notebook)
        toy.sync()
        once = toy.sources
        assert toy.sync().texts == {} and toy.sources == once
        assert lines_of(toy.build()) == lines_of(edited)
        assert not toy.sync().edited


REFUSALS = (
    "was removed from the notebook but is still used",  # deleted
    "nothing in the notebook needs this module any more",  # all but its Markdown was deleted
    "no module uses `import",  # what used it was deleted, and the imports cell still has it
    "is used above the cell that defines it",  # moved or swapped
    "cycle of imports",  # moved into another module
    "kernel_src.data.tool does not define",  # moved out of it, and read as an attribute of it
    "may be any of several cells",  # merged after the one beside it was moved
    "the edit does not fit the sources as they are now",  # moved to a module after it had been synced
)


def refused(toy: Toy) -> bool:
    """Whether the notebook as it is cannot be written back; the reasons are ones that people understand."""
    problems = toy.look().problems
    assert all(any(reason in problem.what for reason in REFUSALS) for problem in problems), problems
    return bool(problems)


class Life(RuleBasedStateMachine):
    """Weeks of work: edits in the notebook, edits in the sources, syncs and builds, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.toy = Toy(Path(self.folder.name))
        self.number = 0
        self.in_notebook: set[str] = set()
        self.in_sources: set[str] = set()
        self.deleted: set[str] = set()  # with their cells, since the last sync
        self.edited = False  # the notebook, since the last sync
        self.sources_edited = False  # since the last build

    def tag(self) -> str:
        self.number += 1
        return f"tag_{self.number:03d}_"

    @rule(seed=st.integers(0, 10**6))
    def edit_the_notebook(self, seed: int) -> None:
        self.in_notebook.add(edit(self.toy, random.Random(seed), self.tag()))
        self.edited = True

    @rule(seed=st.integers(0, 10**6))
    def restructure_the_notebook(self, seed: int) -> None:
        """Delete, merge, move or swap cells; what is refused is put back, as a person would."""
        before, sources = copy.deepcopy(self.toy.notebook), self.toy.sources
        done = restructure(self.toy, random.Random(seed))
        if done is None:
            return
        if refused(self.toy):
            with pytest.raises(CheckFailed):
                self.toy.sync()
            assert self.toy.sources == sources
            self.toy.notebook = before
            return
        text = "\n".join(cell["source"] for cell in self.toy.notebook["cells"])
        gone = {tag for tag in self.in_notebook if tag not in text}
        assert not gone or done[0] == "delete"
        self.in_notebook -= gone
        self.deleted |= gone
        self.edited = True

    @rule(name=st.sampled_from(["tool", "other"]))
    def edit_a_source(self, name: str) -> None:
        tag = self.tag()
        text = self.toy.text(name)
        marker = text.index("def ")
        self.toy.write(name, f"{text[:marker]}def {tag}(number):\n    return number\n\n\n{text[marker:]}")
        self.in_sources.add(tag)
        self.sources_edited = True

    @rule()
    def sync(self) -> None:
        before = self.toy.sources
        try:
            self.toy.sync()
        except CheckFailed as failed:
            # A conflict keeps everything where it is, and the notebook in out/; then somebody builds over it.
            reasons = ("changed the same lines differently", *REFUSALS)
            assert all(any(reason in problem.what for reason in reasons) for problem in failed.problems)
            assert self.toy.sources == before
            kept = [path.read_text() for path in (self.toy.root / "out/sync/kept").iterdir()]
            assert any(all(tag in text for tag in self.in_notebook) for text in kept)
            self.built()
            return
        self.in_sources -= self.deleted
        self.in_sources |= self.in_notebook
        sources = b"\n".join(self.toy.sources.values()).decode()
        assert not any(tag in sources for tag in self.deleted)
        self.deleted, self.edited = set(), False

    @rule()
    def build(self) -> None:
        """`make build`: only when everything in the notebook is in the sources."""
        if not self.edited:
            edited, alone = lines_of(self.toy.notebook), not self.sources_edited
            self.built()
            assert not alone or lines_of(self.toy.notebook) == edited

    def built(self) -> None:
        self.toy.build()
        self.in_notebook, self.deleted = set(self.in_sources), set()
        self.edited = self.sources_edited = False

    @invariant()
    def nothing_is_lost_or_doubled(self) -> None:
        sources = b"\n".join(self.toy.sources.values()).decode()
        notebook = "\n".join(cell["source"] for cell in self.toy.notebook["cells"])
        for tag in self.in_sources:
            assert sources.count(tag) == 1
        for tag in self.in_notebook:
            assert notebook.count(tag) == 1

    def teardown(self) -> None:
        self.folder.cleanup()


def test_a_sequence_of_edits_builds_and_syncs_loses_and_doubles_nothing() -> None:
    run_state_machine_as_test(
        Life, settings=settings(max_examples=3, stateful_step_count=20, deadline=None, phases=FOUND)
    )


@pytest.mark.full
def test_two_hundred_edits_builds_and_syncs_lose_and_double_nothing() -> None:
    run_state_machine_as_test(
        Life, settings=settings(max_examples=5, stateful_step_count=200, deadline=None, phases=FOUND)
    )


def test_a_sync_killed_at_any_moment_leaves_sources_old_or_new(tmp_path: Path) -> None:
    toy = Toy(tmp_path)
    old = toy.sources
    new = {where: content.decode() + f"# {'x' * 200_000}\n" for where, content in old.items() if content}
    script = (
        "import json, sys; from pathlib import Path; from build.notebooks.writing import write_all\n"
        "texts = json.loads(sys.stdin.readline()); print('go', flush=True); write_all(Path(sys.argv[1]), texts)"
    )
    seen = set()
    for delay_s in (0.0, 0.002, 0.004, 0.006, 0.01, 0.02, 0.05, 0.3):
        for where, content in old.items():
            (tmp_path / where).write_bytes(content)
        process = subprocess.Popen(
            [sys.executable, "-c", script, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
        )
        assert process.stdin and process.stdout
        process.stdin.write(json.dumps(new).encode() + b"\n")
        process.stdin.flush()
        process.stdout.readline()
        time.sleep(delay_s)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        recover(tmp_path)
        now = {where: toy.sources[where].decode() for where in new}
        assert now in ({where: old[where].decode() for where in new}, new)
        seen.add(now == new)
    assert seen == {True, False}


def test_a_write_interrupted_between_two_sources_is_finished_by_the_next_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy = Toy(tmp_path)
    old = toy.sources
    new = {where: content.decode() + "# more\n" for where, content in old.items() if content}
    from build.notebooks import writing

    put = writing.put

    def die_at_the_script(path: Path, content: bytes) -> None:
        if path == tmp_path / MAIN:
            raise KeyboardInterrupt
        put(path, content)

    monkeypatch.setattr(writing, "put", die_at_the_script)
    with pytest.raises(KeyboardInterrupt):
        write_all(tmp_path, new)
    monkeypatch.undo()
    backup = recover(tmp_path)
    assert {where: toy.sources[where].decode() for where in new} == new
    assert backup is not None and sorted(p.read_bytes() for p in (backup / "old").iterdir()) == sorted(
        old[where] for where in new
    )
