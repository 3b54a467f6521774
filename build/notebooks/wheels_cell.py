"""The cell that installs packages which Kaggle's image lacks, from a dataset alone, before anything is imported.

It is the first code cell of an adopted kernel's notebook. Every file is compared with the sha256 that was noted when it
was downloaded; pip is told neither of an index nor of dependencies; the packages go into a folder that no run keeps,
which comes first on `sys.path`, and on PYTHONPATH for the processes that the notebook starts.
"""

import re
from collections.abc import Mapping

from build.stitch.notebook import SETUP, Cell

_TEMPLATE = '''\
# set-up: packages from the dataset {slug}
def _install_wheels():
    """Install what Kaggle's image lacks from the dataset {slug}, without a network, each file checked."""
    import hashlib
    import importlib
    import os
    import subprocess
    import sys
    import tempfile
    from pathlib import Path

    wheels = {{  # by Python: file and sha256
{table}
    }}
    python = f"{{sys.version_info.major}}.{{sys.version_info.minor}}"
    if python not in wheels:
        raise RuntimeError(f"no wheels for Python {{python}} in {slug}: there are some for {{', '.join(wheels)}}")
    kaggle = Path(os.environ.get("KIT_KAGGLE_ROOT", "/"), "kaggle", "input")
    places = [*sorted(kaggle.glob("datasets/*/{slug}")), kaggle / "{slug}"]
    folder = next((place for place in places if place.is_dir()), None)
    if folder is None:
        raise FileNotFoundError(f"the dataset {slug} is not mounted below {{kaggle}}: attach it")
    for name, sha256 in wheels[python].items():
        if hashlib.sha256((folder / name).read_bytes()).hexdigest() != sha256:
            raise RuntimeError(f"{{folder / name}} is not the file that was chosen: push the dataset {slug} again")
    target = tempfile.mkdtemp(prefix="wheels-")
    pip = [sys.executable, "-m", "pip", "install", "--isolated", "--disable-pip-version-check", "--quiet"]
    pip += ["--no-index", "--no-deps", "--no-cache-dir", "--no-warn-script-location"]
    pip += ["--find-links", str(folder), "--target", target]
    done = subprocess.run([*pip, *(str(folder / name) for name in wheels[python])], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"pip cannot install the wheels of {slug}: {{done.stderr.strip()[-2000:]}}")
    sys.path.insert(0, target)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [target, os.environ.get("PYTHONPATH")]))
    importlib.invalidate_caches()
    print(f"installed from {{folder}}: {{', '.join(wheels[python])}}")


_install_wheels()
del _install_wheels'''


def wheels_cell(slug: str, wheels: Mapping[str, Mapping[str, str]]) -> Cell:
    """Make the cell for the files of a dataset, by the Python that they are for: name → sha256."""
    lines = []
    for python, files in sorted(wheels.items(), key=lambda item: tuple(map(int, item[0].split(".")))):
        lines.append(f'        "{python}": {{')
        lines += [f'            "{name}": "{sha256}",' for name, sha256 in sorted(files.items())]
        lines.append("        },")
    text = _TEMPLATE.format(slug=slug, table="\n".join(lines))
    return Cell("wheels", "code", text, SETUP, lines=(0,) * (text.count("\n") + 1), folded=True)


WHEEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._]*-[A-Za-z0-9._+!]+(?:-[A-Za-z0-9_.]+){3,4}\.whl")
