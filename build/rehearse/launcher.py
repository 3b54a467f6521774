"""Enter namespaces of our own, then run one command in them; a script of the standard library only.

`sandbox.launch` runs it as `python -I -S launcher.py PLAN.json`. The plan says what to isolate; where that is nothing
(`"namespace": false`), this process only sees to it that all it started dies with it. What is built in namespaces ends
with the last process in them, so a kill, even of the parent, leaves no mount behind.
"""

import ctypes
import errno
import fcntl
import json
import os
import signal
import socket
import struct
import sys
from pathlib import Path
from typing import Any, NoReturn

LIBC = ctypes.CDLL(None, use_errno=True)
SETUP_FAILED = 97  # exit status: the reason lies in the plan's `status` file
# <linux/sched.h>, <linux/mount.h>, <linux/prctl.h>, <linux/capability.h>
CLONE_NEWNS, CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 1 << 17, 1 << 27, 1 << 28, 1 << 29, 1 << 30
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND, MS_REC = 1, 2, 4, 8, 32, 4096, 16384
MS_UNBINDABLE, MS_PRIVATE, MNT_DETACH = 1 << 17, 1 << 18, 2
# A read-only remount must repeat these, or the kernel takes it for an attempt to shed them: statvfs flag → mount flag.
KEPT_FLAGS = {2: MS_NOSUID, 4: MS_NODEV, 8: MS_NOEXEC, 1024: 1024, 2048: 2048, 4096: 1 << 21}
PR_SET_PDEATHSIG, PR_CAPBSET_DROP, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 24, 36, 38
CAP_SYS_ADMIN = 21
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
# RFC 5737: an address nobody owns. Asking it for a name fails at once, and the kernel counts the refused packet.
DEAD_NAMESERVER = "nameserver 192.0.2.1\noptions timeout:1 attempts:1\n"


def main(plan: dict[str, Any]) -> int:
    """Isolate as the plan says, run its command, return the exit status as a shell would (128 + signal)."""
    try:
        if plan["namespace"]:
            _call("unshare", _unshare(plan["pid"]))
        if plan["pid"]:
            _die_with_parent(plan["parent"])
            child = os.fork()  # the first process of the new pid namespace: when it goes, the kernel kills the rest
            if child:
                return _status(os.waitpid(child, 0)[1])
            _die_with_parent(None)
        else:  # no namespace would take the others along: stay alive for as long as it takes to kill them
            signal.signal(signal.SIGTERM, _stop)
            _die_with_parent(plan["parent"], signal.SIGTERM)
        if plan["namespace"]:
            _build_root(plan)
            _bring_up_loopback()
            _call("prctl", LIBC.prctl(PR_CAPBSET_DROP, CAP_SYS_ADMIN, 0, 0, 0))  # no remount, not even for root
            _call("prctl", LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    except OSError as error:
        Path(plan["status"]).write_text(json.dumps({"error": str(error)}))
        os._exit(SETUP_FAILED)
    status = _run_and_reap(plan)
    if plan["namespace"]:
        Path(plan["counters"]).write_text(json.dumps({"refused_packets": _refused_packets()}))
    if plan["pid"]:
        os._exit(status)  # the forked child must not run its parent's exit handlers
    return status


def _unshare(new_pid: bool) -> int:
    """Leave the host's namespaces; a plain user, and a root without CAP_SYS_ADMIN, takes a user namespace first."""
    flags = CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | (CLONE_NEWPID if new_pid else 0)
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0 and LIBC.unshare(flags) == 0:
        return 0
    if LIBC.unshare(flags | CLONE_NEWUSER) != 0:
        return -1
    # The same ids inside as outside, so that files keep their owner in what the notebook sees.
    for name, text in {"setgroups": "deny", "uid_map": f"{uid} {uid} 1", "gid_map": f"{gid} {gid} 1"}.items():
        Path("/proc/self", name).write_text(text)
    return 0


def _build_root(plan: dict[str, Any]) -> None:
    """Make a root that is the host's plus `/kaggle`, with `/kaggle/input` read-only, and move into it."""
    root = Path(plan["rootfs"])
    _mount(None, "/", flags=MS_REC | MS_PRIVATE)  # what we mount stays ours
    _mount("tmpfs", root, kind="tmpfs", flags=MS_NOSUID)
    _mount(None, root, flags=MS_UNBINDABLE)  # it lies below a folder that is bound into it: do not recurse
    for entry in sorted(os.scandir("/"), key=lambda entry: entry.name):
        target = root / entry.name
        if entry.name == "kaggle" or (entry.name == "proc" and plan["pid"]):
            continue
        if entry.is_symlink():
            target.symlink_to(os.readlink(entry.path))
            continue
        if entry.is_dir():
            target.mkdir()
        else:
            target.touch()
        _mount(entry.path, target, flags=MS_BIND | MS_REC)
    if plan["pid"]:
        (root / "proc").mkdir()
        _mount("proc", root / "proc", kind="proc", flags=MS_NOSUID | MS_NODEV | MS_NOEXEC)
    for name, source in plan["kaggle"].items():
        (root / "kaggle" / name).mkdir(parents=True)
        _mount(source, root / "kaggle" / name, flags=MS_BIND)
    _make_read_only(root / "kaggle" / "input")
    resolver = root.with_name("resolv.conf")  # beside our root, not in it: nothing can be bound from there
    resolver.write_text(DEAD_NAMESERVER)
    os.chdir(root)
    if LIBC.pivot_root(b".", b".") == 0:
        _call("umount2", LIBC.umount2(b".", MNT_DETACH))
    else:
        os.chroot(".")  # the host's root is an initramfs, which cannot be pivoted
    os.chdir("/")
    if Path("/etc/resolv.conf").exists():
        _mount(str(resolver), os.path.realpath("/etc/resolv.conf"), flags=MS_BIND)


def _make_read_only(target: Path) -> None:
    kept = sum(flag for had, flag in KEPT_FLAGS.items() if os.statvfs(target).f_flag & had)
    _mount(None, target, flags=MS_REMOUNT | MS_BIND | MS_RDONLY | kept)


def _bring_up_loopback() -> None:
    """Bring `lo` up, which is down in a new namespace: without it papermill waits for its kernel for ever."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sH14s", b"lo", 0, b"")
        flags = struct.unpack("16sH14s", fcntl.ioctl(any_socket, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sH14s", b"lo", flags | IFF_UP, b""))


def _run_and_reap(plan: dict[str, Any]) -> int:
    """Run the command; as the first process of a pid namespace also bury what others orphan there."""
    if not plan["pid"]:
        LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    here = os.getpid()
    child = os.fork()
    if child == 0:
        _execute(plan, here)
    try:
        while True:
            pid, status = os.wait()
            if pid == child:
                return _status(status)
    finally:
        if not plan["pid"]:
            _kill_children()


def _execute(plan: dict[str, Any], parent: int) -> NoReturn:
    """Become the command."""
    try:
        _die_with_parent(parent)
        os.chdir(plan["cwd"])
        os.execve(plan["argv"][0], plan["argv"], plan["env"])
    except OSError as error:
        Path(plan["status"]).write_text(json.dumps({"error": str(error)}))
    os._exit(SETUP_FAILED)


def _stop(number: int, _: object) -> NoReturn:
    """Leave by way of the `finally` that kills what still runs."""
    raise SystemExit(128 + number)


def _kill_children() -> None:
    """Kill the command and what it started: a child that is killed hands us its own children (subreaper)."""
    for _ in range(1000):
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        if not children:
            return
        for pid in children:
            os.kill(int(pid), signal.SIGKILL)
        for pid in children:
            os.waitpid(int(pid), 0)


def _die_with_parent(parent: int | None, by: signal.Signals = signal.SIGKILL) -> None:
    """Ask the kernel to send this process a signal when its parent ends, and end now if it has already."""
    _call("prctl", LIBC.prctl(PR_SET_PDEATHSIG, by, 0, 0, 0))
    if parent is not None and os.getppid() != parent:
        os._exit(SETUP_FAILED)


def _refused_packets() -> int:
    """Count what the kernel could not route out of this namespace, whatever language tried: curl as well as Python."""
    names, values = [line.split()[1:] for line in Path("/proc/net/snmp").read_text().splitlines() if line[:3] == "Ip:"]
    refused = int(dict(zip(names, values, strict=True))["OutNoRoutes"])
    snmp6 = Path("/proc/net/snmp6")
    if snmp6.exists():
        refused += int(dict(line.split() for line in snmp6.read_text().splitlines()).get("Ip6OutNoRoutes", 0))
    return refused


def _mount(source: str | None, target: str | Path, *, kind: str | None = None, flags: int = 0) -> None:
    result = LIBC.mount(_bytes(source), _bytes(target), _bytes(kind), ctypes.c_ulong(flags), None)
    _call(f"mount {source or ''} on {target}", result)


def _bytes(text: str | Path | None) -> bytes | None:
    return None if text is None else os.fsencode(text)


def _call(what: str, result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {errno.errorcode.get(number, number)} {os.strerror(number)}")


def _status(status: int) -> int:
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


if __name__ == "__main__":
    sys.exit(main(json.loads(Path(sys.argv[1]).read_text())))
