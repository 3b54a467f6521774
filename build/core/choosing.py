"""Which competition a command is about, found out before it runs.

1. What was typed says it: `--competition` (COMPETITION= of make), by the package's name or by the slug on Kaggle.
2. So does what the command names: an experiment or an ensemble, an adopted kernel, the folder of a bundle or a run.
3. Where nothing says it, it is the default of kernel_src/competition/choice.py.

Two that are not the same are refused. Processes that are forked inherit the choice.
"""

import difflib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from build.core.errors import UsageError
from kernel_src.competition.choice import DEFAULT_COMPETITION, choose_competition, chosen_competition
from kernel_src.competitions.held_facts import competitions, facts
from kernel_src.competitions.held_recipes import COMPETITION_OF
from kernel_src.runtime.files import CONFIG_FILE
from kernel_src.runtime.untrusted import parsed_json

DATA, DEMO = Path("data"), Path("out", "demo")
DEMO_EXPERIMENT = "demo"  # which is trained on what was made here, whatever was downloaded
CONFIG_PLACES = ("", "run", "working/run", "bundle")  # below a folder that a command may name


def known_competition(text: str) -> str:
    """Return the name of the competition that a text names, by its name or its slug on Kaggle; empty: none."""
    slugs = {facts(name).slug: name for name in competitions()}
    return text if text in competitions() else slugs.get(text, "")


def checked_competition(text: str) -> str:
    """Return the name of the competition that was typed.

    Raises:
        UsageError: there is none of this name or slug; names those that there are.
    """
    if name := known_competition(text):
        return name
    close = difflib.get_close_matches(text, competitions(), n=1)
    hint = f" Did you mean {close[0]}?" if close else ""
    raise UsageError(f"no competition {text!r}; there are {', '.join(competitions())}.{hint}")


def competition_of_folder(path: Path) -> str:
    """Return the competition that a bundle, a run, or a file in one belongs to; empty where nothing there says it."""
    folders = [path.parent] if path.is_file() else [path / place for place in CONFIG_PLACES]
    for folder in folders:
        try:
            config = parsed_json((folder / CONFIG_FILE).read_bytes())
        except (OSError, ValueError):
            continue  # whoever reads it says what is wrong with it
        said = config.get("competition") if isinstance(config, dict) else None
        return said if isinstance(said, str) and said in competitions() else ""
    return ""


def choose(typed: str, named: Iterable[str | Path], adopted: Callable[[str], str] = lambda slug: "") -> str:
    """Choose the competition of a command and return its name.

    `named` are the words and folders that the command names, `adopted` returns the competition of an adopted kernel,
    by its slug.

    Raises:
        UsageError: there is no such competition, or two are meant.
    """
    meant = {f"--competition {typed} (make: COMPETITION=)": checked_competition(typed)} if typed else {}
    for one in named:
        path = one if isinstance(one, Path) else Path(one.rpartition("=")[2])  # NAME=PATH
        name = "" if isinstance(one, Path) else COMPETITION_OF.get(one, "") or known_competition(adopted(one))
        if name := name or competition_of_folder(path):
            meant[str(one)] = name
    if len(set(meant.values())) > 1:
        said = ", ".join(f"{what} means {name}" for what, name in meant.items())
        raise UsageError(f"one command works on one competition, but {said}")
    choose_competition(next(iter(meant.values()), DEFAULT_COMPETITION))
    return chosen_competition()


@contextmanager
def working_on(competition: str) -> Iterator[None]:
    """Work on this competition for a while, then on the one from before."""
    before = chosen_competition()
    choose_competition(competition)
    try:
        yield
    finally:
        choose_competition(before)


def first_experiment() -> str:
    """Name the experiment that the chosen competition is begun with: the first of its list."""
    return next(name for name, competition in COMPETITION_OF.items() if competition == chosen_competition())


def demo_folder() -> Path:
    """Return where the demo of the chosen competition lies."""
    return DEMO if chosen_competition() == DEFAULT_COMPETITION else DEMO / chosen_competition()


def data_folder() -> Path:
    """Return where `make data` puts the files of the chosen competition."""
    return DATA / facts().slug


def usual_data(experiment: str) -> Path:
    """Return the competition's folder where none is given: the downloaded one, else the one that the demo made."""
    there = (data_folder() / facts().train_csv).is_file()
    return data_folder() if there and experiment != DEMO_EXPERIMENT else demo_folder() / "competition"
