"""The metric: said by an option, asked for once on a terminal, else the usual one of the kind, loudly."""

import sys
from collections.abc import Sequence

from build.core.errors import UsageError
from build.new.guess import Guess
from build.new.kind import USUAL_METRIC
from kernel_src.competition.further_metrics import ALL_METRICS

FITTING = {
    "number": ("rmse", "mae", "r2", "rmsle", "mean_column_rmse"),
    "ordinal": ("quadratic_kappa", "rmse", "mae", "r2"),
    "yes-no": ("auc", "column_log_loss", "rmse", "mae"),
    "classes": ("accuracy", "balanced_accuracy", "macro_f1"),
    "probabilities": ("log_loss", "auc", "accuracy", "macro_f1", "balanced_accuracy"),
}
OTHERWISE = "--metric; its direction comes with it, and cannot be seen from the files: read the competition's page"


def checked_metric(name: str) -> str:
    """Return a metric's name.

    Raises:
        UsageError: there is none of this name.
    """
    if name and name not in ALL_METRICS:
        raise UsageError(
            f"--metric {name} is none of {', '.join(ALL_METRICS)}; another one is a class in the package's rules.py, "
            "written as those in kernel_src/competition/further_metrics.py"
        )
    return name


def choose_metric(kind: str, given: str, may_ask: bool) -> tuple[str, Guess]:
    """Return the metric for a kind of answer, and how it was chosen.

    Raises:
        UsageError: the one that was given does not judge this kind.
    """
    fitting = FITTING[kind]
    if given == "log_loss" and kind == "yes-no":
        given = "column_log_loss"  # of one column the same, with the probability of no taken from that of yes
    why = "you said so"
    if given and given not in fitting:
        raise UsageError(f"--metric {given} does not judge {kind}: {', '.join(fitting)} do; or --kind is another")
    if not given and may_ask and sys.stdin.isatty():
        given = _asked(kind, fitting)
    if not given:
        given, why = USUAL_METRIC[kind], f"not given; the usual one of {kind}"
    doubtful = why != "you said so"
    return given, Guess(name="metric", value=given, why=why, otherwise=OTHERWISE, is_doubtful=doubtful)


def _asked(kind: str, fitting: Sequence[str]) -> str:
    """Ask for the metric, once; an answer that is none of them is none."""
    answer = input(f"Which metric does the competition's page name ({kind})? {', '.join(fitting)}: ").strip()
    if answer and answer not in fitting:
        print(f"{answer!r} is none of them; the usual one is taken, and --metric says another", file=sys.stderr)
    return answer if answer in fitting else ""
