"""A kernel as a plain script: named by what it runs on, in a folder that stands in for `/kaggle`, its output shown.

Nothing is isolated here: this is one's own machine. `make rehearse` is for seeing what Kaggle would do.
"""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO

from build.core.errors import CheckFailed, Problem, UsageError
from build.notebooks.builder import KERNELS_FOLDER, ROOT
from build.run.mock import lay_out
from build.stitch.cells import cut
from build.stitch.drafts import Draft
from build.stitch.library import Library
from build.stitch.modules import MAIN
from build.stitch.parameters import set_parameters
from kernel_src.competitions.biomass.constants import SLUG, TEST_CSV, TEST_FOLDER, TRAIN_CSV, TRAIN_FOLDER

RUNS = Path("out/runs")
LOG_FILE = "kernel.log"
HASH_CHARS = 12
TAIL_LINES = 15  # of the log, shown when the kernel fails
CHUNK_BYTES = 1 << 16


@dataclass(frozen=True, kw_only=True)
class LocalRun:
    """A kernel and what it runs on; the same sources, parameters and data give the same folder, and go on there."""

    kernel: str
    experiment: str
    parameters: Mapping[str, object]
    data: Path  # the competition's folder
    datasets: Mapping[str, Path]
    out: Path
    quiet: bool  # stdout is left to JSON: what the kernel prints goes to stderr

    @cached_property
    def sources(self) -> str:
        """The hash of the kernel and every module that it needs, so that a bundle names its sources.

        Sources that cannot be stitched yet can be tried here all the same; then everything below kernel_src counts.
        """
        from build.stitch import compose

        try:
            return compose(ROOT / KERNELS_FOLDER / f"{self.kernel}.py", ROOT, self.parameters).source_sha256
        except CheckFailed:
            return files_sha256((ROOT / "kernel_src").rglob("*.py"), ROOT)

    @cached_property
    def hash(self) -> str:
        """A short hash of everything that the run is made of."""
        photographs = (TEST_CSV, TEST_FOLDER) if self.kernel == "infer" else (TRAIN_CSV, TRAIN_FOLDER)
        parts = {
            "sources": self.sources,
            "parameters": self.parameters,
            "data": files_sha256([self.data / name for name in photographs], self.data),
            "datasets": {slug: files_sha256([path], path) for slug, path in self.datasets.items()},
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:HASH_CHARS]

    @property
    def folder(self) -> Path:
        """Where everything about the run lies."""
        return self.out / self.experiment / (self.hash if self.kernel == "train" else f"{self.kernel}-{self.hash}")

    @property
    def cache(self) -> Path:
        """Where decoded photographs are kept for all runs."""
        return self.out.parent / "cache" / "photographs"


def files_sha256(paths: Iterable[Path], root: Path) -> str:
    """Hash the content of files and folders, with their names below `root`."""
    digest = hashlib.sha256()
    found = {file for path in paths for file in (path.rglob("*") if path.is_dir() else [path]) if file.is_file()}
    for file in sorted(found):
        with file.open("rb") as handle:
            content = hashlib.file_digest(handle, "sha256").hexdigest()
        digest.update(f"{file.relative_to(root).as_posix()} {content}\n".encode())
    return digest.hexdigest()


def parameterised(kernel: str, values: Mapping[str, object]) -> str:
    """Return the source of a kernel script with other values in its cell tagged `parameters`, line by line the same.

    Raises:
        CheckFailed: the script does not parse, or its cell does not assign one of the names.
    """
    library = Library(ROOT)
    path = ROOT / KERNELS_FOLDER / f"{kernel}.py"
    script = library.read(path, MAIN, ".".join(KERNELS_FOLDER.parts))
    if script is None:
        raise CheckFailed(library.problems)
    draft = Draft(script)
    set_parameters(draft, cut(script, library), values, library)
    if library.problems:
        raise CheckFailed(library.problems)
    return "\n".join(line.text for line in draft.lines(1, len(script.lines))) + "\n"


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold the folder for this process; the hold of a killed one is gone with it.

    Raises:
        UsageError: another process works in it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"{folder}: another process is at this very run: wait for it, or stop it first") from None
        yield


# -- running -------------------------------------------------------------------------------------------------------


def run_kernel(
    run: LocalRun,
    values: Mapping[str, object],
    *,
    links: Mapping[str, Path] | None = None,
    checkpoints: Path | None = None,
) -> None:
    """Run a kernel to its end, with `values` for its parameters, in a session that is removed afterwards.

    `links` maps names in the working folder to folders that outlive the session; `checkpoints` keeps what a training
    that is killed goes on from: on Kaggle it is scratch, as the decoded photographs are.
    What the kernel prints is shown and appended to the log in the run's folder.

    Raises:
        CheckFailed: it ended with an error; carries its last lines.
        UsageError: a folder is missing or is not in the competition's layout.
    """
    session, log = run.out / ".sessions" / f"{run.experiment}-{run.kernel}-{run.hash}", run.folder / LOG_FILE
    screen = sys.stderr.buffer if run.quiet else sys.stdout.buffer
    # Hard links: the kernels only read their input, and a copy of every photograph per run would be a high price.
    mock = lay_out(
        session,
        competition_slug=SLUG,
        data=run.data,
        datasets=run.datasets,
        layout="new",
        rerun=False,
        protected=True,
        subfolders=True,
    )
    for note in mock.notes:
        screen.write(f"note: {note}\n".encode())
    for name, target in (links or {}).items():
        target.mkdir(parents=True, exist_ok=True)
        (mock.working / name).symlink_to(target.resolve(), target_is_directory=True)
    script = session / f"{run.kernel}.py"
    script.write_text(parameterised(run.kernel, values), encoding="utf-8")
    # A short name: processes that share pictures talk through sockets in it, whose paths may have 107 characters.
    scratch = Path(tempfile.mkdtemp(prefix="i2b-"))
    for name, kept in (("photographs", run.cache), ("checkpoints", checkpoints)):
        if kept is not None:
            kept.mkdir(parents=True, exist_ok=True)
            (scratch / name).symlink_to(kept.resolve(), target_is_directory=True)
    environment = {
        **os.environ,
        "KIT_KAGGLE_ROOT": str(session.resolve()),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")])),
        "PYTHONUNBUFFERED": "1",
        "MPLBACKEND": "Agg",
        "TMPDIR": str(scratch),
        "HF_HUB_OFFLINE": "1",  # as on Kaggle
        "NO_ALBUMENTATIONS_UPDATE": "1",
    }
    try:
        code = _watch([sys.executable, str(script.resolve())], environment, log, screen)
        if code:
            raise CheckFailed([_failure(run.kernel, code, log)])
        for path in mock.working.iterdir():
            if path.is_file():
                shutil.copyfile(path, run.folder / path.name)
    finally:
        mock.remove()
        shutil.rmtree(session, ignore_errors=True)
        shutil.rmtree(scratch, ignore_errors=True)


def _watch(command: list[str], environment: dict[str, str], log: Path, screen: IO[bytes]) -> int:
    """Show what a process prints as it comes, progress bars too; end it when this one is interrupted."""
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.stdout is not None
    try:
        with log.open("ab") as file:
            while chunk := os.read(process.stdout.fileno(), CHUNK_BYTES):
                file.write(chunk)
                file.flush()
                screen.write(chunk)
                screen.flush()
        return process.wait()
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        raise
    finally:
        process.stdout.close()


def _failure(kernel: str, code: int, log: Path) -> Problem:
    text = log.read_bytes().decode(errors="replace").replace("\r", "\n")
    tail = "\n".join(f"  {line}" for line in [line for line in text.splitlines() if line.strip()][-TAIL_LINES:])
    how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
    cure = "correct the cause and give the same command again: what is trained is kept"
    if code == -9:
        cure = f'probably out of memory: SET="batch.size=…" smaller; {cure}'
    return Problem(what=f"the {kernel} kernel {how}; its last lines:\n{tail}\n", where=str(log), cure=cure)
