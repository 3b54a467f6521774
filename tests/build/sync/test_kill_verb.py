"""kill -9 on the whole command at any moment: sources old or new, a backup, and the next sync completes."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.push.desk import copy_kit

SLUG = "i2b-demo-infer"
EDITS = {  # in the notebook, and so in these sources
    "kernel_src/common/mounts.py": ("TREE_LINES = 60", "TREE_LINES = 61"),
    "kernel_src/common/device.py": ("MATMUL_SIZE = 64", "MATMUL_SIZE = 65"),
    "kernel_src/kernels/infer.py": ("RESERVE_S = 900", "RESERVE_S = 901"),
}


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


def kill_and_go_on(kit: Kit, after_s: float) -> str:
    """Kill a sync, look, sync again; return how the kill left the sources."""
    kit.put_back()
    process = kit.sync()
    time.sleep(after_s)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    now = kit.now()
    assert all(now[where] in (kit.old[where], kit.new[where]) for where in EDITS)  # none is torn
    left = "old" if now == kit.old else "new" if now == kit.new else "between"
    if left != "old":
        folders = [kit.folder / "out/sync/pending", *(kit.folder / "out/sync/backup").glob("*")]
        newest = max((one for one in folders if one.exists()), key=lambda one: (one.name == "pending", one.name))
        names = json.loads((newest / "files.json").read_text())
        assert {where: (newest / "old" / name).read_text() for where, name in names.items()} == kit.old
    again = kit.sync()
    _, said = again.communicate()
    assert again.returncode == 0, said
    assert kit.now() == kit.new
    assert not (kit.folder / "out/sync/pending").exists()
    return left


def length_of_a_sync(kit: Kit) -> float:
    start = time.perf_counter()
    process = kit.sync()
    _, said = process.communicate()
    assert process.returncode == 0 and kit.now() == kit.new, said
    return time.perf_counter() - start


@pytest.mark.full
def test_a_sync_killed_at_twenty_random_moments(kit: Kit) -> None:
    whole_s, choice, left = length_of_a_sync(kit), random.Random(), []
    for number in range(22):  # every part of its time, most often the end, when it writes
        share = (number + choice.random()) / 8 if number < 8 else 0.8 + 0.3 * choice.random()
        left.append(kill_and_go_on(kit, share * whole_s))
    print(left)
    assert "old" in left


@pytest.mark.full
def test_a_sync_killed_in_the_middle_and_towards_its_end(kit: Kit) -> None:
    whole_s = length_of_a_sync(kit)
    for share in (0.5, 0.95):
        kill_and_go_on(kit, share * whole_s)
