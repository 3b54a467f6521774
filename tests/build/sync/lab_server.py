"""A JupyterLab of one's own, from its start to the end of a `with` block."""

import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from build.environment import VENV_LAB
from tests.build.sync.test_watch import wait_for


def need_lab() -> None:
    """Skip the test where `make lab` would first have to install something."""
    if not (VENV_LAB / "bin" / "jupyter").exists():
        pytest.skip("no JupyterLab on this machine → `make setup-lab`")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextmanager
def lab_server(command: Sequence[str], port: int, log: Path, **more: Any) -> Iterator[str]:
    """Run a command that becomes JupyterLab; hand out the address that it prints, with its token, once it answers."""
    with log.open("w") as out:
        server = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True, **more)
    try:
        printed = re.compile(rf"http://127\.0\.0\.1:{port}/lab\S*token=\w+")
        wait_for(lambda: bool(printed.search(log.read_text())) or server.poll() is not None, 120)
        address = printed.search(log.read_text())
        assert address, log.read_text()

        def answers() -> bool:  # the address is printed before anybody listens there
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        wait_for(answers)
        yield address[0]
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGTERM)  # make, too, where the command is a target of it
        server.wait(30)
