"""Faults of what the networks answer."""

from tests.kernel_src.faults.case import ALL, OTHERS, Case, Told
from tests.kernel_src.faults.planted_code import grams
from tests.kernel_src.faults.planting import ALONE, FIRST, SECOND, Plant


def _not_finite(value: str, models: str) -> str:
    return grams(
        f"grams = healthy(self, number, model, view)\nreturn grams.fill_(float('{value}')) if {models} else grams"
    )


def outputs() -> list[Case]:
    cases = []
    for value in ("nan", "inf"):
        for models, whose in (("model == 1", "one fold"), ("True", "every fold")):
            folds = (1,) if whose == "one fold" else (0, 1)
            told = tuple(
                Told(
                    part="fold",
                    what=f"{ALONE}, fold {fold}, view {view}: ",
                    fallback=OTHERS,
                    ids=ALL,
                )
                for fold in folds
                for view in range(4)
            )
            cases.append(
                Case(
                    fault=f"{value} from {whose}",
                    kind="output",
                    plant=Plant(cell=_not_finite(value, models)),
                    strict=f"{ALONE}, fold {folds[0]}, view 0: 2 of 2 predictions are NaN or infinite",
                    rerun=told,
                    mean=ALL if whose == "every fold" else (),
                    by="fold 0",
                )
            )
    cases.append(
        Case(
            fault="NaN from every fold of one bundle of two",
            kind="output",
            plant=Plant(bundles=(FIRST, SECOND), cell=_not_finite("nan", "number == 0")),
            strict=f"{FIRST}, fold 0, view 0: 2 of 2 predictions are NaN or infinite",
            rerun=tuple(
                Told(part="fold", what=f"{FIRST}, fold {fold}, view {view}: ", fallback=OTHERS, ids=ALL)
                for fold in range(2)
                for view in range(4)
            ),
            by=SECOND,
        )
    )
    return cases
