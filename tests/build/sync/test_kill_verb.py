"""kill -9 on the whole command, before each of its writes and by the clock: sources old or new, a backup, and the
next sync completes.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.build.kaggle.desk import copy_kit

SLUG = "i2b-demo-infer"
EDITS = {  # in the notebook, and so in these sources
    "kernel_src/runtime/mounts.py": ("TREE_LINES = 60", "TREE_LINES = 61"),
    "kernel_src/runtime/device.py": ("MATMUL_SIZE = 64", "MATMUL_SIZE = 65"),
    "kernel_src/kernels/infer.py": ("RESERVE_S = 900", "RESERVE_S = 901"),
}

# Runs the verb once per line of its input in a fork of its own, which is killed at its n-th change: before it opens a
# file for writing, or before it renames one.
FORKS = """
import os, signal, sys
import build.cli, build.notebooks.metadata, build.notebooks.builder
from build.sync.notebook_sync import look
from pathlib import Path

look(Path(sys.argv[2]))  # reads; so each fork has the sources parsed
HERE = os.getcwd() + os.sep

def changes(event, arguments):
    if event == "open":
        writes = isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        return writes and isinstance(arguments[0], str | bytes | os.PathLike) and inside(arguments[0])
    return event == "os.rename" and inside(arguments[0])

def inside(path):
    return os.path.abspath(os.fsdecode(path)).startswith(HERE)

for line in sys.stdin:
    pid = os.fork()
    if not pid:
        seen = 0

        def watch(event, arguments):
            global seen
            if changes(event, arguments):
                seen += 1
                if seen == int(line):
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(watch)
        code = 0
        try:
            build.cli.main()
        except SystemExit as ended:
            code = ended.code or 0
        sys.stderr.write(f"changes {seen}\\n")
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(code)
    print("status", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


class Kit:
    """A copy of the kit with an edited copy of a notebook."""

    def __init__(self, folder: Path) -> None:
        self.folder = copy_kit(folder)
        self.command("notebooks", "--experiment", "demo").communicate()
        text = (folder / "notebooks" / SLUG / f"{SLUG}.ipynb").read_text()
        for old, new in EDITS.values():
            assert text.count(old) == 1
            text = text.replace(old, new)
        (folder / f"{SLUG}.ipynb").write_text(text)
        self.old = {where: (folder / where).read_text() for where in EDITS}
        self.new = {where: self.old[where].replace(*edit) for where, edit in EDITS.items()}

    def command(self, *arguments: str) -> "subprocess.Popen[str]":
        pipe = subprocess.PIPE
        command = [sys.executable, "-m", "build", *arguments]
        return subprocess.Popen(command, cwd=self.folder, stdout=pipe, stderr=pipe, text=True)

    def sync(self) -> "subprocess.Popen[str]":
        return self.command("sync", f"{SLUG}.ipynb")

    def now(self) -> dict[str, str]:
        return {where: (self.folder / where).read_text() for where in EDITS}

    def put_back(self) -> None:
        for where, text in self.old.items():
            (self.folder / where).write_text(text)


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Kit:
    return Kit(tmp_path_factory.mktemp("kill") / "kit")


class Forks:
    """Syncs of the kit's edited notebook, each a process of its own that starts with everything imported."""

    def __init__(self, kit: Kit) -> None:
        self.errors = (kit.folder / "stderr.txt").open("w+")
        command = [sys.executable, "-c", FORKS, "sync", f"{SLUG}.ipynb"]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, cwd=kit.folder, stdin=pipe, stdout=pipe, stderr=self.errors, text=True)

    def sync(self, killed_before: int = 0) -> int:
        """Run one, killed before that change of a file; return its exit status."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(f"{killed_before}\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            if line.startswith("status "):
                return int(line.split()[1])
        raise AssertionError(self.said())

    def said(self) -> str:
        return (Path(self.errors.name)).read_text()

    def end(self) -> None:
        self.process.communicate()
        self.errors.close()


def look_at_what_is_left(kit: Kit) -> str:
    """Tell how a kill left the sources: none is torn, and where one is new the old ones are kept."""
    now = kit.now()
    assert all(now[where] in (kit.old[where], kit.new[where]) for where in EDITS)
    left = "old" if now == kit.old else "new" if now == kit.new else "between"
    if left != "old":
        folders = [kit.folder / "out/sync/pending", *(kit.folder / "out/sync/backup").glob("*")]
        newest = max((one for one in folders if one.exists()), key=lambda one: (one.name == "pending", one.name))
        names = json.loads((newest / "files.json").read_text())
        assert {where: (newest / "old" / name).read_text() for where, name in names.items()} == kit.old
    return left


def is_synced(kit: Kit) -> bool:
    return kit.now() == kit.new and not (kit.folder / "out/sync/pending").exists()


@pytest.mark.full
def test_a_sync_killed_before_each_of_its_writes(kit: Kit) -> None:
    forks = Forks(kit)
    try:
        assert forks.sync() == 0 and is_synced(kit), forks.said()
        changes = int(forks.said().split("changes ")[1].split()[0])
        left = []
        for number in range(1, changes + 1):
            kit.put_back()
            assert forks.sync(killed_before=number) == -signal.SIGKILL
            left.append(look_at_what_is_left(kit))
            assert forks.sync() == 0 and is_synced(kit), forks.said()
    finally:
        forks.end()
    print(changes, left)
    assert changes >= 22 and left[0] == "old" and left[-1] == "new" and "between" in left
    assert left == sorted(left, key=["old", "between", "new"].index)


@pytest.mark.full
def test_a_sync_killed_by_the_clock(kit: Kit) -> None:
    kit.put_back()
    start = time.perf_counter()
    whole = kit.sync()
    _, said = whole.communicate()
    whole_s = time.perf_counter() - start
    assert whole.returncode == 0 and is_synced(kit), said
    for share in (0.5, 0.95):
        kit.put_back()
        process = kit.sync()
        time.sleep(share * whole_s)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        look_at_what_is_left(kit)
        again = kit.sync()
        _, said = again.communicate()
        assert again.returncode == 0 and is_synced(kit), said
