"""A real PostgreSQL on loopback, in a folder of its own, and a wire to it that can be cut."""

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

PASSWORD = "p@ss:word/7"
SAFE_PASSWORD = "p%40ss%3Aword%2F7"  # as it stands in an address


def find_programs() -> Path | None:
    """Return the folder of Debian's newest PostgreSQL, or of the one on the path."""
    folders = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    folders.sort(key=lambda path: float(path.parent.name))
    on_path = shutil.which("initdb")
    return folders[-1] if folders else Path(on_path).parent if on_path else None


class Postgres:
    """A server that runs, with an empty database `tuning`."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs, self._folder = programs, folder
        self.port = free_port()
        # It refuses to run as root.
        self._user = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}
        if self._user:
            who = pwd.getpwnam("nobody")
            os.chown(folder, who.pw_uid, who.pw_gid)
        password = folder / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        self._call("initdb", "-D", str(folder / "data"), "-U", "tuner", "--auth=scram-sha-256", f"--pwfile={password}")
        self.start()

    def url(self, port: int = 0) -> str:
        return f"postgresql://tuner:{SAFE_PASSWORD}@127.0.0.1:{port or self.port}/postgres"

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self._folder} -c fsync=off"
        data, log = str(self._folder / "data"), str(self._folder / "log")
        self._call("pg_ctl", "-D", data, "-l", log, "-w", "-o", options, "start")

    def stop(self) -> None:
        self._call("pg_ctl", "-D", str(self._folder / "data"), "-m", "immediate", "-w", "stop")

    def _call(self, program: str, *words: str) -> None:
        done = subprocess.run(
            [self._programs / program, *words],
            cwd="/",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
            timeout=60,
            **self._user,
        )
        log = self._folder / "log"
        assert done.returncode == 0, f"{program}: {log.read_text() if log.exists() else done.returncode}"


@contextlib.contextmanager
def running_postgres(programs: Path) -> Iterator[Postgres]:
    folder = Path(tempfile.mkdtemp(prefix="kit-postgres-"))  # pytest's own folder is closed to other users
    server = None
    try:
        server = Postgres(programs, folder)
        yield server
    finally:
        if server:
            with contextlib.suppress(AssertionError):
                server.stop()
        shutil.rmtree(folder)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Wire:
    """A port that leads to another one until it is cut."""

    def __init__(self, to_port: int) -> None:
        self._to_port, self._cut = to_port, False
        self._pairs: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """End every connection, and accept none that lasts."""
        self._cut = True
        for end in self._pairs:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self._pairs.clear()

    def mend(self) -> None:
        self._cut = False

    def close(self) -> None:
        self.cut()
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                if self._cut:
                    near.close()
                    continue
                far = socket.create_connection(("127.0.0.1", self._to_port))
                self._pairs += [near, far]
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=self._copy, args=(one, other), daemon=True).start()

    def _copy(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(65536):
                other.sendall(data)
        for end in (one, other):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def wait_until(happened, limit_s: float = 60.0) -> None:
    end = time.monotonic() + limit_s
    while not happened():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.05)
