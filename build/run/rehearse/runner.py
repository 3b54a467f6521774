"""Execute one notebook with papermill, as Kaggle does. A rehearsal runs this file as a script inside the sandbox.

`python -P runner.py SETTINGS.json` with `{notebook, executed, cwd, progress, output, result}`. The notebook with every
output so far is on disk before the next cell starts, `progress` gets one JSON line when a cell starts and one when it
ends, and `output` holds what the running cell has printed: so a process that is killed still leaves behind how far it
came.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

OK, CELL_FAILED, KERNEL_DIED, OTHER = 0, 1, 3, 4
SILENT_S = 2.0  # cells that put nothing out are written to the notebook's file no more often


def execute(
    notebook: str | Path, executed: str | Path, prepare: Callable[[Any], object] = lambda manager: None, **options: Any
) -> tuple[int, str]:
    """Run a notebook to its end, or to its first error; return how it ended: OK, CELL_FAILED, …, and in words.

    `prepare` is given papermill's manager of the notebook before the first cell.
    """
    import papermill
    from jupyter_client.kernelspec import NoSuchKernel
    from nbclient.exceptions import DeadKernelError
    from papermill.engines import NBClientEngine, papermill_engines

    class SavingEngine(NBClientEngine):  # type: ignore[misc]  # papermill is untyped
        """papermill's own engine, which saves where there is something to save."""

        @classmethod
        def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, **more: Any) -> None:
            prepare(nb_man)
            nb_man.save = saving_what_is_new(nb_man.nb, nb_man.save)
            super().execute_managed_notebook(nb_man, kernel_name, **more)

    papermill_engines.register("saving", SavingEngine)
    try:
        papermill.execute_notebook(notebook, executed, engine_name="saving", **options)
    except papermill.PapermillExecutionError as error:
        return CELL_FAILED, f"{error.ename}: {error.evalue}"
    except DeadKernelError as error:
        return KERNEL_DIED, str(error)
    except (NoSuchKernel, OSError, RuntimeError, ValueError, papermill.exceptions.PapermillException) as error:
        return OTHER, f"{type(error).__name__}: {error}"
    return OK, "every cell ran"


def main(settings: dict[str, str]) -> int:
    """Run the notebook; return the exit status and write the same in words to `result`."""
    progress = Path(settings["progress"])
    output = open(settings["output"], "w")  # for as long as this process lives

    def report_cells(manager: Any) -> None:
        """Let papermill's manager also say when a cell starts and ends."""
        start, complete = manager.cell_start, manager.cell_complete

        def report_start(cell: Any, cell_index: int | None = None, **more: Any) -> None:
            _append(progress, cell, cell_index, "started")
            output.seek(0)
            output.truncate()
            start(cell, cell_index, **more)

        def report_end(cell: Any, cell_index: int | None = None, **more: Any) -> None:
            complete(cell, cell_index, **more)
            _append(progress, cell, cell_index, "ended")

        manager.cell_start, manager.cell_complete = report_start, report_end

    status, message = execute(
        settings["notebook"],
        settings["executed"],
        report_cells,
        cwd=settings["cwd"],
        progress_bar=False,
        stdout_file=output,
        stderr_file=output,
    )
    Path(settings["result"]).write_text(json.dumps({"status": status, "message": message}))
    return status


def saving_what_is_new(notebook: Any, save: Callable[..., None]) -> Callable[..., None]:
    """Save where there are outputs that the file does not have, or some time after the last save.

    papermill saves when a cell starts and when it ends; of a notebook of 150 silent cells that took 15 seconds.
    """
    held, saved = [-1], 0.0

    def save_new(**options: Any) -> None:
        nonlocal held, saved
        # A stream is one output that grows.
        now = [len(output.get("text", "")) for cell in notebook.cells for output in cell.get("outputs", ())]
        if now != held or time.monotonic() - saved >= SILENT_S:
            save(**options)
            held, saved = now, time.monotonic()

    return save_new


def _append(progress: Path, cell: Any, index: int | None, state: str) -> None:
    if cell.cell_type == "code":
        with progress.open("a") as handle:
            handle.write(json.dumps({"index": index, "state": state, "time": time.time()}) + "\n")


if __name__ == "__main__":
    sys.exit(main(json.loads(Path(sys.argv[1]).read_text())))
