"""The faults, and what is claimed of each: in a strict run (interactive, batch) and in the competition's rerun.

The tests hold every claim against a rehearsal of the built notebook; docs/inference-faults.md shows the same claims.
"""

import csv
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from kernel_src.common.competition import TARGETS
from tests.faults import odd_photographs as odd
from tests.faults.planting import (
    ALONE,
    BEFORE_ALL,
    BEFORE_LIBRARIES,
    BEFORE_REPORT,
    FIRST,
    IDS,
    SECOND,
    WITH_DEPTH,
    Plant,
    flip_byte,
    rewrite_manifest,
)

MEAN, AS_IT_IS = "the training mean", "predicted as it is"
OTHERS = "other folds, views and bundles, else the training mean"
OTHER_BUNDLES = "the other bundles, else the training mean"
ALL, SOME = IDS, ("some",)


@dataclass(frozen=True, kw_only=True)
class Told:
    """A fault that the rerun tells of; `ids` are those of the photographs or rows, () where none is named."""

    part: str
    what: str  # is part of what it says
    instead: str
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
    strict_cell: str = "Inference within the time"  # the heading above the cell that fails
    rerun: tuple[Told, ...]
    rerun_error: str = ""  # part of the error, where not even the rerun can go on; the file on disk is valid
    unwritten: bool = False  # inference_report.json cannot tell: it is what went wrong
    mean: tuple[str, ...] = ()
    other: tuple[str, ...] = ()
    by: str = "all"  # all, fold 1, or the slug of the only bundle that is left

    def __str__(self) -> str:
        return self.fault


# Photographs. In the rerun all of them are rehearsed at once: photograph i has fault i.

UNREADABLE, ODD = "cannot be decoded", AS_IT_IS
_PHOTOGRAPHS: tuple[tuple[str, Callable[[Path], None], str, str], ...] = (
    ("broken JPEG", odd.broken, UNREADABLE, MEAN),
    ("truncated JPEG", odd.truncated, UNREADABLE, MEAN),
    ("JPEG with another file's block in its middle", odd.overwritten, UNREADABLE, MEAN),
    ("zero bytes", odd.empty, UNREADABLE, MEAN),
    ("missing file", odd.missing, "does not exist", MEAN),
    ("a folder in its place", odd.a_folder, "cannot be read", MEAN),
    ("CMYK", odd.cmyk, "CMYK, not RGB of 8 bits", ODD),
    ("grayscale", odd.grayscale, "grayscale, not RGB of 8 bits", ODD),
    ("16-bit PNG", odd.sixteen_bits, "PNG inside, not JPEG", ODD),
    ("PNG in disguise", odd.png, "PNG inside, not JPEG", ODD),
    ("EXIF rotation", odd.turned, "turned upright by its EXIF orientation 6", ODD),
    ("1x1", odd.one_pixel, "1 x 1 px, squashed from another aspect ratio", ODD),
    ("12000x6000", odd.huge, "12000 x 6000 px, of another size than 2000 x 1000", ODD),
    ("square", odd.square, "100 x 100 px, squashed from another aspect ratio", ODD),
)
PHOTOGRAPHS = tuple(
    Case(
        fault=fault,
        kind="photograph",
        plant=Plant(photographs={name: spoil}),
        strict=what,
        rerun=(
            Told(part="photograph", what=what, instead=instead, ids=(name,)),
            # A picture of one pixel is odd in two ways.
            *(
                [
                    Told(
                        part="photograph",
                        what="1 x 1 px, of another size than 2000 x 1000",
                        instead=instead,
                        ids=(name,),
                    )
                ]
                if fault == "1x1"
                else []
            ),
        ),
        mean=(name,) if instead == MEAN else (),
        other=(name,) if instead == ODD else (),
    )
    for name, (fault, spoil, what, instead) in zip(IDS, _PHOTOGRAPHS, strict=False)
)


# What the networks answer, the memory and the devices: planted code.

GRAMS = """
def planted(self, number, model, view, healthy=BatchWork.grams):
    {body}
BatchWork.grams = planted
"""


def _grams(body: str) -> str:
    return GRAMS.format(body="\n    ".join(body.strip().splitlines()))


def _mark(what: str) -> str:
    """A file that says that it has happened."""
    return f"Path(f'{{working_folder()}}/planted-{what}')"


TWO_DEVICES = 'check_device = lambda: DeviceReport(kind="cpu", name="CPU", count=2, half=False)\n'


def _not_finite(value: str, models: str) -> str:
    return _grams(
        f"grams = healthy(self, number, model, view)\nreturn grams.fill_(float('{value}')) if {models} else grams"
    )


def _outputs() -> list[Case]:
    cases = []
    for value in ("nan", "inf"):
        for models, whose in (("model == 1", "one fold"), ("True", "every fold")):
            folds = (1,) if whose == "one fold" else (0, 1)
            told = tuple(
                Told(
                    part="fold",
                    what=f"{ALONE}, fold {fold}, view {view}: ",
                    instead=OTHERS,
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
                Told(part="fold", what=f"{FIRST}, fold {fold}, view {view}: ", instead=OTHERS, ids=ALL)
                for fold in range(2)
                for view in range(4)
            ),
            by=SECOND,
        )
    )
    return cases


CROWDED = "raise torch.OutOfMemoryError('CUDA out of memory')"
WHITE = "bool((self.pictures[0] == 255).all((1, 2, 3)).any())"
KILL = "os.kill(os.getpid(), 9)"


def _killing(name: str) -> str:
    return f"kills the worker of {name}, twice"


def _before_grams(body: str) -> str:
    return _grams(f"{body}\nreturn healthy(self, number, model, view)")


def _once(then: str, when: str) -> str:
    return _before_grams(f"if {when} and not {_mark('once')}.exists():\n    {_mark('once')}.touch()\n    {then}")


FAILS_TO_START = """
healthy = DeviceWorker.__init__
def planted(self, pipe, orders):
    if orders.index == 1:
        raise RuntimeError("CUDA error: device-side assert triggered")
    healthy(self, pipe, orders)
DeviceWorker.__init__ = planted
"""
# The worker of the second device is told by its index; the first waits until it has died once, or would do all alone.
DIES_MIDWAY = f"""
start, healthy, passes = DeviceWorker.__init__, BatchWork.grams, []
def planted_start(self, pipe, orders):
    start(self, pipe, orders)
    passes.append(orders.index)
def planted(self, number, model, view):
    passes.append(0)
    while passes[0] == 0 and not {_mark("died")}.exists():
        time.sleep(0.05)
    if passes[0] == 1 and len(passes) > 6:
        {_mark("died")}.touch()
        os.kill(os.getpid(), 9)
    return healthy(self, number, model, view)
DeviceWorker.__init__, BatchWork.grams = planted_start, planted
"""
HANGS_LOADING = f"""
LOADING_S = 5.0
def planted(self, *some, healthy=DeviceWorker._load):
    if not {_mark("hung")}.exists():
        {_mark("hung")}.touch()
        time.sleep(600)
    return healthy(self, *some)
DeviceWorker._load = planted
"""
HANGS = "SILENCE_S = 1.0\n" + _once("time.sleep(600)", "len(self.pictures[0]) > 2")
# As a process is that waits for ever in the driver.
CANNOT_BE_KILLED = "ENDING_S = 0.5\nget_context('fork').Process.kill = lambda self: None\n"
# Two GPUs, one of which multiplies wrongly; the other is played by the CPU.
ONE_GPU_OF_TWO = """
count_gpus = lambda: 2
probe_gpu = lambda index: Gpu("Tesla T4", f"GPU {index}: Tesla T4 multiplies wrongly" if index == 0 else "")
def check_device(healthy=check_device):
    return replace(healthy(), kind="cpu", half=False)
"""
AGAIN = "its photographs are tried again on CPU"


def _devices() -> list[Case]:
    first = IDS[0]
    crowded_if_white = _before_grams(f"if {WHITE}:\n    {CROWDED}")
    return [
        Case(
            fault="memory too small for a batch",
            kind="memory",
            plant=Plant(cell=_before_grams(f"if len(self.pictures[0]) > 3:\n    {CROWDED}")),
            strict="",
            strict_note="the memory is too small for 4 photographs at once",
            rerun=(Told(part="memory", what="too small for 4 photographs at once", instead="2 at once from now on"),),
        ),
        Case(
            fault="memory too small for one photograph",
            kind="memory",
            plant=Plant(photographs={first: odd.white}, cell=crowded_if_white),
            strict="OutOfMemoryError: CUDA out of memory",
            rerun=(
                Told(part="memory", what="too small for 2 photographs at once", instead="1 at once from now on"),
                Told(part="device", what="OutOfMemoryError", instead=AGAIN, ids=IDS[:2]),
                Told(
                    part="photograph", what=_killing("CPU"), instead=f"what is there of it, else {MEAN}", ids=(first,)
                ),
            ),
            mean=(first,),
        ),
        Case(
            fault="a worker killed once",
            kind="device",
            plant=Plant(cell=_once(KILL, "(model, view) == (1, 2)")),
            strict="the worker of CPU killed by SIGKILL",
            rerun=(Told(part="device", what="killed by SIGKILL", instead=AGAIN, ids=IDS[:2]),),
        ),
        Case(
            fault="a fold that kills its workers",
            kind="device",
            plant=Plant(cell=_before_grams(f"if model == 0:\n    {KILL}")),
            strict="the worker of CPU killed by SIGKILL",
            rerun=(
                Told(part="device", what="killed by SIGKILL", instead=AGAIN, ids=IDS[:2]),
                Told(part="photograph", what=_killing("CPU"), instead="what is there of it", ids=IDS[:1]),
                Told(part="fold", what=f"{ALONE}, fold 0: kills its workers", instead="the other folds"),
            ),
            by="fold 1",
        ),
        Case(
            fault="a worker that hangs",
            kind="device",
            plant=Plant(cell=HANGS),
            strict="the worker of CPU killed by SIGKILL: it hung",
            rerun=(Told(part="device", what="it hung", instead=AGAIN, ids=IDS[2:6]),),
        ),
        Case(
            fault="a worker that hangs and cannot be ended",
            kind="device",
            plant=Plant(cell=CANNOT_BE_KILLED + HANGS),
            strict="the worker of CPU cannot be ended: it hung",
            rerun=(Told(part="device", what="cannot be ended: it hung", instead=AGAIN, ids=IDS[2:6]),),
        ),
        Case(
            fault="a worker that hangs while it loads the bundles",
            kind="device",
            plant=Plant(cell=HANGS_LOADING),
            strict="the worker of CPU killed by SIGKILL: it hung while it loaded the bundles",
            rerun=(Told(part="device", what="it hung while it loaded", instead="the work is done on CPU"),),
        ),
        Case(
            fault="one of two devices failing at its start",
            kind="device",
            plant=Plant(cell=TWO_DEVICES + FAILS_TO_START),
            strict="ended with exit code 1: RuntimeError: CUDA error: device-side assert triggered",
            rerun=(Told(part="device", what="device-side assert", instead="the work is done on CPU"),),
        ),
        Case(
            fault="one of two devices dying midway, again and again",
            kind="device",
            plant=Plant(cell=TWO_DEVICES + DIES_MIDWAY),
            strict="killed by SIGKILL",
            rerun=(Told(part="device", what="killed by SIGKILL", instead="tried again on", ids=SOME),),
        ),
        Case(
            fault="a GPU like Kaggle's P100, which this torch has no kernels for",
            kind="device",
            plant=Plant(device="p100"),
            strict="",
            strict_note="Tesla P100-PCIE-16GB is sm_60",
            rerun=(Told(part="device", what="Tesla P100-PCIE-16GB is sm_60", instead="predicted on 1 x CPU"),),
        ),
        Case(
            fault="one of two GPUs that multiplies wrongly",
            kind="device",
            plant=Plant(cell=ONE_GPU_OF_TWO),
            strict="",
            strict_note="GPU 0: Tesla T4 multiplies wrongly → predicted on 1 x Tesla T4",
            rerun=(
                Told(part="device", what="GPU 0: Tesla T4 multiplies wrongly", instead="predicted on 1 x Tesla T4"),
            ),
        ),
        Case(
            fault="a driver that hangs when it is asked for its GPUs",
            kind="device",
            plant=Plant(cell="ANSWER_S = 1.0\ncount_gpus = lambda: time.sleep(600)"),
            strict="",
            strict_note="no answer within 1 s, the driver hangs",
            rerun=(Told(part="device", what="no answer within 1 s", instead="predicted on 1 x CPU"),),
        ),
    ]


# The time

# The last photograph's last step takes until the time is over; the clock is moved, so that nobody waits for it.
TIME_IS_OVER = (
    _before_grams(
        f"if (model, view) == (1, 3) and {WHITE}:\n    time.sleep(2)\n    {_mark('over')}.touch()\n    time.sleep(600)"
    )
    + f"""
infer.__kwdefaults__["clock"] = lambda: time.monotonic() + (61.0 if {_mark("over")}.exists() else 0.0)
"""
)
TIME = Case(
    fault="the time is over before the last step of one photograph",
    kind="time",
    plant=Plant(photographs={IDS[-1]: odd.white}, cell=TIME_IS_OVER, parameters={"PREDICT_SECONDS": 60}),
    strict="",
    strict_note="the time allowed all 8 steps for",
    rerun=(Told(part="time", what="the time allowed all 8 steps for", instead="steps for the others"),),
    other=IDS[-1:],
)


# The disk

FULL = """
def write_atomically(path, write, healthy=write_atomically):
    if path.name == "{name}"{when}:
        raise OSError(28, "No space left on device", str(path))
    healthy(path, write)
"""
# A real limit: no file may be larger than 100 bytes.
SMALL = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))"
SAVED_BEFORE = "the one saved before"
FIRST_SECOND = "The hidden test"  # the last heading above the first cell that does something
REPORT = "The report of an inference"
DISK = [
    Case(
        fault="disk full in the first second, then free again",
        kind="disk",
        plant=Plant(
            cell=FULL.format(name="submission.csv", when=f" and not {_mark('full')}.exists()").replace(
                "        raise", f"        {_mark('full')}.touch()\n        raise"
            ),
            before=BEFORE_ALL,
        ),
        strict="No space left on device",
        strict_cell=FIRST_SECOND,
        rerun=(Told(part="disk", what="No space left on device", instead="saved again with the first predictions"),),
    ),
    Case(
        fault="disk full for submission.csv after the first second",
        kind="disk",
        plant=Plant(cell=FULL.format(name="submission.csv", when="")),
        strict="the submission cannot be saved: [Errno 28] No space left on device",
        rerun=(Told(part="disk", what="No space left on device", instead=SAVED_BEFORE),),
        mean=ALL,
    ),
    Case(
        fault="disk full for the report",
        kind="disk",
        plant=Plant(cell=SMALL, before=BEFORE_REPORT),
        strict="File too large",
        strict_cell=REPORT,
        rerun=(Told(part="disk", what="inference_report.json cannot be written", instead="these lines"),),
        unwritten=True,
    ),
]


# The table

NOBODY = "Dry_Nobody_g"


def _table(change: Callable[[list[dict[str, str]]], list[dict[str, str]]], *names: str) -> Callable[[Path], None]:
    """Rewrite test.csv, and the sample submission where its rows change."""

    def rewrite(folder: Path) -> None:
        for name in names or ("test.csv",):
            with (folder / name).open(newline="") as handle:
                rows = list(csv.DictReader(handle))
                heading = list(rows[0])
            rows = change(rows)
            heading = list(rows[0]) if rows else heading
            with (folder / name).open("w", newline="") as handle:
                writer = csv.DictWriter(handle, heading, lineterminator="\n")
                writer.writeheader()
                writer.writerows(rows)

    return rewrite


BOTH = ("test.csv", "sample_submission.csv")
TWICE = tuple(f"{IDS[0]}__{target}" for target in sorted(TARGETS)[:3])


def _unknown(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    return rows + [
        dict(rows[-1], sample_id=f"{IDS[-1]}__{NOBODY}", **({"target_name": NOBODY} if len(rows[-1]) > 2 else {}))
    ]


def _without(*columns: str) -> Callable[[list[dict[str, str]]], list[dict[str, str]]]:
    return lambda rows: [{key: value for key, value in row.items() if key not in columns} for row in rows]


TABLES = [
    Case(
        fault="duplicate rows",
        kind="table",
        plant=Plant(tables=_table(lambda rows: rows + rows[:3])),
        strict="rows appear twice",
        strict_cell=FIRST_SECOND,
        rerun=(Told(part="table", what="rows appear twice", instead="each is predicted and written once", ids=TWICE),),
    ),
    Case(
        fault="reordered rows",
        kind="table",
        plant=Plant(tables=_table(lambda rows: sorted(rows, key=lambda row: row["sample_id"][::-1]))),
        strict="",
        rerun=(),
    ),
    Case(
        fault="unknown target names",
        kind="table",
        plant=Plant(tables=_table(_unknown, *BOTH)),
        strict="rows whose target is none of",
        strict_cell=FIRST_SECOND,
        rerun=(
            Told(
                part="table",
                what="rows whose target is none of",
                instead="the mean over all training means",
                ids=(f"{IDS[-1]}__{NOBODY}",),
            ),
        ),
    ),
    Case(
        fault="an empty test set",
        kind="table",
        plant=Plant(tables=_table(lambda rows: [], *BOTH)),
        strict="has a heading and no rows",
        strict_cell=FIRST_SECOND,
        rerun=(Told(part="table", what="has a heading and no rows", instead="a submission without rows"),),
    ),
    Case(
        fault="missing columns",
        kind="table",
        plant=Plant(tables=_table(_without("image_path", "target_name"))),
        strict="columns image_path, target_name are missing",
        strict_cell=FIRST_SECOND,
        rerun=(
            Told(
                part="table",
                what="columns image_path, target_name are missing",
                instead="photographs from test/, targets from the ids",
            ),
        ),
    ),
    Case(
        fault="test.csv without ids",
        kind="table",
        plant=Plant(tables=_table(_without("sample_id"))),
        strict="no column 'sample_id'",
        strict_cell=FIRST_SECOND,
        rerun=(
            Told(part="table", what="no column 'sample_id'", instead="the rows of sample_submission.csv, photographs"),
        ),
    ),
    Case(
        fault="1 photograph",
        kind="table",
        plant=Plant(tables=_table(lambda rows: rows[:5], *BOTH)),
        strict="",
        rerun=(),
    ),
]


# The bundles

Spoil = Callable[[Mapping[str, Path]], object]


def _config(slug: str, change: Callable[[dict], object]) -> Spoil:
    """Change a bundle's config and let its manifest agree: made wrongly, not damaged on the way."""

    def spoil(folders: Mapping[str, Path]) -> None:
        path = folders[slug] / "config.json"
        config = json.loads(path.read_text())
        change(config)
        path.write_text(json.dumps(config))
        rewrite_manifest(folders[slug])

    return spoil


def _flipped(slug: str, *names: str) -> Spoil:
    return lambda folders: [flip_byte(folders[slug] / name) for name in names]


def _cut(slug: str, name: str) -> Spoil:
    """Cut a file short and let the manifest agree."""

    def spoil(folders: Mapping[str, Path]) -> None:
        path = folders[slug] / name
        path.write_bytes(path.read_bytes()[:100])
        rewrite_manifest(folders[slug])

    return spoil


def _flip_a_mean(folders: Mapping[str, Path]) -> None:
    """Change a digit of the training means: still JSON, but wrong."""
    path = folders[ALONE] / "config.json"
    text = path.read_text()
    at = text.index('"Dry_Total_g": 40.0')
    path.write_text(text[:at] + '"Dry_Total_g": 90.0' + text[at + 19 :])


INTACT = "what of it is intact, else the other bundles"
PAIR = (FIRST, SECOND)
DEPTH_PAIR = (FIRST, WITH_DEPTH)


def _bundle(
    fault: str, spoil: Spoil, *told: Told, strict: str, bundles: tuple[str, ...] = PAIR, **more: object
) -> Case:
    plant = Plant(bundles=bundles, spoil=spoil)
    return Case(
        fault=fault, kind="bundle", plant=plant, strict=strict, rerun=told, **({"strict_cell": FIRST_SECOND} | more)
    )


def _gone(slug: str, what: str) -> Told:
    return Told(part="bundle", what=f"{slug} cannot be used: {what}", instead=OTHER_BUNDLES)


def _damaged(slug: str, what: str) -> Told:
    return Told(part="bundle", what=f"{slug}: {what}", instead=INTACT)


SHA = "has another sha256"
UNREADABLE_FOLD = """
def sha256_of(path, healthy=sha256_of):
    if path.name == "fold0.safetensors":
        raise OSError(5, "Input/output error", str(path))
    return healthy(path)
"""
BUNDLES = [
    _bundle(
        "a flipped byte in one fold",
        _flipped(ALONE, "fold0.safetensors"),
        _damaged(ALONE, f"fold0.safetensors {SHA}"),
        strict=f"fold0.safetensors {SHA}",
        bundles=(ALONE,),
        by="fold 1",
    ),
    _bundle(
        "flipped bytes in all folds of one bundle of two",
        _flipped(FIRST, "fold0.safetensors", "fold1.safetensors"),
        _damaged(FIRST, f"fold0.safetensors {SHA}: its bytes were changed; fold1.safetensors {SHA}"),
        strict=f"fold1.safetensors {SHA}",
        by=SECOND,
    ),
    _bundle(
        "a flipped byte in the config of one bundle of two",
        _flipped(FIRST, "config.json"),
        _damaged(FIRST, f"config.json {SHA}"),
        _gone(FIRST, ""),
        strict=f"config.json {SHA}",
        by=SECOND,
    ),
    _bundle(
        "no manifest in one bundle of two",
        lambda folders: (folders[FIRST] / "manifest.json").unlink(),
        _gone(FIRST, f"the dataset {FIRST} is not mounted"),
        strict=f"{FIRST} cannot be used",
        by=SECOND,
    ),
    _bundle(
        "one dataset of two not attached",
        lambda folders: shutil.rmtree(folders[FIRST]),
        _gone(FIRST, f"the dataset {FIRST} is not mounted"),
        strict=f"attach the dataset {FIRST}",
        by=SECOND,
    ),
    _bundle(
        "another file where one fold should be, its hash right",
        _cut(ALONE, "fold0.safetensors"),
        Told(part="fold", what=ALONE, instead="the other folds"),
        strict=f"fold: {ALONE}",
        strict_cell="Inference within the time",
        bundles=(ALONE,),
        by="fold 1",
    ),
    Case(
        fault="a disk that fails while one fold is read",
        kind="bundle",
        plant=Plant(cell=UNREADABLE_FOLD, before=BEFORE_ALL),
        strict="fold0.safetensors cannot be read (Input/output error)",
        strict_cell=FIRST_SECOND,
        rerun=(_damaged(ALONE, "fold0.safetensors cannot be read (Input/output error)"),),
        by="fold 1",
    ),
    _bundle(
        "the only bundle: every fold has a flipped byte",
        _flipped(ALONE, "fold0.safetensors", "fold1.safetensors"),
        _damaged(ALONE, f"fold0.safetensors {SHA}"),
        strict=f"fold0.safetensors {SHA}",
        bundles=(ALONE,),
        mean=ALL,
    ),
    _bundle(
        "the only bundle: a wrong digit in its training means",
        _flip_a_mean,
        _damaged(ALONE, f"config.json {SHA}"),
        _gone(ALONE, ""),
        strict=f"config.json {SHA}",
        bundles=(ALONE,),
        mean=ALL,
        by="no bundle",
    ),
    _bundle(
        "a wrong hash in every bundle",
        lambda folders: [flip_byte(folders[slug] / "fold1.safetensors") for slug in PAIR],
        _damaged(FIRST, f"fold1.safetensors {SHA}"),
        _damaged(SECOND, f"fold1.safetensors {SHA}"),
        strict=f"fold1.safetensors {SHA}",
        by="fold 0",
    ),
    _bundle(
        "a column missing in the bundle's training means",
        _config(ALONE, lambda config: config["target_mean_g"].pop("GDM_g")),
        _gone(ALONE, "'GDM_g'"),
        strict="'GDM_g'",
        bundles=(ALONE,),
        mean=ALL,
        by="no bundle",
    ),
    _bundle(
        "training means that are no grams",
        _config(ALONE, lambda config: config["target_mean_g"].update(GDM_g=float("nan"))),
        Told(part="bundle", what="are no grams", instead=OTHER_BUNDLES),
        strict="are no grams",
        bundles=(ALONE,),
        mean=ALL,
        by="no bundle",
    ),
    _bundle(
        "depth model missing in one bundle of two",
        lambda folders: (folders[WITH_DEPTH] / "depth.safetensors").unlink(),
        _damaged(WITH_DEPTH, "depth.safetensors is missing"),
        _gone(WITH_DEPTH, ""),
        strict="depth.safetensors is missing",
        bundles=DEPTH_PAIR,
        by=FIRST,
    ),
    _bundle(
        "depth model corrupt in one bundle of two",
        _flipped(WITH_DEPTH, "depth.safetensors"),
        _damaged(WITH_DEPTH, f"depth.safetensors {SHA}"),
        _gone(WITH_DEPTH, ""),
        strict=f"depth.safetensors {SHA}",
        bundles=DEPTH_PAIR,
        by=FIRST,
    ),
    _bundle(
        "depth model corrupt in the only bundle",
        _flipped(WITH_DEPTH, "depth.safetensors"),
        _damaged(WITH_DEPTH, f"depth.safetensors {SHA}"),
        _gone(WITH_DEPTH, ""),
        strict=f"depth.safetensors {SHA}",
        bundles=(WITH_DEPTH,),
        mean=ALL,
    ),
]


# What nobody foresaw


def _unforeseen(fault: str, broken: str, **more: object) -> Case:
    """Break one of the functions that the notebook calls."""
    return Case(
        fault=fault,
        kind="code",
        **{
            "plant": Plant(cell=f"{broken} = lambda *_, **__: 1 / 0"),
            "strict": "ZeroDivisionError: division by zero",
            "rerun": (
                Told(
                    part="unforeseen",
                    what="ZeroDivisionError: division by zero\nTraceback",
                    instead="the best complete submission so far stands",
                ),
            ),
        }
        | more,
    )


AFTER_ALL = _unforeseen("an error after the prediction that nobody foresaw", "submission_problems")
CODE = [
    _unforeseen(
        "an error while the bundles are looked for that nobody foresaw",
        "find_bundles",
        plant=Plant(cell="find_bundles = lambda *_: 1 / 0", before=BEFORE_ALL),
        strict_cell=FIRST_SECOND,
        mean=ALL,
        by="no bundle",
    ),
    _unforeseen("an error while the recipes are read that nobody foresaw", "read_recipes", mean=ALL),
    replace(
        (engine := _unforeseen("an error in the engine that nobody foresaw", "Inference._take_computed", mean=ALL)),
        rerun=(*engine.rerun, Told(part="photograph", what="no prediction", instead=MEAN, ids=ALL)),
    ),
    AFTER_ALL,
    _unforeseen(
        "an error in the report that nobody foresaw",
        "inference_report",
        plant=Plant(cell="inference_report = lambda *_, **__: 1 / 0", before=BEFORE_REPORT),
        strict_cell=REPORT,
        unwritten=True,
    ),
    Case(
        fault="the import of a library fails",
        kind="code",
        plant=Plant(
            cell="import sys\nsys.modules['timm'] = None  # which makes its import fail",
            before=BEFORE_LIBRARIES,
        ),
        strict="import of timm halted",
        strict_cell="Networks and devices",
        rerun=(),
        rerun_error="import of timm halted",
        mean=ALL,
    ),
]

CASES: tuple[Case, ...] = (*PHOTOGRAPHS, *_outputs(), *_devices(), TIME, *DISK, *TABLES, *BUNDLES, *CODE)


# One of each kind in a single rerun, which `make test` has time for.

TOGETHER = (
    *PHOTOGRAPHS,
    *(
        case
        for case in CASES
        if case.fault
        in (
            "nan from one fold",
            "memory too small for a batch",
            "a worker killed once",
            "disk full in the first second, then free again",
            "duplicate rows",
            "one dataset of two not attached",
        )
    ),
    TIME,
    AFTER_ALL,
)
