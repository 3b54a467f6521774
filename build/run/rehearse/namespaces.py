"""Namespaces of Linux by way of ctypes: leave the host's, make a root of what is shown, give up every privilege.

Standard library only, and loaded by its bare name: launcher.py, beside it, is a script.
"""

import ctypes
import errno
import fcntl
import os
import re
import signal
import socket
import struct
from pathlib import Path
from typing import Any

LIBC = ctypes.CDLL(None, use_errno=True)
# <linux/sched.h>, <linux/mount.h>, <linux/prctl.h>, <linux/capability.h>, <linux/securebits.h>
CLONE_NEWNS, CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 1 << 17, 1 << 27, 1 << 28, 1 << 29, 1 << 30
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND, MS_REC = 1, 2, 4, 8, 32, 4096, 16384
MS_UNBINDABLE, MS_PRIVATE, MNT_DETACH = 1 << 17, 1 << 18, 2
# A remount must repeat these, or the kernel takes it for an attempt to shed them: word of mountinfo → mount flag.
KEPT_FLAGS = {"ro": MS_RDONLY, "nosuid": MS_NOSUID, "nodev": MS_NODEV, "noexec": MS_NOEXEC}
KEPT_FLAGS |= {"noatime": 1024, "nodiratime": 2048, "relatime": 1 << 21}
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_CAPBSET_DROP, PR_SET_SECUREBITS = 1, 4, 24, 28
PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 36, 38, 47, 4
NOT_EVEN_ROOT = 0xEF  # every securebit but KEEP_CAPS, and the lock of each
CAPABILITY_VERSION = 0x20080522
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
DEV_LINKS = {"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1"}
DEV_LINKS |= {"stderr": "/proc/self/fd/2", "ptmx": "pts/ptmx"}


def leave_host(new_pid: bool) -> None:
    """Leave the host's namespaces; a plain user, and a root without CAP_SYS_ADMIN, takes a user namespace first."""
    flags = CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | (CLONE_NEWPID if new_pid else 0)
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0 and LIBC.unshare(flags) == 0:
        return
    _call("unshare", LIBC.unshare(flags | CLONE_NEWUSER))
    # The same ids inside as outside, so that files keep their owner in what the notebook sees.
    for name, text in {"setgroups": "deny", "uid_map": f"{uid} {uid} 1", "gid_map": f"{gid} {gid} 1"}.items():
        Path("/proc/self", name).write_text(text)


def build_root(plan: dict[str, Any]) -> None:
    """Make a root of what the plan shows and nothing else, and move into it."""
    root = Path(plan["rootfs"])
    _mount(None, "/", flags=MS_REC | MS_PRIVATE)  # what we mount stays ours
    _mount("tmpfs", root, kind="tmpfs", flags=MS_NOSUID | MS_NODEV)
    _mount(None, root, flags=MS_UNBINDABLE)  # what is bound into it may contain it: do not recurse
    for text, at in plan["links"]:
        _inside(root, at).parent.mkdir(parents=True, exist_ok=True)
        _inside(root, at).symlink_to(text)
    for source, at, writable in plan["mounts"]:
        _bind(source, _inside(root, at), MS_NOSUID | MS_NODEV | (0 if writable else MS_RDONLY))
    _make_dev(root / "dev", plan["devices"])
    (root / "proc").mkdir()
    if plan["pid"]:
        _mount("proc", root / "proc", kind="proc", flags=MS_NOSUID | MS_NODEV | MS_NOEXEC)
        _restrict(root / "proc", MS_RDONLY)  # a root without capabilities may still write /proc/sys
    else:
        _bind("/proc", root / "proc", MS_RDONLY)
    for at in plan["closed"]:
        target = _inside(root, at)
        if target.is_dir():
            _mount("tmpfs", target, kind="tmpfs", flags=MS_RDONLY | MS_NOSUID | MS_NODEV)
        else:
            _mount("/dev/null", target, flags=MS_BIND)
    (root / "run").mkdir()
    os.chdir(root)
    if LIBC.pivot_root(b".", b".") == 0:
        _call("umount2", LIBC.umount2(b".", MNT_DETACH))
    else:
        os.chroot(".")  # the host's root is an initramfs, which cannot be pivoted
    os.chdir("/")
    _restrict(Path("/"), MS_RDONLY)


def drop_privileges() -> None:
    """Give up every capability for good, root's as well: from here on nothing can be mounted, traced or made a device.

    A process that is in a sandbox of another program already has none, and nothing changes.
    """
    number = 0
    while LIBC.prctl(PR_CAPBSET_DROP, number, 0, 0, 0) == 0:
        number += 1
    _call("prctl", LIBC.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0))
    LIBC.prctl(PR_SET_SECUREBITS, NOT_EVEN_ROOT, 0, 0, 0)  # refused where there is no capability left to lose
    header, none = struct.pack("Ii", CAPABILITY_VERSION, 0), bytes(24)
    _call("capset", LIBC.capset(header, none))
    _call("prctl", LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))


def bring_up_loopback() -> None:
    """Bring `lo` up, which is down in a new namespace: without it papermill waits for its kernel for ever."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sH14s", b"lo", 0, b"")
        flags = struct.unpack("16sH14s", fcntl.ioctl(any_socket, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sH14s", b"lo", flags | IFF_UP, b""))


def refused_packets() -> int:
    """Count what the kernel could not route out of this namespace, whatever language tried: curl as well as Python."""
    names, values = [line.split()[1:] for line in Path("/proc/net/snmp").read_text().splitlines() if line[:3] == "Ip:"]
    refused = int(dict(zip(names, values, strict=True))["OutNoRoutes"])
    snmp6 = Path("/proc/net/snmp6")
    if snmp6.exists():
        refused += int(dict(line.split() for line in snmp6.read_text().splitlines()).get("Ip6OutNoRoutes", 0))
    return refused


def end_with_parent(by: signal.Signals = signal.SIGKILL) -> None:
    """Ask the kernel to send this process a signal when its parent ends."""
    _call("prctl", LIBC.prctl(PR_SET_PDEATHSIG, by, 0, 0, 0))


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends."""
    LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def refuse_tracers() -> None:
    """Keep processes of the same user from tracing this one, and from opening its files by way of /proc."""
    LIBC.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def _make_dev(dev: Path, graphics: list[str]) -> None:
    dev.mkdir()
    _mount("tmpfs", dev, kind="tmpfs", flags=MS_NOSUID)
    for source in [*(f"/dev/{name}" for name in DEVICES), *graphics]:
        if os.path.exists(source):
            _make_place(source, dev / source.removeprefix("/dev/"))
            _mount(source, dev / source.removeprefix("/dev/"), flags=MS_BIND | MS_REC)
    for name, text in DEV_LINKS.items():
        (dev / name).symlink_to(text)
    for name in ("pts", "shm"):
        (dev / name).mkdir()
    _mount("tmpfs", dev / "shm", kind="tmpfs", flags=MS_NOSUID | MS_NODEV)
    _mount("devpts", dev / "pts", kind="devpts", flags=MS_NOSUID | MS_NOEXEC, options="newinstance,ptmxmode=0666")
    _restrict(dev, MS_RDONLY)


def _bind(source: str, target: Path, more: int) -> None:
    """Bind a file or folder, and put flags on it and on every mount below it."""
    _make_place(source, target)
    _mount(source, target, flags=MS_BIND | MS_REC)
    for point in _mount_points(target):
        _restrict(point, more)


def _make_place(source: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if os.path.isdir(source):
        target.mkdir(exist_ok=True)
    elif not target.exists():
        target.touch()


def _restrict(point: Path, more: int) -> None:
    """Put more flags on one mount, for instance read-only."""
    _mount(None, point, flags=MS_REMOUNT | MS_BIND | more | _mount_points(point)[point])


def _mount_points(top: Path) -> dict[Path, int]:
    """Map the mounts at and below a path to the flags they have; of several at one path the last, which is seen."""
    found = {}
    for line in Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines():
        words = line.split(" ")
        point = Path(re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), words[4]))
        if point == top or top in point.parents:
            found[point] = sum(KEPT_FLAGS.get(word, 0) for word in words[5].split(","))
    return found


def _inside(root: Path, at: str) -> Path:
    return root / at.lstrip("/")


def _mount(
    source: str | None, target: str | Path, *, kind: str | None = None, flags: int = 0, options: str | None = None
) -> None:
    result = LIBC.mount(_bytes(source), _bytes(target), _bytes(kind), ctypes.c_ulong(flags), _bytes(options))
    _call(f"mount {source or ''} on {target}", result)


def _bytes(text: str | Path | None) -> bytes | None:
    return None if text is None else os.fsencode(text)


def _call(what: str, result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {errno.errorcode.get(number, number)} {os.strerror(number)}")
