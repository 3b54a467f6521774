"""`make lab`: JupyterLab on the built notebooks; every save goes through the sync.

JupyterLab has an environment of its own, `.venv-lab`: its extras would make each import of nbformat in `.venv` 0.8 s
slower. Cells run in `.venv`, as does what each save starts: this module, with the notebook's path. The configuration is
a file below out/, named on the command line: nothing is read from or written to the user's own Jupyter folders.
JupyterLab's own requests for news and newer versions are off.
"""

import os
import sys
from pathlib import Path

from build.core.errors import CheckFailed, Problem
from build.environment import ROOT, VENV_LAB, set_up_lab
from build.installation import locks
from build.notebooks.builder import NOTEBOOKS, build_missing, slug_named
from build.notebooks.stamp import SOURCES
from build.sync.watch import sync_saved
from kernel_src.runtime.files import write_json, write_text

LAB = Path("out", "lab")
NEWS = "@jupyterlab/apputils-extension:announcements"  # asks for news and newer versions
_CONFIG = '''"""Written by `make lab`: after each save the notebook's edits go to kernel_src/."""
import subprocess
import sys
import warnings

PYTHON, ROOT = {python!r}, {root!r}


def after_save(model, os_path, contents_manager, **more):
    """Sync; whatever happens the save has happened."""
    if model["type"] != "notebook":
        return
    try:
        command = [PYTHON, "-m", "build.sync.lab", os_path]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, errors="replace")
        print(done.stdout + done.stderr, end="", file=sys.stderr, flush=True)
    except OSError as error:  # no process can be started
        print(f"NOT SYNCED  {{os_path}}: {{error}}", file=sys.stderr, flush=True)


warnings.filterwarnings("ignore", "Overriding existing post_save_hook")  # the server takes this very hook twice
c = get_config()  # noqa: F821
c.FileContentsManager.post_save_hook = after_save
c.ServerApp.ip = "127.0.0.1"
c.ServerApp.root_dir = {folder!r}
c.ServerApp.open_browser = False
'''


def prepare(root: Path = ROOT) -> tuple[list[str], dict[str, str]]:
    """Write the configuration and a kernel of `.venv`; return the command and the environment of the server."""
    folder = root / LAB
    argv = [str(ROOT / ".venv" / "bin" / "python"), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    kernel = folder / "data" / "kernels" / "python3" / "kernel.json"
    page = folder / "config" / "labconfig" / "page_config.json"
    for file in (kernel, page):
        file.parent.mkdir(parents=True, exist_ok=True)
    write_json(kernel, {"argv": argv, "display_name": "Python 3 (the kit)", "language": "python"})
    write_json(page, {"disabledExtensions": {NEWS: True}})
    config = folder / "jupyter_server_config.py"
    write_text(config, _CONFIG.format(python=sys.executable, root=str(ROOT), folder=str(root / NOTEBOOKS)))
    names = {"JUPYTER_DATA_DIR": "data", "JUPYTER_CONFIG_DIR": "config", "JUPYTER_RUNTIME_DIR": "runtime"}
    names |= {"JUPYTERLAB_SETTINGS_DIR": "settings", "JUPYTERLAB_WORKSPACES_DIR": "workspaces", "IPYTHONDIR": "ipython"}
    # Comes before all else: .venv-lab has a kernel python3 of its own, which would be taken and has no torch.
    names |= {"JUPYTER_PATH": "data"}
    environment = {**os.environ, **{name: str(folder / place) for name, place in names.items()}}
    as_root = ["--allow-root"] if os.geteuid() == 0 else []  # in a container; it still listens on loopback alone
    return [str(VENV_LAB / "bin" / "jupyter"), "lab", f"--config={config}", *as_root], environment


def run(experiment: str, port: int) -> None:
    """Become JupyterLab.

    Raises:
        CheckFailed: it cannot be installed.
    """
    if set_up_lab():
        wanted = ", ".join(locks.requirements(group=locks.LAB))
        raise CheckFailed([Problem(what=f"cannot install {wanted}", cure="see the output above")])
    command, environment = prepare()
    command += [f"--ServerApp.port={port}"]
    if experiment:
        slug = slug_named(experiment, "infer")
        build_missing(slug)
        command += [f"--LabApp.default_url=/lab/tree/{slug}/{slug}.ipynb"]
    print("JupyterLab: open the address with the token below", flush=True)
    os.execve(command[0], command, environment)


def after_save(notebook: Path) -> None:
    """Sync a notebook that JupyterLab saved and say what became of it; never fails."""
    root = notebook.parents[2]  # notebooks/<slug>/<slug>.ipynb
    if not (root / SOURCES).is_dir():
        print(f"NOT SYNCED  {notebook}: it is not in a notebooks/<slug>/ folder of the kit")
        return
    for line in sync_saved(notebook, root) or [f"synced      {notebook.name}: nothing new for the sources"]:
        print(line)


if __name__ == "__main__":
    after_save(Path(sys.argv[1]).resolve())
