"""What a rehearsed notebook sees of this machine: a list of what is shown, everything else is not there.

Shown read-only are the system's programs and libraries, the Python that runs the kit, a few files of `/etc`, the
watching code of this package, and the input. Writable are the working folder, a home and a folder for temporary files.
Neither the user's home nor the repository, `/run`, `/var` or a socket of the host is among them; a Python that is
installed inside the home is shown without what lies around it.
"""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from build.run.mock import MockKaggle

HERE = Path(__file__).resolve().parent
BOX, KIT = Path("/rehearsal"), Path("/kit")  # inside: what runner and notebook exchange with us, and our code there
PLAN_INSIDE = Path("/plan.json")
SYSTEM = ("/bin", "/lib", "/lib32", "/lib64", "/libx32", "/sbin", "/usr", "/nix/store", "/gnu/store", "/sys")
OF_ETC = (
    *("alternatives", "ca-certificates", "fonts", "glvnd", "group", "hosts", "ld.so.cache", "ld.so.conf"),
    *("ld.so.conf.d", "localtime", "mime.types", "nsswitch.conf", "OpenCL", "os-release", "passwd", "pki/tls/certs"),
    *("protocols", "services", "ssl/certs", "ssl/openssl.cnf", "timezone", "vulkan"),
)
# Of a graphics card, by pattern below /dev; the rest of /dev is made anew.
GRAPHICS = ("nvidia*", "dri", "kfd", "dxg")
# Inside what is shown: what the kernel holds about the machine that is nobody's business.
CLOSED = ("/sys/firmware", "/sys/fs", "/sys/kernel/debug", "/sys/kernel/tracing", "/sys/kernel/security")
# Below the home; hidden once more, should the home be part of what is shown.
SECRETS = (
    *(".aws", ".azure", ".boto", ".bash_history", ".cache/huggingface/token", ".cargo/credentials.toml", ".config"),
    *(".docker", ".git-credentials", ".gnupg", ".huggingface", ".kaggle", ".kube", ".local/share/keyrings", ".mozilla"),
    *(".netrc", ".npmrc", ".password-store", ".pgpass", ".pypirc", ".python_history", ".ssh", ".thunderbird"),
)
CREDENTIALS = ("kaggle.json", "access_token", "credentials.json")  # in whatever folder KAGGLE_CONFIG_DIR names
# RFC 5737: an address nobody owns. Asking it for a name fails at once, and the kernel counts the refused packet.
DEAD_NAMESERVER = "nameserver 192.0.2.1\noptions timeout:1 attempts:1\n"


@dataclass(frozen=True, kw_only=True)
class View:
    """What becomes the root of the sandbox."""

    mounts: tuple[tuple[str, str, bool], ...]  # here, inside, writable; a folder before what lies in it
    links: tuple[tuple[str, str], ...]  # (what the link says, where it is)
    devices: tuple[str, ...]
    closed: tuple[str, ...]  # inside what is shown: replaced by something empty


def view_of(mock: MockKaggle, box: Path, resolver: Path) -> View:
    """Put together what a rehearsal on this mock sees; `box` is writable inside, `resolver` its resolv.conf."""
    links, shown = _machine()
    resolver.write_text(DEAD_NAMESERVER)
    shown = (*shown, (str(HERE), str(KIT)), (str(resolver), "/etc/resolv.conf"))
    shown = (*shown, (str(mock.input), "/kaggle/input"))
    (box / "tmp").mkdir(parents=True, exist_ok=True)
    writable = [(str(path), f"/kaggle/{path.name}") for path in (mock.root / "kaggle").iterdir() if path != mock.input]
    writable += [(str(box), str(BOX)), (str(box / "tmp"), "/tmp"), (str(box / "tmp"), "/var/tmp")]
    mounts = [*((*pair, False) for pair in shown), *((*pair, True) for pair in writable)]
    mounts.sort(key=lambda mount: (len(Path(mount[1]).parts), mount[1]))
    devices = [str(path) for pattern in GRAPHICS for path in sorted(Path("/dev").glob(pattern))]
    closed = [*(path for path in CLOSED if Path(path).is_dir()), *_secrets([target for _, target in shown])]
    return View(mounts=tuple(mounts), links=links, devices=tuple(devices), closed=tuple(closed))


@cache
def _machine() -> tuple[tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]]:
    """Return the links and the read-only folders that every rehearsal on this machine has."""
    links = {path: os.readlink(path) for path in SYSTEM if os.path.islink(path)}
    wanted = [Path(path) for path in SYSTEM if path not in links and os.path.exists(path)]
    wanted += [path for name in OF_ETC if (path := Path("/etc", name)).exists()]
    wanted += _python()
    wanted += [Path(path) for path in os.environ.get("LD_LIBRARY_PATH", "").split(":") if os.path.isabs(path)]
    shown: dict[Path, Path] = {}  # target → source

    def show(target: Path, source: Path) -> None:
        if not any(parent in shown or str(parent) in links for parent in (target, *target.parents)):
            shown[target] = source

    home = Path.home().resolve()
    # From the top, so that what lies in a folder that is shown anyway is not mounted again.
    for path in sorted(set(wanted), key=lambda path: (len(path.parts), path)):
        real = path.resolve()
        if not real.exists() or real == Path("/"):
            continue
        if home.is_relative_to(real) and home != Path("/"):  # the home itself, or above it: only a Python's own folders
            inner = [real / name for name in ("bin", "lib", "lib64", "pyvenv.cfg") if path in _prefixes()]
            for part in (part for part in inner if part.exists()):
                show(part, part.resolve())
            continue
        show(real, real)
        show(path, real)
    return tuple((to, path) for path, to in links.items()), tuple(
        (str(source), str(at)) for at, source in shown.items()
    )


def _prefixes() -> list[Path]:
    return [Path(sys.prefix), Path(sys.base_prefix), Path(sys.base_exec_prefix)]


def _python() -> list[Path]:
    """List what our interpreter consists of: its prefixes, its links one by one, and what .pth files point to."""
    hops: list[Path] = []
    at = Path(sys.executable)
    while at.is_symlink() and len(hops) < 40:
        at = Path(os.path.normpath(at.parent / os.readlink(at)))
        hops.append(at)
    done = subprocess.run(
        [sys.executable, "-P", "-s", "-c", "import json, sys; print(json.dumps(sys.path))"],
        cwd="/",
        env={},
        capture_output=True,
        text=True,
        check=True,
    )
    return [*_prefixes(), *hops, *(Path(path) for path in json.loads(done.stdout) if os.path.isabs(path))]


def _secrets(shown: list[str]) -> list[str]:
    """Find the places of credentials that lie inside what is shown."""
    home, environment = Path.home(), os.environ
    places = [home / name for name in SECRETS]
    folders = [environment.get("KAGGLE_CONFIG_DIR"), home / ".kaggle", home / ".config" / "kaggle"]
    folders += [Path(root, "kaggle") for name in ("XDG_CONFIG_HOME",) if (root := environment.get(name))]
    places += [Path(folder, name) for folder in folders if folder for name in CREDENTIALS]
    found = [path for place in places for path in (place, place.resolve()) if path.exists()]
    inside = [path for path in found if any(path.is_relative_to(target) for target in shown)]
    # What is shown on purpose stays: a Python that lies in ~/.config, say.
    return [str(path) for path in dict.fromkeys(inside) if not any(Path(at).is_relative_to(path) for at in shown)]


# %% The same view by way of bubblewrap, the sandbox of Flatpak, where `bwrap` is on the path
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
