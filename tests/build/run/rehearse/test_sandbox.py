"""The sandbox holds whoever starts it, says why where it cannot, and goes with the process that made it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from build.core.errors import UsageError
from build.run.rehearse import sandbox
from build.run.rehearse.sandbox import Isolation, best_isolation, choose_isolation
from build.run.rehearse.scratch import LOCK, remove_leftovers, scratch_folder
from tests.build.run.rehearse.toys import make_competition, make_notebook

ROOT = Path(__file__).parents[4]


def test_where_namespaces_can_be_had_they_are_used() -> None:
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-rmnp", "--fork", "true"], check=False).returncode != 0:
        pytest.skip("util-linux's unshare cannot make namespaces here either")
    assert best_isolation().namespace, best_isolation().reason


def test_where_the_system_forbids_namespaces_the_guard_takes_over_and_the_reason_is_given() -> None:
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-Ur", "true"], check=False).returncode != 0:
        pytest.skip("needs util-linux's unshare and user namespaces, to forbid namespaces to a child")
    code = "from build.run.rehearse.sandbox import *; import json; print(json.dumps(best_isolation().as_json()))"
    forbid = f"echo 0 > /proc/sys/user/max_net_namespaces && exec {sys.executable} -c '{code}'"
    done = subprocess.run([unshare, "-Ur", "sh", "-c", forbid], cwd=ROOT, capture_output=True, text=True)
    described = json.loads(done.stdout or done.stderr)
    assert (described["network"], described["input"]) == ("guard", "hashed before and after")
    assert "unshare: ENOSPC" in described["reason"]


def test_namespaces_that_were_asked_for_by_name_are_never_silently_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "best_isolation", lambda wanted="auto": Isolation(False, False, "not today"))
    assert choose_isolation("auto").as_json()["reason"] == "not today"
    with pytest.raises(UsageError, match="not today"):
        choose_isolation("namespace")


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGKILL])
def test_killing_the_parent_ends_the_notebook_and_leaves_no_mount(
    tmp_path: Path, isolation: str, sign: signal.Signals
) -> None:
    data = make_competition(tmp_path / "data")
    cell = "import subprocess\nPath('started').touch()\nsubprocess.run(['sleep', '300'])"
    notebook = make_notebook(tmp_path / "n", [cell])
    code = (
        # A shell that starts a job in the background lets it ignore Ctrl-C; CI may be such a shell.
        "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from pathlib import Path\nfrom build.run.rehearse import rehearse\n"
        f"rehearse(Path({str(notebook)!r}), data=Path({str(data)!r}), out=Path({str(tmp_path / 'out')!r}), "
        f"isolation={isolation!r})"
    )
    environment = os.environ | {"TMPDIR": str(tmp_path)}  # a SIGKILL leaves its plain files behind: not in /tmp
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
    started = tmp_path / "out/.mock/kaggle/working/started"
    try:
        wait_until(started.exists, limit_s=60)
        family = psutil.Process(parent.pid).children(recursive=True)
        wait_until(lambda: any(member.name() == "sleep" for member in living(family, parent)), limit_s=20)
        family = psutil.Process(parent.pid).children(recursive=True)
        assert len(family) >= 4, "launcher, papermill, kernel and the sleep that it started"
    finally:
        parent.send_signal(sign)
        parent.wait(timeout=20)
    wait_until(lambda: not [member for member in family if is_alive(member)], limit_s=20)
    mounts = Path("/proc/self/mountinfo").read_text()
    assert str(tmp_path) not in mounts and "i2b-rehearsal-" not in mounts
    left = list(tmp_path.glob("i2b-rehearsal-*"))
    if sign == signal.SIGINT:
        assert not (tmp_path / "out/.mock").exists() and not left, "Ctrl-C cleans up as well"
    else:
        assert remove_leftovers(tmp_path) == left and not list(tmp_path.glob("i2b-rehearsal-*")), "the next run does"


def test_of_the_temporary_folder_only_what_a_killed_rehearsal_left_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / LOCK).touch()
    others = {"plain": precious, "i2b-rehearsal-link": tmp_path / "i2b-rehearsal-link"}
    others["i2b-rehearsal-link"].symlink_to(precious)
    for name in ("without-lock", "open-to-all", "lock-is-a-link", "lock-is-a-pipe"):
        folder = others[name] = tmp_path / f"i2b-rehearsal-{name}"
        folder.mkdir(mode=0o700)
    others["open-to-all"].chmod(0o777)
    (others["open-to-all"] / LOCK).touch()
    (others["lock-is-a-link"] / LOCK).symlink_to(precious / LOCK)
    os.mkfifo(others["lock-is-a-pipe"] / LOCK)
    dead = tmp_path / "i2b-rehearsal-dead"
    dead.mkdir(mode=0o700)
    (dead / LOCK).touch()
    (dead / "box").mkdir()
    (dead / "box" / "out").symlink_to(precious)
    (dead / "box" / "locked").mkdir(mode=0o000)
    with scratch_folder() as running:
        assert not dead.exists()
        with scratch_folder():
            assert running.root.is_dir(), "another rehearsal that runs is left alone"
    assert not running.root.exists()
    os.unlink(others.pop("lock-is-a-pipe") / LOCK)
    assert all(os.path.lexists(path) for path in others.values()) and (precious / LOCK).exists()


def wait_until(condition: object, *, limit_s: float) -> None:
    """Poll a condition; fails when it does not come true in time."""
    end = time.monotonic() + limit_s
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, f"not within {limit_s} s"
        time.sleep(0.05)


def living(family: list[psutil.Process], parent: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """List the parent's descendants as of now."""
    return psutil.Process(parent.pid).children(recursive=True) or family


def is_alive(process: psutil.Process) -> bool:
    """Say whether a process runs; a zombie that nobody buries in this container does not."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
