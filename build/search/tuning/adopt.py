"""The best trial becomes an experiment: an entry in kernel_src/recipes/tuned_experiments.py, which notebooks carry too.

The file is data and rewritten whole, sorted by name; it can be edited by hand as long as it stays a literal.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from build.core.errors import UsageError
from build.notebooks.adoption import check_name, read_entries
from build.notebooks.builder import ROOT
from build.search.tuning.space import PICKER
from build.stitch.parameters import literal
from kernel_src.recipes.ensembles import ENSEMBLES
from kernel_src.recipes.experiments import EXPERIMENTS
from kernel_src.runtime.files import write_text

TUNED_FILE = Path("kernel_src/recipes/tuned_experiments.py")
HEADING = '''"""## Tuned experiments

What a search found, as changes to an experiment of the list: written by `python -m build tune … --adopt NAME`.
"""

from typing import Any

'''


def read_tuned(path: Path) -> dict[str, dict[str, Any]]:
    """Return the entries of the file; raises what `read_entries` raises."""
    return read_entries(path, "TUNED")


def adopt(name: str, best: Mapping[str, Any], root: Path = ROOT) -> Path:
    """Write a trial's changes as the experiment `name`; return the file.

    The experiment keeps its last epoch, whatever picked that of the trials; who wants a picker writes it into the file.

    Raises:
        UsageError: the name cannot be one, or an experiment written by hand has it.
    """
    path = root / TUNED_FILE
    tuned = read_tuned(path)
    check_name(name, "--adopt")
    if name in ENSEMBLES or (name in EXPERIMENTS and name not in tuned):
        raise UsageError(f"--adopt {name}: there is such an experiment, written by hand; choose another name")
    changes = {field: value for field, value in best["changes"].items() if field not in PICKER}
    tuned[name] = {"base": best["experiment"], "changes": changes, "found_by": best["found_by"]}
    write_text(path, tuned_source(tuned))
    return path


def tuned_source(tuned: Mapping[str, Mapping[str, Any]]) -> str:
    """Write the file, in the formatter's style."""
    lines = []
    for name, entry in sorted(tuned.items()):
        lines += [f"    {literal(name)}: {{", f'        "base": {literal(entry["base"])},', '        "changes": {']
        lines += [
            f"            {literal(field)}: {literal(value)}," for field, value in sorted(entry["changes"].items())
        ]
        lines += ["        },", f'        "found_by": {json.dumps(entry["found_by"], ensure_ascii=False)},', "    },"]
    body = "{\n" + "\n".join(lines) + "\n}" if lines else "{}"
    return f"{HEADING}TUNED: dict[str, dict[str, Any]] = {body}\n"
