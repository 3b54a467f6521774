"""The same view of the machine by way of bubblewrap, the sandbox of Flatpak, where `bwrap` is on the path."""

import shutil
from pathlib import Path

from build.run.rehearse.view import View

PLAN_INSIDE = Path("/plan.json")


def find_bubblewrap() -> str:
    """Return the path of bwrap, "" where there is none."""
    return shutil.which("bwrap") or ""


def bubblewrap_words(program: str, view: View, plan: Path) -> list[str]:
    """Return the command up to what is to run inside; the order matters, a later word covers an earlier one.

    bubblewrap does not count refused packets, and leaves its own process 1 open to tracing: the launcher is process 1
    instead, by what `plan` says.
    """
    words = [
        program,
        "--die-with-parent",
        "--new-session",
        "--clearenv",
        "--as-pid-1",
        "--unshare-user",
        "--cap-drop",
        "ALL",
    ]
    words += ["--unshare-net", "--unshare-ipc", "--unshare-pid"]
    for text, at in view.links:
        words += ["--symlink", text, at]
    for source, at, writable in view.mounts:
        words += ["--bind" if writable else "--ro-bind", source, at]
    words += ["--ro-bind", str(plan), str(PLAN_INSIDE), "--dev", "/dev"]
    for device in view.devices:
        words += ["--dev-bind", device, device]
    words += ["--tmpfs", "/dev/shm", "--remount-ro", "/dev", "--proc", "/proc", "--remount-ro", "/proc"]
    for at in view.closed:
        words += ["--tmpfs", at, "--remount-ro", at] if Path(at).is_dir() else ["--ro-bind", "/dev/null", at]
    return [*words, "--dir", "/run", "--remount-ro", "/", "--"]
