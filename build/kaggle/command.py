"""The verbs `push-inference` and `push-training`: one push at a time, resumable; the last line says what is next."""

import json
from collections.abc import Callable
from typing import Any

from build.kaggle.flow import PushOptions, push_inference
from build.kaggle.journal import Journal
from build.kaggle.preparation import one_push
from build.kaggle.training import push_training


def run_inference(options: PushOptions) -> None:
    """Push an experiment's inference and print what came of it."""
    _run(options, "push-inference", push_inference)


def run_training(options: PushOptions) -> None:
    """Push an experiment's training and print what came of it."""
    _run(options, "push-training", push_training)


def _run(options: PushOptions, verb: str, flow: Callable[[PushOptions, Journal], dict[str, Any]]) -> None:
    with one_push(options.command(verb)) as journal:
        result = flow(options, journal)
    if options.quiet:
        print(json.dumps({"ok": True, **result}, indent=2))
    elif result.get("nothing_left_to_do"):
        print("nothing left to do; --again (make: AGAIN=1) would submit once more")
    elif "next" in result:
        print(result["next"])
    elif "submission" in result:
        print(f"submission {result['submission']}: {result['status']}, public {result['public']}")
    else:
        print(f"bundle {result['bundle']}: `{PushOptions(experiment=options.experiment).command()}` is next")
