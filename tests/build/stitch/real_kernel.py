"""A script as a process, and its notebook in a real ipykernel: what came of each, to be compared.

A kernel takes a second to start. Notebooks that leave the process as they find it share one warm kernel; its names,
modules, environment, paths and filters are put back between two of them. Whatever touches the process itself (signals,
descriptors, the end) takes a fresh one.
"""

import atexit
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Empty
from typing import Any

from build.stitch import Stitched

LIMIT_S = 60.0
RECORD = ".stitched.json"  # of what a notebook in files mode has written
_CODE = re.compile(r"exit code (\d+)")
_KEEP = """
import os, sys, types, warnings
kept = types.ModuleType("kit_kept")
kept.environ, kept.path, kept.argv = dict(os.environ), list(sys.path), list(sys.argv)
kept.filters, kept.modules = list(warnings.filters), {*sys.modules, "kit_kept"}
kept.stdout, kept.stderr = sys.stdout, sys.stderr
sys.modules["kit_kept"] = kept
"""
_RESET = """
get_ipython().run_line_magic("reset", "-f")
get_ipython().compile.reset_compiler_flags()  # `from __future__ import annotations` holds for all cells below
import kit_kept, logging, os, sys, warnings
os.environ.clear(); os.environ.update(kit_kept.environ)
sys.path[:], sys.argv[:], warnings.filters[:] = kit_kept.path, kit_kept.argv, kit_kept.filters
sys.stdout, sys.stderr = kit_kept.stdout, kit_kept.stderr
for name in {*sys.modules} - kit_kept.modules:
    if (getattr(sys.modules[name], "__file__", None) or "").startswith(os.getcwd()):
        del sys.modules[name]
for handler in list(logging.root.handlers):
    logging.root.removeHandler(handler)
os.chdir(FOLDER)
get_ipython().run_line_magic("reset", "-f")
"""


@dataclass(frozen=True)
class Ran:
    """What a script or a notebook did."""

    code: int  # 0 when it ended well
    printed: str
    errors: str  # stderr, and a notebook's error
    files: dict[str, bytes]  # every file of the folder afterwards, but for caches and records

    def written(self, root: Path) -> dict[str, bytes]:
        """The files that are not as the root has them: what the script wrote."""
        return {
            path: content
            for path, content in self.files.items()
            if not (root / path).is_file() or (root / path).read_bytes() != content
        }


def run_script(main: Path, root: Path, arguments: str = "", *, module: str = "") -> Ran:
    """Run `cd root && python main.py ARGS` in a copy of the root; `module`: `python -m MODULE` instead."""
    with tempfile.TemporaryDirectory(prefix="kit-script-") as name:
        folder = Path(name).resolve() / "root"
        shutil.copytree(root, folder, ignore=shutil.ignore_patterns("__pycache__", "*.ipynb"))
        started = f"-m {module}" if module else f"'{main.resolve().relative_to(root.resolve()).as_posix()}'"
        done = subprocess.run(
            ["bash", "-c", f"exec {sys.executable} {started} {arguments}"],
            cwd=folder,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=LIMIT_S,
        )
        return Ran(done.returncode, done.stdout.decode(), done.stderr.decode(), _files(folder))


def run_notebook(notebook: Stitched | bytes, folder: Path, *, fresh: bool = False, limit_s: float = LIMIT_S) -> Ran:
    """Run a notebook in a folder, cell by cell, until one fails.

    Raises:
        TimeoutError: a cell takes too long.
    """
    folder.mkdir(parents=True, exist_ok=True)
    content = notebook.notebook if isinstance(notebook, Stitched) else notebook
    cells = [cell["source"] for cell in json.loads(content)["cells"] if cell["cell_type"] == "code"]
    # After a script's end a kernel runs no cells any more.
    with kernel_in(folder, fresh=fresh or b"class ScriptEnd" in content) as kernel:
        printed, errors, code = "", "", 0
        for cell in cells:
            text = cell if isinstance(cell, str) else "".join(cell)
            one = kernel.execute(text, limit_s=limit_s)
            said = "" if text.startswith("%%writefile ") else one.printed  # "Writing p/m.py"
            printed, errors, code = printed + said, errors + one.errors, one.code
            if code:
                break
        return Ran(code, printed, errors, _files(folder))


@contextmanager
def kernel_in(folder: Path, *, fresh: bool = False) -> Iterator["Kernel"]:
    """Hand out a kernel whose working folder is this one."""
    kernel = Kernel(folder) if fresh else _warm(folder)
    try:
        yield kernel
    except BaseException:
        kernel.end()
        raise
    if fresh:
        kernel.end()


_kept: list["Kernel"] = []


def _warm(folder: Path) -> "Kernel":
    """Return the kernel that all share, as good as new."""
    if _kept and not _kept[0].alive():
        _kept.pop().end()
    if not _kept:
        _kept.append(Kernel(folder))
        atexit.register(_kept[0].end)
        kept = _kept[0].execute(_KEEP, silent=True)
        assert not kept.code, kept.errors
    reset = _kept[0].execute(_RESET.replace("FOLDER", repr(str(folder))), silent=True)
    assert not reset.code, reset.errors
    return _kept[0]


class Kernel:
    """A real ipykernel."""

    def __init__(self, folder: Path) -> None:
        from jupyter_client.manager import KernelManager

        self.manager = KernelManager(kernel_name="python3")
        self.manager.start_kernel(cwd=str(folder), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=LIMIT_S)

    def alive(self) -> bool:
        return self.manager.has_kernel and self.manager.is_alive()

    def execute(
        self,
        source: str,
        *,
        silent: bool = False,
        limit_s: float = LIMIT_S,
        during: Callable[[str, "Kernel"], object] | None = None,
    ) -> Ran:
        """Run a cell as a notebook does; `during` is told what was printed so far, at each new piece.

        Raises:
            TimeoutError: it takes too long.
        """
        asked = self.client.execute(source, store_history=not silent, allow_stdin=False, stop_on_error=True)
        printed, errors, code = "", "", 0
        end = time.monotonic() + limit_s
        while time.monotonic() < end:
            try:
                message: dict[str, Any] = self.client.get_iopub_msg(timeout=1)
            except Empty:
                if not self.alive():
                    return Ran(1, printed, f"{errors}\nthe kernel died", {})
                continue
            if message["parent_header"].get("msg_id") != asked:
                continue
            kind, content = message["msg_type"], message["content"]
            if kind == "stream" and content["name"] == "stdout":
                printed += content["text"]
            elif kind == "stream":
                errors += content["text"]
            elif kind == "error":
                errors += f"{content['ename']}: {content['evalue']}"
                code = _code_of(content)
            elif kind == "status" and content["execution_state"] == "idle":
                self.client.get_shell_msg(timeout=LIMIT_S)
                return Ran(code, printed, errors, {})
            if during is not None:
                during(printed, self)
        self.manager.interrupt_kernel()
        raise TimeoutError(f"{source[:200]!r} printed {printed[-500:]!r} and did not end")

    def end(self) -> None:
        if self in _kept:
            _kept.remove(self)
        self.client.stop_channels()
        if self.manager.has_kernel:
            self.manager.shutdown_kernel(now=True)


def _code_of(error: dict[str, Any]) -> int:
    """The exit code that an error stands for."""
    if error["ename"] == "SystemExit":
        return int(error["evalue"]) if re.fullmatch(r"\d+", error["evalue"]) else 1
    found = _CODE.search(error["evalue"])
    return int(found[1]) if found else 1


def _files(folder: Path) -> dict[str, bytes]:
    skipped = {"__pycache__", RECORD}
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file() and not skipped & set(path.parts))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def without_colours(text: str) -> str:
    """A text as it reads: IPython colours its errors."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text).replace(os.sep, "/")
