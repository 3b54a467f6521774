"""## Where Kaggle put things

The same dataset appears at `/kaggle/input/datasets/<owner>/<slug>` on one day and at `/kaggle/input/<slug>` on another.
Both are tried, then the tree is searched for a folder below that name with the file that the wanted folder holds.
"""

import os
from collections.abc import Iterator
from pathlib import Path

KAGGLE = Path("/kaggle")
LEFT_BY_RUNS = "out"  # folder of a checkout on one's own machine; no file of the sources, so no part of a literal path
MOCK = Path(LEFT_BY_RUNS, "mock")  # what `make notebook-run` lays out
SEARCH_DEPTH = 6  # folders below the input root: models/<owner>/<model>/<framework>/<variation>/<version>
TREE_LINES = 60
NOTHING_MOUNTED = "nothing at all is mounted"  # `make push-…` finds this in a log, and pushes once more


def kaggle_root() -> Path:
    """Return the folder that holds `input` and `working`: `/kaggle`, or what stands in for it.

    A rehearsal names its stand-in. On a machine without `/kaggle` a notebook finds the mock of the checkout it lies in.
    """
    if named := os.environ.get("KIT_KAGGLE_ROOT"):
        return Path(named) / "kaggle"
    here = Path.cwd()
    mocks = [folder / MOCK / "kaggle" for folder in (here, *here.parents)] if not KAGGLE.is_dir() else []
    return next((mock for mock in mocks if (mock / "input").is_dir()), KAGGLE)


def working_folder() -> Path:
    """Return the folder that Kaggle keeps after the run."""
    return kaggle_root() / "working"


def find_competition(slug: str, sentinel: str) -> Path:
    """Return the folder of the competition's files; `sentinel` is a file that lies in it.

    Raises:
        FileNotFoundError: it is not mounted; the message shows what is, and what to attach.
    """
    inputs = kaggle_root() / "input"
    return _find(inputs, [inputs / "competitions" / slug, inputs / slug], sentinel, f"the competition {slug}")


def find_dataset(slug: str, sentinel: str) -> Path:
    """Return the folder of a dataset, whoever owns it; `sentinel` is a file that lies in it.

    Raises:
        FileNotFoundError: it is not mounted; the message shows what is, and what to attach.
    """
    inputs = kaggle_root() / "input"
    new = sorted((inputs / "datasets").glob(f"*/{slug}"))
    if len(twins := [folder for folder in new if (folder / sentinel).is_file()]) > 1:
        raise FileNotFoundError(
            f"the dataset {slug} is mounted from several owners: {', '.join(map(str, twins))}. Cure: detach all but one"
        )
    return _find(inputs, [*new, inputs / slug], sentinel, f"the dataset {slug}")


# %%
def _find(inputs: Path, places: list[Path], sentinel: str, wanted: str) -> Path:
    for place in places:
        if (place / sentinel).is_file():
            return place
    # Neither layout: an unpacked archive may have added a folder. Only a single hit is safe to take, and only one below
    # its own name: another bundle with the same sentinel would predict without an error.
    hits = [folder for folder in folders_below(inputs) if (folder / sentinel).is_file()]
    named = [folder for folder in hits if places[-1].name in folder.relative_to(inputs).parts]
    if len(named) == 1:
        print(f"{wanted} is at neither of its usual places; taking {named[0]}, the only such folder with {sentinel}")
        return named[0]
    refuse_empty(inputs, wanted)
    found = f"{sentinel} lies in {', '.join(map(str, hits))}" if hits else f"no folder holds {sentinel}"
    raise FileNotFoundError(
        f"{wanted} is not mounted below {inputs} ({found}).\n"
        f"Cure: in the notebook's editor choose Add Input and attach {wanted}, or list it in kernel-metadata.json.\n"
        f"Mounted are:\n{folder_tree(inputs)}"
    )


def refuse_empty(inputs: Path, wanted: str) -> None:
    """Raise where the input folder is empty: Kaggle's first run after an attachment sometimes begins before it is."""
    if not inputs.is_dir() or not any(inputs.iterdir()):
        raise FileNotFoundError(
            f"{wanted} is not mounted below {inputs}: {NOTHING_MOUNTED}"
            f"{'' if inputs.is_dir() else ', the folder does not exist'}.\nCure: where it is attached, run the same "
            f"version once more; else choose Add Input in the notebook's editor and attach {wanted}"
        )


def folders_below(root: Path) -> Iterator[Path]:
    """Yield a folder and all below it down to `SEARCH_DEPTH`, sorted by name."""
    for folder, names, _ in os.walk(root):
        here = Path(folder)
        names.sort()
        if len(here.relative_to(root).parts) >= SEARCH_DEPTH:
            names.clear()
        yield here


def folder_tree(root: Path) -> str:
    """Draw the folders and the first files below `root`, at most 60 lines."""
    if not root.is_dir():
        return f"(nothing: {root} does not exist)"
    lines = []
    for folder in folders_below(root):
        files = sorted(entry.name for entry in folder.iterdir() if entry.is_file())
        more = f" … {len(files)} files" if len(files) > 3 else ""
        depth = len(folder.relative_to(root).parts)
        lines.append(f"{'  ' * depth}{folder.name}/  {', '.join(files[:3])}{more}")
    return "\n".join(lines[:TREE_LINES] + (["…"] if len(lines) > TREE_LINES else []))
