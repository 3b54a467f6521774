"""The sandbox: the isolation this machine allows, the environment of a Kaggle session, the process that runs in it."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from build.core.errors import UsageError
from build.run.mock import MockKaggle
from build.run.rehearse.scratch import Scratch, scratch_folder
from build.run.rehearse.view import BOX, HERE, KIT, PLAN_INSIDE, bubblewrap_words, find_bubblewrap, view_of

Device = Literal["real", "p100"]
# All that is passed on of the user's environment; neither credentials nor a PYTHONPATH that Kaggle would not have.
PASSED_ON = ("LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS")
PROBE_S = 60
ISOLATIONS = ("auto", "bubblewrap", "namespace", "guard")
NOT_KEPT_OUT = (
    "not kept out: the notebook can read and write whatever you can, your Kaggle key included, and reach the programs "
    "and sockets of this machine; rehearse a stranger's notebook where namespaces can be had"
)
# Run by each kind of sandbox before it is used: the main promises, and that our Python is there at all.
PROBE = """
import importlib.util, os, pathlib, socket, sys
status = dict(line.split(":\t") for line in pathlib.Path("/proc/self/status").read_text().splitlines() if ":\t" in line)
wrong = [name for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb") if int(status[name], 16)]
wrong += [] if status["NoNewPrivs"] == "1" else ["NoNewPrivs"]
wrong += [f"there is no {name}" for name in ("papermill", "ipykernel") if not importlib.util.find_spec(name)]
wrong += [f"{path} is there" for path in sys.argv[1:] if os.path.lexists(path)]
wrong += [f"interface {name}" for _, name in socket.if_nameindex() if name not in ("lo", "sit0", "tunl0", "ip6tnl0")]
for folder in ("/", "/usr", "/kaggle/input", "/kit", "/dev", "/proc/sys/kernel"):
    try:
        os.close(os.open(f"{folder}/hostname", os.O_CREAT | os.O_WRONLY))
        wrong.append(f"{folder} can be written to")
    except OSError:
        pass
for folder in ("/kaggle/working", "/tmp", "/dev/shm", os.environ["HOME"]):
    try:
        pathlib.Path(folder, "x").write_text("")
    except OSError as error:
        wrong.append(str(error))
print("; ".join(wrong))
sys.exit(bool(wrong))
"""


@dataclass(frozen=True)
class Isolation:
    """What keeps the notebook away from this machine, its network and its input."""

    namespace: bool  # network, mounts and interprocess communication of its own; no privileges
    pid: bool  # and process ids, so that nothing survives the end of it
    reason: str = ""  # why not, where it is not
    bubblewrap: str = ""  # the program that does it; our own launcher where there is none

    def as_json(self) -> dict[str, str]:
        """Describe it for the report."""
        described = {
            "network": "namespace" if self.namespace else "guard",
            "input": "read-only mount" if self.namespace else "hashed before and after",
            "files": "only what it needs, read-only but for its own folders" if self.namespace else NOT_KEPT_OUT,
            "processes": "namespace" if self.pid else "killed by parent",
        }
        if self.namespace:
            described["by"] = "bubblewrap" if self.bubblewrap else "the kit's launcher"
        return described | ({"reason": self.reason} if self.reason else {})


@cache
def best_isolation(wanted: str = "auto") -> Isolation:
    """Try what this machine allows, by doing it: bubblewrap, our launcher with process ids and without, else the guard.

    Each must pass the same probe. `wanted` restricts the choice to "bubblewrap" or "namespace", which is our launcher.
    """
    reason = "namespaces are not to be had on this system"
    if not sys.platform.startswith("linux"):
        return Isolation(False, False, f"{reason}: {sys.platform} is not Linux")
    program = find_bubblewrap()
    candidates = [Isolation(True, True, bubblewrap=program)] if program and wanted in ("auto", "bubblewrap") else []
    if wanted in ("auto", "namespace"):
        candidates += [Isolation(True, True), Isolation(True, False)]
    elif not program:
        reason = "there is no bwrap on the path (apt-get install bubblewrap)"
    reasons = []
    for candidate in candidates:
        if not (found := _probe(candidate)):
            return candidate
        reasons.append(found)
    return Isolation(False, False, "; ".join(dict.fromkeys(reasons)) or reason)


def _probe(candidate: Isolation) -> str:
    """Return what a sandbox does not keep, or why it cannot be set up; empty if it is as it should be."""
    with scratch_folder() as scratch:
        mock = MockKaggle(scratch.root / "mock")
        for part in (mock.input, mock.working, scratch.home):
            part.mkdir(parents=True)
        absent = [
            str(scratch.root),
            str(Path.home() / ".kaggle"),
            str(Path.home() / ".ssh"),
            "/run/user",
            "/etc/shadow",
        ]
        argv = [sys.executable, "-P", "-s", "-c", PROBE, *absent]
        environment = {"HOME": str(BOX / "home"), "PATH": "/usr/bin:/bin"}
        try:
            process = launch(argv, environment, candidate, mock, scratch)
        except (OSError, subprocess.CalledProcessError) as error:
            return str(error)
        try:
            status = process.wait(timeout=PROBE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return f"no answer from the sandbox within {PROBE_S} s"
        return "" if status == 0 else setup_error(scratch) or scratch.log.read_text(errors="replace").strip()[-500:]


def choose_isolation(wanted: str) -> Isolation:
    """Return the best isolation for "auto", the fallback for "guard", else the one that was asked for.

    Raises:
        UsageError: there is no such isolation, or this machine does not have it.
    """
    if wanted == "guard":
        return Isolation(False, False, "asked for with --isolation guard")
    if wanted not in ISOLATIONS:
        raise UsageError(f"--isolation {wanted}: it is {', '.join(ISOLATIONS[:-1])} or {ISOLATIONS[-1]}")
    best = best_isolation(wanted)
    if wanted != "auto" and not best.namespace:
        raise UsageError(f"--isolation {wanted}: {best.reason}; use --isolation auto")
    return best


def kaggle_environment(
    scratch: Scratch, mock: MockKaggle, isolation: Isolation, *, rerun: bool, device: Device
) -> dict[str, str]:
    """Prepare the environment variables of the session, and the kernelspec that loads the guard."""
    python = sys.executable
    kernelspec = scratch.jupyter / "kernels" / "python3"
    for folder in (scratch.home, scratch.tmp, kernelspec):
        folder.mkdir(parents=True, exist_ok=True)
    inside = scratch.box if not isolation.namespace else BOX
    guard = {
        "events": str(inside / "events"),
        "stacks": str(inside / "stacks"),
        "refuse": not isolation.namespace,
        "device": device,
    }
    spec = {
        "argv": [python, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": "Python 3",
        "language": "python",
        "env": {"PYTHONPATH": str((KIT if isolation.namespace else HERE) / "guard"), "KIT_GUARD": json.dumps(guard)},
    }
    (kernelspec / "kernel.json").write_text(json.dumps(spec))
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    environment |= {
        "PATH": os.pathsep.join([str(Path(python).parent), "/usr/local/bin", "/usr/bin", "/bin"]),
        "HOME": str(inside / "home"),
        "TMPDIR": "/tmp" if isolation.namespace else str(scratch.tmp),
        "JUPYTER_PATH": str(inside / "jupyter"),
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
    notebook: Path, *, scratch: Scratch, mock: MockKaggle, isolation: Isolation, rerun: bool, device: Device
) -> subprocess.Popen[bytes]:
    """Start papermill on the notebook, inside the sandbox; returns at once. The result will be `scratch.executed`."""
    inside = BOX if isolation.namespace else scratch.box
    names = ("notebook", "executed", "progress", "output", "result")
    settings = {name: str(inside / getattr(scratch, name).name) for name in names} | {"cwd": _working(isolation, mock)}
    scratch.settings.write_text(json.dumps(settings))
    shutil.copyfile(notebook, scratch.notebook)
    environment = kaggle_environment(scratch, mock, isolation, rerun=rerun, device=device)
    # -P: the folder of runner.py must not become importable
    runner = (KIT if isolation.namespace else HERE) / "runner.py"
    argv = [sys.executable, "-P", str(runner), str(inside / scratch.settings.name)]
    return launch(argv, environment, isolation, mock, scratch)


def _working(isolation: Isolation, mock: MockKaggle) -> str:
    return "/kaggle/working" if isolation.namespace else str(mock.working)


def launch(
    argv: list[str], environment: dict[str, str], isolation: Isolation, mock: MockKaggle, scratch: Scratch
) -> subprocess.Popen[bytes]:
    """Start `argv` in the sandbox by way of launcher.py; its output goes to `scratch.log`."""
    scratch.rootfs.mkdir(exist_ok=True)
    report = os.open(scratch.report, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_TRUNC, 0o600)
    plan = {
        "namespace": isolation.namespace,
        "enter": isolation.namespace and not isolation.bubblewrap,
        "pid": isolation.pid,
        "parent": None if isolation.bubblewrap else os.getpid(),
        "rootfs": str(scratch.rootfs),
        "cwd": _working(isolation, mock),
        "argv": argv,
        "env": environment,
        "report": report,
    }
    words, plan_file = [sys.executable, "-I", "-S", str(HERE / "launcher.py")], scratch.plan
    if isolation.namespace:
        view = view_of(mock, scratch.box, scratch.resolver)
        plan |= {name: getattr(view, name) for name in ("mounts", "links", "devices", "closed")}
        if isolation.bubblewrap:
            words = [*bubblewrap_words(isolation.bubblewrap, view, scratch.plan), *words[:-1], str(KIT / "launcher.py")]
            plan_file = PLAN_INSIDE
    scratch.plan.write_text(json.dumps(plan))
    try:
        with scratch.log.open("wb") as log:
            return subprocess.Popen(
                [*words, str(plan_file)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={},  # the launcher's own environment can be read inside: it holds nothing
                pass_fds=[report],
                start_new_session=True,  # Ctrl-C reaches us alone; we then end the sandbox ourselves
            )
    finally:
        os.close(report)


def launcher_report(scratch: Scratch) -> dict[str, object]:
    """Return what the launcher reported: `started`, `error`, `refused_packets`, each if it came to it."""
    lines = scratch.report.read_text(errors="replace").splitlines() if scratch.report.exists() else []
    return {name: value for line in lines for name, value in json.loads(line).items()}


def setup_error(scratch: Scratch) -> str:
    """Say why the sandbox could not be set up; empty if it could."""
    said = launcher_report(scratch)
    if "error" in said:
        return str(said["error"])
    if "started" in said:
        return ""
    return scratch.log.read_text(errors="replace").strip()[-500:] or "the launcher reported nothing"
