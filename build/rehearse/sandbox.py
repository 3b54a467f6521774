"""The sandbox: the isolation this machine allows, the environment of a Kaggle session, the process that runs in it."""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from build.mock import MockKaggle
from build.problems import WrongUse
from build.rehearse.launcher import SETUP_FAILED

HERE = Path(__file__).resolve().parent
Device = Literal["real", "p100"]
# All that is passed on of the user's environment; neither credentials nor a PYTHONPATH that Kaggle would not have.
PASSED_ON = ("LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS")


@dataclass(frozen=True)
class Isolation:
    """What keeps the notebook away from the network and from its input."""

    namespace: bool  # network and mounts of its own
    pid: bool  # and process ids, so that nothing survives the end of it
    reason: str = ""  # why not, where it is not

    def as_json(self) -> dict[str, str]:
        """Describe it for the report."""
        described = {
            "network": "namespace" if self.namespace else "guard",
            "input": "read-only mount" if self.namespace else "hashed before and after",
            "processes": "namespace" if self.pid else "killed by parent",
        }
        return described | ({"reason": self.reason} if self.reason else {})


@dataclass(frozen=True)
class Scratch:
    """The files that a rehearsal and its sandbox exchange; all throw-away."""

    root: Path

    def __getattr__(self, name: str) -> Path:
        """Name a file by its role: `scratch.progress`, `scratch.events`, …."""
        if name.startswith("_"):
            raise AttributeError(name)
        return self.root / name


@cache
def best_isolation() -> Isolation:
    """Try what this machine allows, by doing it: namespaces with process ids, without, or only the guard."""
    reason = "namespaces are not to be had on this system"
    if not sys.platform.startswith("linux"):
        return Isolation(False, False, f"{reason}: {sys.platform} is not Linux")
    for pid in (True, False):
        with tempfile.TemporaryDirectory(prefix="rehearse-") as folder:
            scratch = Scratch(Path(folder))
            mock = MockKaggle(scratch.root / "mock")
            for part in (mock.input, mock.working):
                part.mkdir(parents=True)
            argv = ["/bin/sh", "-c", "! touch /kaggle/input/x 2>/dev/null && test -d /proc/$$"]
            process = launch(argv, {}, Isolation(True, pid), mock, scratch)
            if process.wait() == 0:
                return Isolation(True, pid)
            reason = setup_error(scratch) or reason
    return Isolation(False, False, reason)


def choose_isolation(wanted: str) -> Isolation:
    """Return the best isolation for "auto", the fallback for "guard".

    Raises:
        WrongUse: another word, or "namespace" where it cannot be had.
    """
    if wanted == "guard":
        return Isolation(False, False, "asked for with --isolation guard")
    if wanted not in ("auto", "namespace"):
        raise WrongUse(f"--isolation {wanted}: it is auto, namespace or guard")
    best = best_isolation()
    if wanted == "namespace" and not best.namespace:
        raise WrongUse(f"--isolation namespace: {best.reason}; use --isolation auto")
    return best


def kaggle_environment(
    scratch: Scratch, mock: MockKaggle, isolation: Isolation, *, rerun: bool, device: Device
) -> dict[str, str]:
    """Prepare the environment variables of the session, and the kernelspec that loads the guard."""
    python = sys.executable
    home, temporary, jupyter = scratch.home, scratch.tmp, scratch.jupyter
    kernelspec = jupyter / "kernels" / "python3"
    for folder in (home, temporary, kernelspec):
        folder.mkdir(parents=True, exist_ok=True)
    guard = {
        "events": str(scratch.events),
        "stacks": str(scratch.stacks),
        "refuse": not isolation.namespace,
        "device": device,
    }
    spec = {
        "argv": [python, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": "Python 3",
        "language": "python",
        "env": {"PYTHONPATH": str(HERE / "guard"), "KIT_GUARD": json.dumps(guard)},
    }
    (kernelspec / "kernel.json").write_text(json.dumps(spec))
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    environment |= {
        "PATH": os.pathsep.join([str(Path(python).parent), "/usr/local/bin", "/usr/bin", "/bin"]),
        "HOME": str(home),
        "TMPDIR": str(temporary),
        "JUPYTER_PATH": str(jupyter),
        "JUPYTER_PREFER_ENV_PATH": "0",
        "PYTHONUNBUFFERED": "1",
        "KAGGLE_KERNEL_RUN_TYPE": "Batch",
    }
    if rerun:
        environment["KAGGLE_IS_COMPETITION_RERUN"] = "1"
    if not isolation.namespace:
        environment["KIT_KAGGLE_ROOT"] = str(mock.root)
    return environment


def start_notebook(
    notebook: Path,
    executed: Path,
    *,
    scratch: Scratch,
    mock: MockKaggle,
    isolation: Isolation,
    rerun: bool,
    device: Device,
) -> subprocess.Popen[bytes]:
    """Start papermill on the notebook, inside the sandbox; returns at once."""
    cwd = "/kaggle/working" if isolation.namespace else str(mock.working)
    settings = {
        "notebook": str(notebook),
        "executed": str(executed),
        "cwd": cwd,
        "progress": str(scratch.progress),
        "output": str(scratch.output),
        "result": str(scratch.result),
    }
    scratch.settings.write_text(json.dumps(settings))
    environment = kaggle_environment(scratch, mock, isolation, rerun=rerun, device=device)
    # -P: the folder of runner.py must not become importable
    argv = [sys.executable, "-P", str(HERE / "runner.py"), str(scratch.settings)]
    return launch(argv, environment, isolation, mock, scratch)


def launch(
    argv: list[str], environment: dict[str, str], isolation: Isolation, mock: MockKaggle, scratch: Scratch
) -> subprocess.Popen[bytes]:
    """Start `argv` in the sandbox by way of launcher.py; its output goes to `scratch.log`."""
    scratch.rootfs.mkdir(exist_ok=True)
    plan = {
        "namespace": isolation.namespace,
        "pid": isolation.pid,
        "parent": os.getpid(),
        "rootfs": str(scratch.rootfs),
        "kaggle": {path.name: str(path) for path in sorted((mock.root / "kaggle").iterdir())},
        "cwd": "/kaggle/working" if isolation.namespace else str(mock.working),
        "argv": argv,
        "env": environment,
        "status": str(scratch.status),
        "counters": str(scratch.counters),
    }
    scratch.plan.write_text(json.dumps(plan))
    with scratch.log.open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", str(HERE / "launcher.py"), str(scratch.plan)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches us alone; we then end the sandbox ourselves
        )


def setup_error(scratch: Scratch) -> str:
    """Say why the sandbox could not be set up; empty if it could."""
    return str(json.loads(scratch.status.read_text())["error"]) if scratch.status.exists() else ""


__all__ = ["SETUP_FAILED", "Device", "Isolation", "Scratch", "best_isolation", "choose_isolation", "start_notebook"]
