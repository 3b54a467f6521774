"""The verbs `push-inference` and `push-training`: one push at a time, resumable; the last line says what is next."""

import json
import sys
from collections.abc import Callable
from typing import Any

from build.kaggle.flow import PushOptions, push_inference
from build.kaggle.journal import Journal, only_push
from build.kaggle.preparation import JOURNAL, PUSH_FOLDER
from build.kaggle.training import push_training

INTERRUPTED = 130  # what a shell reports after Ctrl-C


def run_inference(options: PushOptions) -> None:
    """Push an experiment's inference and print what came of it."""
    _run(options, "push-inference", push_inference)


def run_training(options: PushOptions) -> None:
    """Push an experiment's training and print what came of it."""
    _run(options, "push-training", push_training)


def _run(options: PushOptions, verb: str, flow: Callable[[PushOptions, Journal], dict[str, Any]]) -> None:
    with only_push(PUSH_FOLDER):
        journal = Journal(JOURNAL)
        try:
            result = flow(options, journal)
        except KeyboardInterrupt:
            goes_on = options.command(verb)
            print(f"\nstopped; nothing is lost, what runs on Kaggle goes on: `{goes_on}` continues", file=sys.stderr)
            raise SystemExit(INTERRUPTED) from None
        finally:
            journal.close()
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
