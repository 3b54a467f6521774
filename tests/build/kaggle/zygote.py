"""Commands that start in no time: a process that has imported everything, and forks for each command.

A command of its own costs two seconds of importing Kaggle's client before its first request, and the kill test starts
hundreds. Here each is still a process of its own, with its own folder, environment, output and journal, and can be
killed at any instant; only the imports are shared. `python -m tests.build.kaggle.zygote` is the mother.
"""

import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]


@dataclass
class Command:
    """One command that runs, or has run."""

    pid: int
    folder: Path  # of its output
    mother: "Mother"
    returncode: int | None = None
    ended: threading.Event = field(default_factory=threading.Event)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def wait(self, timeout: float = 60.0) -> int:
        """Return its exit code, minus the number of the signal that ended it."""
        if self.returncode is None:
            self.returncode = self.mother.order({"wait": self.pid, "timeout": timeout})["returncode"]
            self.ended.set()
        return self.returncode

    # As of a subprocess.Popen:

    def communicate(self, timeout: float = 60.0) -> tuple[str, str]:
        self.wait(timeout)
        out, err = ((self.folder / name).read_text() for name in ("stdout", "stderr"))
        return out, err

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    @property
    def output(self) -> str:
        return "".join((self.folder / name).read_text() for name in ("stdout", "stderr"))


class Mother:
    """The process that forks."""

    def __init__(self) -> None:
        self._started = 0
        command = [sys.executable, "-m", "tests.build.kaggle.zygote"]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True)
        assert self.order({"hello": True}) == {"hello": True}

    def start(self, *arguments: str, folder: Path) -> Command:
        """Start `python -m build …` in a folder, with this process's environment."""
        self._started += 1
        out = folder.with_name(f"{folder.name}-output-{self._started}")
        out.mkdir()
        order = {
            "arguments": arguments,
            "folder": str(folder),
            "out": str(out),
            "environment": {**os.environ, "COLUMNS": "120"},
        }
        return Command(self.order(order)["pid"], out, self)

    def order(self, order: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:  # it has nothing to save, and its libraries may take long to end
            self._process.kill()
            self._process.wait()


def serve() -> None:
    """Import what a push imports, then fork for each order until the input ends."""
    from build import cli
    from build.kaggle import preparation, session

    importlib.import_module("pandas")  # the CV of a bundle is read with it
    session._make_api(local=True)
    digest = preparation._digest()  # of all notebooks and sources, which no test here changes
    preparation._digest = lambda: digest
    answers = sys.stdout
    for line in sys.stdin:
        order = json.loads(line)
        if "hello" in order:
            answer: dict[str, Any] = order
        elif "import" in order:
            importlib.import_module(order["import"])
            answer = {}
        elif "wait" in order:
            answer = {"returncode": _wait(order["wait"], order["timeout"])}
        else:
            pid = os.fork()
            if not pid:
                _be(order, cli.main)
            answer = {"pid": pid}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _wait(pid: int, timeout_s: float) -> int:
    """Wait for a child; one that takes too long is killed, and its output tells where it was."""
    deadline = time.monotonic() + timeout_s
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.002)


def _be(order: dict[str, Any], main: Any) -> None:
    """Become the command: its folder, environment and output; never returns."""
    code: object = 1
    try:
        os.environ.clear()
        os.environ.update(order["environment"])
        os.chdir(order["folder"])
        signal.signal(signal.SIGINT, signal.default_int_handler)  # CI may have it ignored
        for number, name in ((1, "stdout"), (2, "stderr")):
            handle = os.open(Path(order["out"]) / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            os.dup2(handle, number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.argv = ["build", *order["arguments"]]
        main()
        code = 0
    except SystemExit as ended:
        code = ended.code
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 0 if code is None else 1)


if __name__ == "__main__":
    serve()
