"""The verb `new`: from downloaded files to a package that trains a baseline."""

import shlex
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from build.core.errors import CheckFailed, Problem, UsageError
from build.core.options import AsJson
from build.core.printing import print_json, print_line, print_table

if TYPE_CHECKING:
    from build.new.competition import Competition
    from build.new.guess import Guess


def new_verb(
    slug: Annotated[str, typer.Option(help="The competition's slug on Kaggle (make: COMPETITION=).")],
    data: Annotated[Path | None, typer.Option(help="Its files, unpacked; data/SLUG by default.")] = None,
    name: Annotated[str, typer.Option(help="Of the package; made of the slug by default.")] = "",
    metric: Annotated[
        str, typer.Option(help="accuracy, log_loss, rmse, quadratic_kappa …; an odd one lists all.")
    ] = "",
    kind: Annotated[
        Literal["", "number", "ordinal", "yes-no", "classes", "probabilities"],
        typer.Option(help="What is answered, where the guess is wrong."),
    ] = "",
    id_column: Annotated[str, typer.Option(help="The training table's column that names the photographs.")] = "",
    target: Annotated[str, typer.Option(help="The training table's column that is learnt.")] = "",
    group: Annotated[
        str | None, typer.Option(help='The column whose rows belong together; "": none of them makes groups.')
    ] = None,
    look_s: Annotated[float, typer.Option(min=0, help="Seconds to look for near-identical photographs; 0: not.")] = 60,
    overwrite: Annotated[bool, typer.Option(help="Write a package that is there anew; the old one is kept.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be written, and write nothing.")] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Take the package out again; it is kept in out/.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write the package of a new competition.

    Looks at its files, guesses layout, targets, kind and groups, lists every guess, and tries what was written.

    Example: python -m build new --slug aptos2019-blindness-detection --data data/aptos2019-blindness-detection
    --metric quadratic_kappa
    """
    from build.core.progress import counting
    from build.new.looking import Said, look
    from build.new.naming import checked_slug, package_name
    from build.new.package import remove_package, write_package
    from build.new.source import package_files
    from build.notebooks.builder import ROOT

    checked_slug(slug)
    package = package_name(slug, name)
    if remove:
        kept = remove_package(ROOT, package)
        if as_json:
            print_json({"ok": True, "name": package, "kept": kept})
        else:
            print(f"{package} is out; kept in {kept}/")
        return
    check_free(slug, package, overwrite)
    data = data or Path("data") / slug
    said = Said(id_column=id_column, target=target, kind=kind, metric=metric, group=group, look_s=look_s)
    progress = partial(counting, "looking at the photographs", quiet=as_json)
    competition = look(data, slug, package, said, may_ask=not as_json, progress=progress)
    files, kept = package_files(competition), ""
    problems: list[Problem] = []
    if not dry_run:
        note: dict[str, Any] = {
            "data": str(data.resolve()),
            "slug": slug,
            "alike": [list(family) for family in competition.alike],
        }
        note["guesses"] = [guess.as_json() for guess in competition.guesses()]
        kept, problems = write_package(ROOT, package, files, note, overwrite)
    if not as_json:
        report(competition, files, data, kept, dry_run)
    if problems:  # the package stands, so that it can be corrected by hand
        raise CheckFailed(problems)
    if as_json:
        print_json(as_object(competition, files, data, kept, dry_run))


def check_free(slug: str, name: str, overwrite: bool) -> None:
    """Make sure that slug and name are no other competition's.

    Raises:
        UsageError: they are; or there is a package of this name, and it is not to be overwritten.
    """
    from kernel_src.competitions.held_facts import competitions, facts
    from kernel_src.competitions.held_recipes import COMPETITION_OF

    if of_slug := [one for one in competitions() if facts(one).slug == slug and one != name]:
        raise UsageError(f"{slug} has a package already: {of_slug[0]}; say NAME={of_slug[0]} to write that one anew")
    if name in competitions() and not overwrite:
        raise UsageError(
            f"kernel_src/competitions/{name}/ is there already: OVERWRITE=1 writes it anew and keeps the old one in "
            "out/; or choose another NAME="
        )
    if taken := [one for one in (name, f"{name}_gpu") if COMPETITION_OF.get(one, name) != name]:
        whose = COMPETITION_OF[taken[0]]
        raise UsageError(
            f"the experiment {taken[0]} is {whose}'s, and this one's would be called so: choose another NAME="
        )


def next_commands(competition: "Competition", data: Path) -> list[str]:
    """Return the three commands that come next, to be copied."""
    name = competition.name
    return [
        f"make build EXPERIMENT={name}",
        f"make train EXPERIMENT={name} DATA={shlex.quote(str(data))}",
        f"make rehearse EXPERIMENT={name} DATA={shlex.quote(str(data))} WEIGHTS=…",
    ]


def where_to_change(name: str, guess: "Guess") -> str:
    """Return the file of the package in which a guess stands."""
    rules = {"metric", "train_id_column", "label_column", "group_columns", "alike"}
    part = "rules" if guess.name in rules else "experiments" if guess.name == "pictures" else "facts"
    return f"{name}/{part}.py"


def as_object(
    competition: "Competition", files: dict[str, str], data: Path, kept: str, dry_run: bool
) -> dict[str, Any]:
    """Return everything for `--json`."""
    guesses = [
        {**guess.as_json(), "where": where_to_change(competition.name, guess)} for guess in competition.guesses()
    ]
    return {
        "ok": True,
        "name": competition.name,
        "kind": competition.kind.kind,
        "metric": competition.metric,
        "guesses": guesses,
        "files": files if dry_run else sorted(f"kernel_src/competitions/{competition.name}/{one}" for one in files),
        "written": not dry_run,
        "kept": kept,
        "next": next_commands(competition, data),
    }


def report(competition: "Competition", files: dict[str, str], data: Path, kept: str, dry_run: bool) -> None:
    """Print what was guessed, and what comes next."""
    if dry_run:
        for file, text in files.items():
            print(f"--- kernel_src/competitions/{competition.name}/{file}\n{text}")
    rows = [
        (
            "!" if guess.is_doubtful else "",
            guess.name,
            shown(guess.value),
            guess.why,
            where_to_change("", guess)[1:],
        )
        for guess in competition.guesses()
    ]
    print_table(f"{competition.name}: {competition.slug}", ["", "guess", "value", "why", "where"], [], rows)
    for guess in competition.guesses():
        if guess.is_doubtful:
            print_line(f"LOOK: {guess.name} = {shown(guess.value)}: {guess.why}; else {guess.otherwise}", "bold yellow")
    if dry_run:
        print_line("nothing was written (--dry-run)")
        return
    print_line(f"written: kernel_src/competitions/{competition.name}/, and its line in three lists")
    print_line("`make check` holds it against these files from now on")
    if kept:
        print_line(f"the package that was there: {kept}/")
    undo = f"python -m build new --slug {competition.slug} --name {competition.name} --remove"
    print_line(f"take it out again: {undo}")
    print_line("next:\n" + "\n".join(f"  {line}" for line in next_commands(competition, data)))
    print_line("the bundle's folder, for WEIGHTS=, is in the training's last line")


def shown(value: object) -> str:
    """Return a value for the table, cut where it is long."""
    text = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return (text if len(text) <= 40 else f"{text[:37]}…") or '""'
