"""What a notebook in files mode holds besides the files: code that checks them, and runs the script as a process.

Each `# %%` below is a cell of every such notebook; `file_cells` adds the calls. It uses the standard library alone.
"""

# %%
import hashlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from codecs import getincrementaldecoder
from pathlib import Path

RECORD = Path(".stitched.json")  # what notebooks have written into this folder
written: dict[str, bytes] = {}  # by write_file
left: dict[str, bytes] = {}  # files as the script's last run has changed them


def claim_places(main: str, paths: list[str]) -> None:
    """Make the folders for the files; stop where something is in the way that this notebook did not write."""
    try:
        record = json.loads(RECORD.read_bytes())
    except FileNotFoundError:
        record = {}
    own = set(record.get(main, []))
    here = Path.cwd().resolve()
    taken = [path for path in paths if path not in own and os.path.lexists(path)]
    taken += [path for path in paths if (here / path).parent.resolve() != (here / path).parent or os.path.islink(path)]
    if taken:
        names = ", ".join(dict.fromkeys(taken))
        raise FileExistsError(f"already here, and not written by this notebook: {names} → run it in an empty folder")
    RECORD.write_text(json.dumps(record | {main: sorted(own.union(paths))}))
    for path in paths:
        Path(path).parent.mkdir(parents=True, exist_ok=True)


def write_file(path: str, *lines: str) -> None:
    """Write a file that `%%writefile` would change."""
    written[path] = "".join(lines).encode()
    Path(path).write_bytes(written[path])


# %%
def text_of_cell(path: str) -> bytes:
    """Return what the cell of a file has written when it ran last."""
    cells = get_ipython().history_manager.input_hist_raw  # type: ignore[name-defined]  # noqa: F821
    magic = f"%%writefile {path}\n"
    texts = [cell.removeprefix(magic) for cell in cells if cell.startswith(magic)]
    if not texts:
        return written.get(path, b"")
    return (texts[-1] if texts[-1].endswith("\n") else f"{texts[-1]}\n").encode()


def restore_blanks(files: dict[str, str], blank: dict[str, dict[str, list[int]]]) -> None:
    """Put back lines of spaces, which IPython has emptied, where that makes a file what it was."""
    for path, numbers_of in blank.items():
        lines = Path(path).read_bytes().split(b"\n") if Path(path).is_file() else []
        for spaces, numbers in numbers_of.items():
            for number in numbers:
                lines[number - 1 : number] = [spaces.encode()]
        content = b"\n".join(lines)
        if hashlib.sha256(content).hexdigest() == files[path]:
            Path(path).write_bytes(content)


def verify_files(files: dict[str, str]) -> None:
    """Stop where a file is missing or half written; say which were edited in this notebook."""
    for path, sha256 in files.items():
        if not Path(path).is_file():
            raise FileNotFoundError(f"{path} is not there: run the cell that writes it")
        content = Path(path).read_bytes()
        if hashlib.sha256(content).hexdigest() == sha256:
            continue
        if content == left.get(path):
            print(f"note: {path} is as the last run has left it")
        elif content == text_of_cell(path):
            print(f"note: {path} was edited in this notebook")
        else:
            raise ValueError(f"{path} is not what its cell holds: run the cell that writes it")


def is_the_kernels(name: str, value: str) -> bool:
    """Tell whether a variable of the environment is the notebook kernel's, which no process in a shell has."""
    own = {"TERM": "xterm-color", "PAGER": "cat", "GIT_PAGER": "cat", "PYDEVD_USE_FRAME_EVAL": "NO"}
    own |= dict.fromkeys(("CLICOLOR", "FORCE_COLOR", "CLICOLOR_FORCE"), "1")
    inline = name == "MPLBACKEND" and value.startswith("module://")
    return inline or name.startswith("JPY_") or own.get(name) == value


def show_output(process: subprocess.Popen[bytes], limit_s: float = float("inf")) -> bool:
    """Print what a process prints, as it comes, until it ends; say whether it has ended within the time."""
    assert process.stdout is not None
    decoder, end, is_open = getincrementaldecoder("utf-8")("replace"), time.monotonic() + limit_s, True
    while time.monotonic() < end:
        ready = is_open and bool(select.select([process.stdout], [], [], 0.1)[0])
        if ready:
            chunk = os.read(process.stdout.fileno(), 1 << 16)
            is_open = bool(chunk)
            sys.stdout.write(decoder.decode(chunk, final=not chunk))
            sys.stdout.flush()
        elif process.poll() is not None:
            return True
        elif not is_open:
            time.sleep(0.1)
    return False


def run_script(command: list[str], python_path: str = "") -> None:
    """Run the script in a process of its own, as a shell would; its exit code decides how this cell ends."""
    environment = {name: value for name, value in os.environ.items() if not is_the_kernels(name, value)}
    environment["PYTHONDONTWRITEBYTECODE"] = "1"  # no caches among the outputs
    if python_path:
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [python_path, environment.get("PYTHONPATH")]))
    process = subprocess.Popen(
        [sys.executable, "-u", *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
    )
    try:
        show_output(process)
    except KeyboardInterrupt:  # which the process mostly has got, too: let it end by itself first
        for ask, limit_s in ((None, 3), (signal.SIGINT, 10), (signal.SIGKILL, 10)):
            if ask is not None:
                process.send_signal(ask)
            if show_output(process, limit_s):
                break
        raise
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    if process.returncode < 0:
        number = -process.returncode
        raise RuntimeError(f"the script was killed by {signal.Signals(number).name} (exit code {128 + number})")
    if process.returncode:
        raise RuntimeError(f"the script ended with exit code {process.returncode}")


def run_files(
    files: dict[str, str], blank: dict[str, dict[str, list[int]]], command: list[str], python_path: str = ""
) -> None:
    """Verify the files, then run the script; what it changes in them is no fault of theirs when it runs again."""
    restore_blanks(files, blank)
    verify_files(files)
    before = {path: Path(path).read_bytes() for path in files}
    try:
        run_script(command, python_path)
    finally:
        now = {path: Path(path).read_bytes() for path in files if Path(path).is_file()}
        left.update({path: content for path, content in now.items() if content != before[path]})
