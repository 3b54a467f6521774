"""The preflight's stages, one at a time: what it costs is said first, what it found is kept, the next one is named."""

from collections.abc import Callable
from typing import Any

from build.core.errors import CheckFailed, UsageError
from build.core.printing import print_json, print_table
from build.kaggle.account_stage import ask_account
from build.kaggle.answers import AnswerStore, settled_on
from build.kaggle.asking import Asking
from build.kaggle.journal import Journal
from build.kaggle.log_stage import ask_log
from build.kaggle.preflight import ACCEPT, ask_image
from build.kaggle.speed_stage import ask_speed
from build.kaggle.submission_stage import ask_submission
from build.kaggle.unknowns import STAGES, UNKNOWNS, Stage, stage_named, unknowns_of
from build.kaggle.upload_stage import ask_upload

ASK: dict[str, Callable[[Asking], dict[str, Any]]] = {
    "account": ask_account,
    "upload": ask_upload,
    "log": ask_log,
    "image": ask_image,
    "gpus": ask_speed,
    "submission": ask_submission,
}


def chosen_stage(name: str) -> Stage:
    """Return the stage of this name; `next` is the cheapest that is not settled, none that submits.

    Raises:
        UsageError: there is no such stage, or nothing is left for `next`.
        CheckFailed: the answers' file is damaged.
    """
    if name == "next":
        following = next_stage()
        if following is None or following.submissions:
            left = f"; {following.command} is left: it submits, so it has to be named" if following else ""
            raise UsageError(f"every stage that submits nothing is settled{left}")
        return following
    stage = stage_named(name)
    if stage is None:
        names = ", ".join(one.name for one in STAGES)
        raise UsageError(f"no stage {name!r}; there are {names}, `next` for the cheapest that is left, and `list`")
    return stage


def next_stage() -> Stage | None:
    """Return the cheapest stage that is not settled."""
    return next((stage for stage in STAGES if not settled_on(stage)), None)


def run_stage(stage: Stage, journal: Journal, *, again: bool, overwrite: bool, quiet: bool) -> None:
    """Run a stage, and print what it found.

    Raises:
        CheckFailed: what it asked was not answered, all of it; what was is kept.
        UsageError: something has to be made first.
    """
    store = AnswerStore()
    if again:
        store.begin_anew(stage)
    asking = Asking(stage, journal, store, again, overwrite, quiet)
    settled = not store.missing(stage) and not stage.asks_always
    if not quiet:
        print(f"stage {stage.name}: {stage.does}; {stage.cost} (estimates)")
    result = {} if settled else ASK[stage.name](asking)
    if quiet:
        print_json(_as_json(stage, store, asking, result))
    else:
        if settled:
            print(f"nothing to do: settled on {settled_on(stage)}; AGAIN=1 asks once more")
        print(_last_line(stage, store))
    if asking.problems:
        raise SystemExit(1) if quiet else CheckFailed(asking.problems)


def list_stages(as_json: bool) -> None:
    """Print each stage with its cost, and whether it is settled; then what no stage settles."""
    rows = [(stage, settled_on(stage)) for stage in STAGES]
    following = next_stage()
    if as_json:
        stages = [
            {
                "stage": stage.name,
                "does": stage.does,
                "command": stage.command,
                "seconds": stage.seconds,
                "gpu_minutes": stage.gpu_minutes,
                "submissions": stage.submissions,
                "upload_mb": stage.upload_mb,
                "unknowns": [unknown.name for unknown in unknowns_of(stage)],
                "settled": day or None,
            }
            for stage, day in rows
        ]
        print_json({"ok": True, "stages": stages, "next": following.name if following else None})
        return
    cells = [(stage.name, stage.cost, str(len(unknowns_of(stage))), day or "open") for stage, day in rows]
    print_table("", ("stage", "cost (estimates)", "unknowns", "settled"), (), cells)
    others = [unknown.name for unknown in UNKNOWNS if not unknown.stage]
    print(f"by no stage: {', '.join(others)} (docs/first-real-hour.md)")
    print(_next_words(following))


def _last_line(stage: Stage, store: AnswerStore) -> str:
    """Say in one line how much is settled, where it is kept, and what comes next."""
    all_of_them, missing = unknowns_of(stage), store.missing(stage)
    left = f" (open: {', '.join(missing)}; AGAIN=1 asks all of it once more)" if missing else ""
    kept = f"{len(all_of_them) - len(missing)} of {len(all_of_them)} settled{left}, kept in {store.path}"
    return f"stage {stage.name}: {kept}; {_next_words(next_stage())}"


def _next_words(following: Stage | None) -> str:
    if following is None:
        return f"every stage is settled; to keep the answers in the kit: {ACCEPT}"
    before = f", after {following.first}" if following.first else ""
    return f"next: {following.command} ({following.cost}{before})"


def _as_json(stage: Stage, store: AnswerStore, asking: Asking, result: dict[str, Any]) -> dict[str, Any]:
    names = {unknown.name for unknown in unknowns_of(stage)}
    following = next_stage()
    return {
        "ok": not asking.problems,
        "stage": stage.name,
        **result,
        "answers": {name: answer for name, answer in store.as_json().items() if name in names},
        "open": store.missing(stage),
        "kept": str(store.path),
        "problems": [problem.as_json() for problem in asking.problems],
        "next": following.name if following else None,
    }
