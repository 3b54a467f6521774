"""A fault and what is claimed of it, in a strict run (interactive, batch) and in the competition's rerun."""

from dataclasses import dataclass

from tests.kernel_src.faults.planting import IDS, Plant

MEAN, AS_IT_IS = "the training mean", "predicted as it is"
OTHERS = "other folds, views and bundles, else the training mean"
OTHER_BUNDLES = "the other bundles, else the training mean"
ALL, SOME = IDS, ("some",)
FIRST_SECOND = "A first submission"  # the last heading above the first cell that does something
REPORT = "What was computed, and what was not"


@dataclass(frozen=True, kw_only=True)
class Told:
    """A fault that the rerun tells of; `ids` are those of the photographs or rows, () where none is named."""

    part: str
    what: str  # is part of what it says
    fallback: str
    ids: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Case:
    """One fault.

    The submission of the rerun is compared with what the healthy notebook predicts: `mean` are the photographs that
    must have the training mean, `other` those whose prediction may differ from the healthy one without being the mean;
    all the rest must be as if nothing had happened, or as one fold or bundle alone predicts, which `by` names.
    """

    fault: str
    kind: str  # photograph, output, bundle, memory, device, disk, table, time or code; `make test` has one of each
    plant: Plant
    strict: str  # part of the error; empty: it is none
    strict_note: str = ""  # part of what is told where it is no error
    strict_cell: str = "Predict"  # the heading above the cell that fails
    rerun: tuple[Told, ...]
    rerun_error: str = ""  # part of the error, where not even the rerun can go on; the file on disk is valid
    unwritten: bool = False  # inference_report.json cannot tell: it is what went wrong
    mean: tuple[str, ...] = ()
    other: tuple[str, ...] = ()
    by: str = "all"  # all, fold 1, or the slug of the only bundle that is left

    def __str__(self) -> str:
        return self.fault
