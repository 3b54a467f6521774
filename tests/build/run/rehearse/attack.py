"""What a stranger's notebook would try; runs inside the sandbox, on the standard library alone.

`ATTACK` is set by whoever runs it: {"marker", "files", "folders", "socket", "abstract", "port", "input", "result"}.
What succeeded goes, by name, into the JSON file `result`.
"""

import ctypes
import json
import os
import socket
import stat
from pathlib import Path

LIBC = ctypes.CDLL(None, use_errno=True)
NEWNS, NEWUSER = 1 << 17, 1 << 28
REMOUNT_RW, TMPFS = 32 | 4096, b"tmpfs"
WALK_NOT = ("/proc", "/sys", "/usr", "/nix")
found = []


def attempt(name, action):
    """Note the name if the action ends without an error and not with False."""
    try:
        if action() is not False:
            found.append(name)
    except (OSError, AttributeError, ValueError):
        pass


def call(result):
    """Return whether a call of the C library succeeded."""
    return result == 0


def in_child(action):
    """Run an action in a child of its own; return whether it succeeded."""
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if action() is not False else 1)
        except BaseException:
            os._exit(1)
    return os.waitpid(child, 0)[1] == 0


def own_user_namespace():
    """Become root of a user namespace of one's own, if that can be had."""
    uid = os.getuid()
    if LIBC.unshare(NEWUSER | NEWNS) != 0:
        return False
    Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
    return True


def as_own_root(action):
    """Run an action as root of a user namespace of one's own, in a child."""
    return in_child(lambda: own_user_namespace() is not False and action())


def remount(target):
    return call(LIBC.mount(None, os.fsencode(target), None, ctypes.c_ulong(REMOUNT_RW), None))


def write_to(folder):
    Path(folder, f"attack-{os.getpid()}").write_text("x")  # and leave it there: the host can look


def open_to_write(path):
    os.close(os.open(path, os.O_WRONLY))


def connect(family, address):
    with socket.socket(family, socket.SOCK_STREAM) as client:
        client.settimeout(3)
        client.connect(address)


def holding(marker):
    """Walk through all that can be seen, and name the small files that hold the marker."""
    for folder, folders, files in os.walk("/"):
        folders[:] = [name for name in folders if os.path.join(folder, name) not in WALK_NOT]
        if "site-packages" in folder or "lib-dynload" in folder:
            continue
        for name in files:
            path = os.path.join(folder, name)
            try:
                seen = os.stat(path)
                if stat.S_ISREG(seen.st_mode) and seen.st_size < 10_000 and marker.encode() in Path(path).read_bytes():
                    yield path
            except OSError:
                pass


def attack(plan):
    """Try everything."""
    marker, given = plan["marker"], plan["input"]
    for path in plan["files"]:
        attempt(f"read {path}", lambda path=path: Path(path).read_bytes())
    for path in plan["folders"]:
        attempt(f"write to {path}", lambda path=path: write_to(path))
    for path in ("/", "/usr", "/etc", "/kit", "/dev", "/run", "/var", "/root", "/home", given):
        attempt(f"write to {path}", lambda path=path: write_to(path))
    for name in os.listdir(given):
        path = os.path.join(given, name)
        attempt(f"chmod {path}", lambda path=path: os.chmod(path, 0o777))
        attempt(f"touch {path}", lambda path=path: os.utime(path))
        attempt(f"set an attribute of {path}", lambda path=path: os.setxattr(path, "user.x", b"x"))
    found.extend(f"read the marker in {path}" for path in holding(marker) if not path.startswith(tuple(plan["own"])))
    for path in ("/proc/self/environ", *(f"/proc/{pid}/environ" for pid in os.listdir("/proc") if pid.isdigit())):
        attempt(f"secret in {path}", lambda path=path: marker.encode() in Path(path).read_bytes())
    attempt("secret in the environment", lambda: any(marker in value for value in os.environ.values()))
    attempt("unix socket", lambda: connect(socket.AF_UNIX, plan["socket"]))
    attempt("abstract socket", lambda: connect(socket.AF_UNIX, "\0" + plan["abstract"]))
    attempt("loopback of the host", lambda: connect(socket.AF_INET, ("127.0.0.1", plan["port"])))
    for path in (
        "/run/docker.sock",
        "/var/run/docker.sock",
        "/tmp/.X11-unix",
        "/run/dbus",
        "/run/user",
        "/run/systemd",
    ):
        attempt(f"{path} is there", lambda path=path: os.lstat(path))
    for path in (
        "/proc/sys/kernel/core_pattern",
        "/proc/sysrq-trigger",
        "/proc/sys/vm/drop_caches",
        "/sys/power/state",
    ):
        attempt(f"open {path} to write", lambda path=path: open_to_write(path))
    for path in (
        "/dev/mem",
        "/dev/kmsg",
        "/dev/vda",
        "/dev/sda",
        "/dev/nvme0n1",
        "/dev/fuse",
        "/dev/kvm",
        "/etc/shadow",
    ):
        attempt(f"open {path}", lambda path=path: os.close(os.open(path, os.O_RDONLY)))
    status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line)
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        attempt(f"{name} {status[name]}", lambda name=name: int(status[name], 16) != 0)
    attempt("new privileges", lambda: status["NoNewPrivs"] != "1")
    attempt("mount", lambda: call(LIBC.mount(TMPFS, b"/tmp", TMPFS, ctypes.c_ulong(0), None)))
    attempt("unmount the input", lambda: call(LIBC.umount2(b"/kaggle/input", 2)))
    attempt("own mount namespace", lambda: in_child(lambda: call(LIBC.unshare(NEWNS))))
    attempt("chroot", lambda: in_child(lambda: os.chroot("/tmp")))
    attempt("trace process 1", lambda: in_child(lambda: call(LIBC.ptrace(16, 1, 0, 0))))
    for name in ("cwd", "environ", "exe", "mem", "root", *(f"fd/{number}" for number in range(20))):
        attempt(
            f"{name} of process 1", lambda name=name: os.close(os.open(f"/proc/1/{name}", os.O_RDONLY | os.O_NONBLOCK))
        )
    for kind, number in ((stat.S_IFCHR, os.makedev(1, 1)), (stat.S_IFBLK, os.makedev(254, 0))):
        attempt(f"mknod {kind:o}", lambda k=kind, n=number: os.mknod(f"/tmp/node{k}", 0o600 | k, n))
        attempt(
            f"mknod {kind:o} as own root",
            lambda k=kind, n=number: as_own_root(lambda: os.mknod(f"/tmp/own{k}", 0o600 | k, n)),
        )
    for target in ("/", "/kaggle/input", "/usr", "/proc", "/dev"):
        attempt(f"remount {target}", lambda target=target: remount(target))
        attempt(f"remount {target} as own root", lambda target=target: as_own_root(lambda: remount(target)))
    attempt("unmount as own root", lambda: as_own_root(lambda: call(LIBC.umount2(b"/kaggle/input", 2))))
    attempt("write to the input as own root", lambda: as_own_root(lambda: write_to(given)))
    attempt("become root", lambda: os.getuid() != 0 and in_child(lambda: os.setuid(0)))
    attempt("host name", lambda: LIBC.sethostname(b"attacked", 8) == 0)
    names = [name for name in plan["programs"] if any(name in text for text in command_lines())]
    found.extend(f"sees the process {name}" for name in names)
    for path in plan["own_folders"]:
        try:
            write_to(path)
        except OSError as error:
            found.append(f"cannot write to its own {path}: {error}")
    Path(plan["result"]).write_text(json.dumps(found))


def command_lines():
    """List the command lines of all processes that can be seen."""
    lines = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        if entry.parent.name == str(os.getpid()):
            continue
        try:
            lines.append(entry.read_bytes().decode(errors="replace"))
        except OSError:
            pass
    return lines


attack(ATTACK)  # noqa: F821  set above this text
