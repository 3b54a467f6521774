"""A kernel as a plain script: parameters put in, a folder that stands in for `/kaggle`, output seen as it comes.

Nothing is isolated here: this is one's own machine. `make rehearse` is for seeing what Kaggle would say.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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
from kernel_src.competition.constants import SLUG

TAIL_LINES = 15  # of the log, shown when the kernel fails
CHUNK_BYTES = 1 << 16


def parameterised(kernel: str, values: Mapping[str, object], root: Path = ROOT) -> str:
    """Return the source of a kernel script with other values in its cell tagged `parameters`, line by line the same.

    Raises:
        CheckFailed: the script does not parse, or its cell does not assign one of the names.
    """
    library = Library(root)
    path = root / KERNELS_FOLDER / f"{kernel}.py"
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
            raise UsageError(f"{folder}: another process is at this very run; wait for it, or stop it first") from None
        yield


# -- running -------------------------------------------------------------------------------------------------------


def run_kernel(
    kernel: str,
    values: Mapping[str, object],
    *,
    data: Path,
    datasets: Mapping[str, Path],
    session: Path,
    links: Mapping[str, Path],
    cache: Path,
    log: Path,
    screen: IO[bytes],
    checkpoints: Path | None = None,
) -> None:
    """Run a kernel to its end, in `session`, which is made anew and removed afterwards.

    `links` maps names in the working folder to folders that outlive the session; `cache` keeps decoded photographs, and
    `checkpoints` what a training that is killed goes on from: on Kaggle both are scratch.
    What the kernel prints goes to `screen` and is appended to `log`.

    Raises:
        CheckFailed: it ended with an error; carries its last lines.
        UsageError: a folder is missing or is not in the competition's layout.
    """
    # Hard links: the kernels only read their input, and a copy of every photograph per run would be a high price.
    mock = lay_out(
        session,
        competition_slug=SLUG,
        data=data,
        datasets=datasets,
        layout="new",
        rerun=False,
        protected=True,
        subfolders=True,
    )
    for note in mock.notes:
        screen.write(f"note: {note}\n".encode())
    for name, target in links.items():
        target.mkdir(parents=True, exist_ok=True)
        (mock.working / name).symlink_to(target.resolve(), target_is_directory=True)
    script = session / f"{kernel}.py"
    script.write_text(parameterised(kernel, values), encoding="utf-8")
    # A short name: processes that share pictures talk through sockets in it, whose paths may have 107 characters.
    scratch = Path(tempfile.mkdtemp(prefix="i2b-"))
    for name, kept in (("photographs", cache), ("checkpoints", checkpoints)):
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
        "HF_HUB_OFFLINE": "1",  # as on Kaggle: nothing is fetched behind one's back
        "NO_ALBUMENTATIONS_UPDATE": "1",
    }
    try:
        code = _watch([sys.executable, str(script.resolve())], environment, log, screen)
        if code:
            raise CheckFailed([_failure(kernel, code, log)])
        _keep_files(mock.working, log.parent)
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
    cure = "mend the cause and give the same command: what is trained is kept"
    if code == -9:
        cure = f'probably out of memory: SET="batch_size=…" smaller; {cure}'
    return Problem(what=f"the {kernel} kernel {how}; its last lines:\n{tail}\n", where=str(log), cure=cure)


def _keep_files(working: Path, folder: Path) -> None:
    for path in working.iterdir():
        if path.is_file():
            shutil.copyfile(path, folder / path.name)
