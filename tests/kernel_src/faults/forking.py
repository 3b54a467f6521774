"""Rehearsals without a new Python: a forked process runs the notebook's cells, its libraries being loaded already.

Papermill, a kernel, torch and timm cost a rehearsal fifteen seconds of the processor before its first photograph. Here
the mock, the limits and the verdict are the rehearsal's own; what is missing, Jupyter and the isolation, is what
tests/build/run/rehearse is about, and a test of each of the matrix's two kinds goes through the whole rehearsal.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import types
from codeop import Compile
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from build.run.mock import MockKaggle
from build.run.rehearse.guard import kit_device
from build.run.rehearse.runner import CELL_FAILED, OK
from build.run.rehearse.sandbox import Device, Isolation, kaggle_environment
from build.run.rehearse.scratch import Scratch

LIBRARIES = ("cv2", "matplotlib.pyplot", "PIL.Image", "safetensors.torch", "timm", "torch", "tqdm.auto")


class Forked:
    """A forked process in a session of its own, as `watch` expects a subprocess.Popen."""

    def __init__(self, run: Callable[[], int], output: Path) -> None:
        for name in LIBRARIES:
            import_module(name)
        sys.stdout.flush()
        sys.stderr.flush()
        self.returncode: int | None = None
        self.pid = os.fork()
        if not self.pid:
            status = 70
            try:
                os.setsid()
                handle = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
                os.dup2(handle, 1)
                os.dup2(handle, 2)
                sys.stdout, sys.stderr = (os.fdopen(os.dup(number), "w", buffering=1) for number in (1, 2))
                status = run()
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                os._exit(status)

    def poll(self) -> int | None:
        if self.returncode is None:
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if ended else None
        return self.returncode

    def wait(self, timeout: float = float("inf")) -> int:
        end = time.monotonic() + timeout
        while (status := self.poll()) is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
            time.sleep(0.005)
        return status

    def kill(self) -> None:
        """Kill it with all that it started."""
        os.killpg(self.pid, signal.SIGKILL)


def run_cells(
    notebook: Mapping[str, Any],
    environment: Mapping[str, str],
    folder: Path,
    report: Callable[[int, str], None] = lambda index, state: None,
) -> str:
    """Run the code cells as IPython would, in this process; return the error that ended them, or nothing.

    `report` is given the index of each cell with "started" and "ended"; an error is also put into its cell's outputs.
    """
    os.environ.clear()
    os.environ.update({**environment, "MPLBACKEND": "Agg"})
    os.chdir(folder)
    tempfile.tempdir = None  # forget the one of the process that forked
    module = sys.modules["__main__"] = types.ModuleType("__main__")
    compiler, number = Compile(), 0
    for index, cell in enumerate(notebook["cells"]):
        if cell["cell_type"] != "code":
            continue
        number += 1
        cell["execution_count"] = number
        report(index, "started")
        try:
            exec(compiler("".join(cell["source"]), f"Cell In[{number}]", "exec"), module.__dict__)
        except Exception as error:
            lines = "".join(traceback.format_exception(error)).replace('File "Cell In[', "Cell In[")
            shown = {"ename": type(error).__name__, "evalue": str(error)}
            cell["outputs"] = [
                {"output_type": "error", **shown, "traceback": lines.replace(']", line', "], line").split("\n")}
            ]
            return f"{type(error).__name__}: {error}"
        finally:
            report(index, "ended")
    return ""


def start_forked(
    notebook: Path, *, scratch: Scratch, mock: MockKaggle, isolation: Isolation, rerun: bool, device: Device
) -> Forked:
    """Stand in for the sandbox's `start_notebook`: leaves the same files behind."""
    environment = kaggle_environment(scratch, mock, isolation, rerun=rerun, device=device)
    scratch.report.write_text(json.dumps({"started": True}))
    content = json.loads(notebook.read_text())

    def report(index: int, state: str) -> None:
        with scratch.progress.open("a") as handle:
            handle.write(json.dumps({"index": index, "state": state, "time": time.time()}) + "\n")
        sys.stdout.flush()
        if state == "ended" and (text := scratch.output.read_text(errors="replace")):
            content["cells"][index]["outputs"].insert(0, {"output_type": "stream", "name": "stdout", "text": text})
        os.truncate(scratch.output, 0)

    def run() -> int:
        if device == "p100":
            kit_device.pretend(import_module("torch"))
        error = run_cells(content, environment, mock.working, report)
        scratch.executed.write_text(json.dumps(content))
        status = CELL_FAILED if error else OK
        scratch.result.write_text(json.dumps({"status": status, "message": error or "every cell ran"}))
        return status

    return Forked(run, scratch.output)
