"""`make lab`: a real JupyterLab server; saving through it as its editor does writes the edit back."""

import json
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from build.environment import ROOT
from build.notebooks.builder import build as build_notebooks
from build.sync.lab import prepare
from tests.build.sync.conftest import Toy
from tests.build.sync.lab_server import free_port, lab_server, need_lab
from tests.build.sync.test_watch import CARD


def test_nothing_is_put_into_the_users_own_jupyter_folders(toy: Toy) -> None:
    command, environment = prepare(toy.root)
    inside = [value for name, value in environment.items() if name.startswith(("JUPYTER", "IPYTHONDIR"))]
    assert len(inside) >= 6 and all(value.startswith(str(toy.root)) for value in inside)
    config = (toy.root / "out/lab/jupyter_server_config.py").read_text()
    assert 'ServerApp.ip = "127.0.0.1"' in config and "token" not in config  # JupyterLab's own: on, and random
    compile(config, "config", "exec")
    kernel = json.loads((toy.root / "out/lab/data/kernels/python3/kernel.json").read_text())
    assert kernel["argv"][0] == str(ROOT / ".venv/bin/python")


def test_cells_run_in_the_kits_own_python(toy: Toy) -> None:
    # JupyterLab's environment has a kernel of the same name, and once took it: no cell could import torch.
    need_lab()
    (program, *_), environment = prepare(toy.root)
    listed = subprocess.run([program, "kernelspec", "list", "--json"], env=environment, capture_output=True, check=True)
    kernels = json.loads(listed.stdout)["kernelspecs"]
    assert {name: kernel["spec"]["argv"][0] for name, kernel in kernels.items()} == {
        "python3": str(ROOT / ".venv/bin/python")
    }


@pytest.mark.full
def test_a_save_through_jupyterlab_changes_the_module_and_a_bad_save_still_saves(toy: Toy, tmp_path: Path) -> None:
    need_lab()
    build_notebooks([CARD], toy.root)
    name = "i2b-toy-infer/i2b-toy-infer.ipynb"
    command, environment = prepare(toy.root)
    port, log = free_port(), tmp_path / "lab.log"
    command += [f"--ServerApp.port={port}"]
    with lab_server(command, port, log, env=environment, cwd=ROOT) as printed:
        token = printed.partition("token=")[2]
        address = f"http://127.0.0.1:{port}/api/contents/{name}"
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(address)

        def ask(method: str, body: dict | None = None) -> dict:
            data = json.dumps(body).encode() if body else None
            request = urllib.request.Request(address, data, {"Authorization": f"token {token}"}, method=method)
            with urllib.request.urlopen(request) as answer:
                return json.loads(answer.read())

        notebook = ask("GET")["content"]
        cell = next(cell for cell in notebook["cells"] if "print(both(4))" in cell["source"])
        cell["source"] = cell["source"].replace("both(4)", "both(7)")
        ask("PUT", {"type": "notebook", "content": notebook})
        assert "print(both(7))" in toy.text("infer")
        cell["source"] = cell["source"].replace("both(7)", "both(8")
        ask("PUT", {"type": "notebook", "content": notebook})
        saved = (toy.root / "notebooks" / name).read_text()
        assert "both(8" in saved and "print(both(7))" in toy.text("infer")
        errors = toy.root / "notebooks/i2b-toy-infer/i2b-toy-infer.sync-error.txt"
        assert "syntax error" in errors.read_text() and "NOT SYNCED" in log.read_text()
