"""Record, and where no namespace does it, refuse, every attempt to leave this machine.

An audit hook (PEP 578) sees the sockets of all Python code, whatever library opened them, also those whose error the
notebook swallows. Loopback and unix sockets are Jupyter's own traffic and are left alone.
"""

import errno
import json
import os
import shlex
import socket
import sys
import time
from collections.abc import Iterable
from typing import Any

# Programs that would go to the network by themselves, out of sight of a Python hook.
_NETWORK_PROGRAMS = {"aria2c", "apt", "apt-get", "conda", "curl", "ftp", "mamba", "rsync", "scp", "ssh", "wget"}
_GIT_VERBS = {"clone", "fetch", "pull", "push", "ls-remote", "submodule"}
_PIP_VERBS = {"install", "download"}
_STARTS = {"subprocess.Popen": 1, "os.system": 0, "os.posix_spawn": 1, "os.exec": 1}  # event → index of the command


def install(events: str, *, refuse: bool) -> None:
    """Append one JSON line per attempt to the file `events`; with `refuse`, make the attempt fail as well."""

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event.startswith("socket."):
            target = _network_target(event, args)
        elif event in _STARTS:
            target = _command_target(args[_STARTS[event]])
        else:
            return
        if target:
            _record(events, target)
            if refuse:
                _refuse(event, target)

    sys.addaudithook(hook)


def _network_target(event: str, args: tuple[Any, ...]) -> str | None:
    """Name where a socket call wants to go; None if it stays on this machine."""
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        address = args[1]
        if args[0].family not in (socket.AF_INET, socket.AF_INET6) or not address or _is_local(address[0]):
            return None
        return f"{address[0]}:{address[1]}"
    if event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = args[0].decode() if isinstance(args[0], bytes) else args[0]
        # A numeric address needs no look-up; the connection that follows is counted instead.
        if host is None or _is_local(host) or _is_numeric(host):
            return None
        return f"{host}:{args[1]}" if event == "socket.getaddrinfo" and args[1] else str(host)
    return None


def _is_local(host: Any) -> bool:
    name = str(host).split("%")[0]
    return name in ("", "localhost", "0.0.0.0", "::", "::1", socket.gethostname()) or name.startswith("127.")


def _is_numeric(host: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host.split("%")[0])
        except (OSError, ValueError):
            continue
        return True
    return False


def _command_target(command: Any) -> str | None:
    """Name the command if it is one of those that fetch things from the network."""
    words = _words(command)
    for word, following in zip(words, [*words[1:], ""], strict=True):
        program = os.path.basename(word)
        if program in _NETWORK_PROGRAMS or (program == "git" and following in _GIT_VERBS):
            return " ".join(words)[:200]
        if program.split("3")[0] == "pip" and following in _PIP_VERBS and not _is_offline(words):
            return " ".join(words)[:200]
    return None


def _is_offline(words: list[str]) -> bool:
    """Tell whether pip is to take files at hand alone; what it does all the same, the hook in it sees."""
    return "--no-index" in words and not any("://" in word for word in words)


def _words(command: Any) -> list[str]:
    if isinstance(command, (bytes, str)):
        parts: Iterable[Any] = [command]
    else:
        parts = command
    words: list[str] = []
    for part in parts:
        text = os.fsdecode(part)
        try:
            words += shlex.split(text)  # `sh -c "curl …"` hides its words in one argument
        except ValueError:
            words += text.split()
    return words


def _record(events: str, target: str) -> None:
    """Append when, where to, and which cell and line; one write, so that processes do not mix their lines."""
    entry = {"time": time.time(), "target": target, "pid": os.getpid(), **_place()}
    handle = os.open(events, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(handle, (json.dumps(entry) + "\n").encode())
    finally:
        os.close(handle)


def _place() -> dict[str, int | None]:
    """Find the running cell and the innermost line of notebook code on the stack."""
    module = sys.modules.get("IPython.core.interactiveshell")
    shell = getattr(getattr(module, "InteractiveShell", None), "_instance", None)
    if shell is None:
        return {"cell": None, "line_cell": None, "line": None}
    cells = getattr(shell.compile, "_filename_map", {})  # file name of a cell's code → its execution count
    frame: Any = sys._getframe()
    while frame is not None and frame.f_code.co_filename not in cells:
        frame = frame.f_back
    place = (cells[frame.f_code.co_filename], frame.f_lineno) if frame else (None, None)
    return {"cell": shell.execution_count, "line_cell": place[0], "line": place[1]}


def _refuse(event: str, target: str) -> None:
    if event in ("socket.getaddrinfo", "socket.gethostbyname"):
        raise socket.gaierror(socket.EAI_AGAIN, f"Temporary failure in name resolution ({target}: the network is cut)")
    raise OSError(errno.ENETUNREACH, f"Network is unreachable ({target}: the network is cut)")
