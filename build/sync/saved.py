"""`python -m build.sync.saved NOTEBOOK`: what JupyterLab runs after each save; never fails."""

import sys
from pathlib import Path

from build.notebooks.stamp import SOURCES
from build.sync.watch import sync_saved


def main() -> None:
    """Sync the notebook named on the command line and say what became of it."""
    notebook = Path(sys.argv[1]).resolve()
    root = notebook.parents[2]  # notebooks/<slug>/<slug>.ipynb
    if not (root / SOURCES).is_dir():
        print(f"NOT SYNCED  {notebook}: it is not in a notebooks/<slug>/ folder of the kit")
        return
    for line in sync_saved(notebook, root) or [f"synced      {notebook.name}: nothing new for the sources"]:
        print(line)


if __name__ == "__main__":
    main()
