"""`python -m build.new.trial NAME`: a package that was just written, imported anew and held against its files."""

import contextlib
import json
import sys
from pathlib import Path

from build.notebooks.builder import ROOT


def main(name: str) -> None:
    """Print a JSON list of what is wrong with the package; it is empty if nothing is."""
    with contextlib.redirect_stdout(sys.stderr):
        from build.notebooks.check.agreement import NOTES, agreement_problems
        from kernel_src.competition.choice import choose_competition
        from kernel_src.competitions.held_facts import facts
        from kernel_src.competitions.held_recipes import COMPETITION_OF
        from kernel_src.competitions.held_rules import rules
        from kernel_src.competitions.kernel_cards import kernel_card, kernels_of

        choose_competition(name)
        for experiment in [one for one, competition in COMPETITION_OF.items() if competition == name]:
            for kernel in kernels_of(experiment):
                kernel_card(experiment, kernel)
        note = json.loads((ROOT / NOTES / f"{name}.json").read_text(encoding="utf-8"))
        problems = agreement_problems(facts(name), rules(name), Path(note["data"]), note["alike"])
    print(json.dumps([problem.as_json() for problem in problems]))


if __name__ == "__main__":
    main(*sys.argv[1:])
