"""One flow under one fault, in this process: what it says, what is left on the site, what a second run does."""

import contextlib
import hashlib
import io
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from build.notebooks.builder import ROOT
from tests.build.kaggle.desk import KERNEL, WEIGHTS, Desk, lay_desk, submission_csv, write_bundle
from tests.build.kaggle.session_runs import RUN, needed

INFERENCE, TRAINING, PREFLIGHT = "i2b-demo-infer", "i2b-demo-train", "i2b-preflight"
GOOD = {INFERENCE: {"submission.csv": submission_csv("ID1", "ID2")}}
DATA = {"train.csv": b"a,b\n" * 400, "test.csv": b"c", "train/ID1.jpg": bytes(range(256)) * 8}
FOLDER = {"wheels.bin": b"one wheel", "notes.txt": b"read me"}  # of `make push-data`
PRETRAINED = "i2b-lite0-imagenet"
TRAINS = ("push-training", "queue")
LONGEST, LONGEST_CURE = 150, 110  # characters of a message, and of its cure, in the table


@dataclass(frozen=True)
class Case:
    """One fault at one step."""

    fault: str
    step: str
    arm: Callable[[Any], None]  # given the running server
    cure: Callable[[Any], None] | None = None  # what a person does before the second run; None: only time passes
    arguments: tuple[str, ...] = ()  # of the second run
    prepare: Callable[["Bench"], None] = lambda bench: None
    environment: tuple[tuple[str, str], ...] = ()
    verb: str = "push-inference"
    dead_end: bool = False  # the second run ends the same way: what was asked cannot be done
    submitted: int = 1  # submissions in the end, of `push-inference`
    says: str = ""  # a pattern that must be in what is printed
    asks_nothing: bool = False  # it ends before the first request
    newer: int = 0  # versions that somebody else saves after ours
    repushed: int = 0  # pushes of the same bytes that are meant
    log: tuple[str, ...] = ()  # lines that the notebook prints: each must be shown once
    slow: bool = False  # over a second: torch is imported, or `make check` runs

    @property
    def id(self) -> str:
        return f"{self.fault} @ {self.step}"


@dataclass
class Outcome:
    """What came of a case; but for `wrong` it is compared with docs/faults.md."""

    exit: int
    said: str
    outcome: str
    left: str
    duplicates: int
    lost: int
    wrong: list[str] = field(default_factory=list)  # never in the table: it fails the test

    def cells(self) -> list[str]:
        return [self.outcome, str(self.exit), self.said, self.left, str(self.duplicates), str(self.lost)]


@dataclass
class Bench:
    """A desk in a folder, in this process; `run` is `python -m build …` without the start of a Python."""

    folder: Path
    server: Any
    patch: pytest.MonkeyPatch
    printed: str = ""  # by the last run, on both streams

    def rehearsed(self) -> None:
        Desk(self.folder).rehearsed()

    def run(self, *arguments: str, verb: str = "push-inference") -> tuple[int, str]:
        """Return the exit code and what was printed on stderr."""
        from build import cli

        more = {
            "push-inference": ("--experiment", "demo"),
            "push-training": ("--experiment", "demo"),
            "push-data": () if "--dir" in arguments else ("--dir", "external", "--slug", "i2b-external"),
        }
        printed, errors = io.StringIO(), io.StringIO()
        self.patch.setattr(sys, "argv", ["build", verb, *more.get(verb, ()), *arguments])
        code: object = 0
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(errors):
            try:
                cli.main()
            except SystemExit as ended:
                code = ended.code
        self.printed = printed.getvalue() + errors.getvalue()
        return (int(code) if isinstance(code, int) else 0 if code is None else 1), errors.getvalue()


def play(case: Case, bench: Bench) -> Outcome:
    """Run the flow under the fault, then once more with the fault gone, and look at what is there."""
    server, site = bench.server, bench.server.site
    site.outputs = dict(GOOD) | {PREFLIGHT: {"preflight.json": preflight_report()}}
    site.competitions["csiro-biomass"] = dict(DATA)
    if case.verb in TRAINS:
        site.outputs[TRAINING] = training_outputs(bench.folder)
    case.prepare(bench)
    before = fingerprints(bench.folder)
    for name, value in case.environment:
        bench.patch.setenv(name, value)
    case.arm(server)
    asked = len(server.log)
    named = ("demo",) if case.verb == "queue" else ()
    code, errors = bench.run(*named, verb=case.verb)
    printed, silent = bench.printed, len(server.log) == asked
    struck = all(fault.seen >= fault.nth for fault in server.faults)
    after_first = counts(bench, case.verb)
    unfinished = missing(case, bench) if not code else []
    server.faults.clear()
    if case.cure:
        case.cure(server)
    again, _ = bench.run(*named, *case.arguments, verb=case.verb)
    shown = re.findall(r"^      │ (.*)$", printed, re.MULTILINE)
    lost = lost_things(case, bench, before) + unfinished + [f"{line} was not shown" for line in {*case.log} - {*shown}]
    twice = duplicates(case, bench) + [f"{line} was shown twice" for line in case.log if shown.count(line) > 1]
    strangers = {*shown} - {*case.log} if case.log else set()
    message = said(errors, bench.folder) if code else ""
    word = outcome_word(code, again, case)
    outcome = Outcome(code, message, word, counts(bench, case.verb), len(twice), len(lost), twice + lost)
    if not struck:
        outcome.wrong.append("the fault never struck")
    if re.search(r"^Traceback \(most recent call last\)", printed + bench.printed, re.MULTILINE):
        outcome.wrong.append(f"a traceback of ours was shown:\n{printed}\n{bench.printed}")
    if case.dead_end != bool(again) or (case.dead_end and not code):
        outcome.wrong.append(f"the second run ends with {again}:\n{bench.printed}")
    if code and not re.search(r"→", errors) and code != 2:
        outcome.wrong.append(f"no cure is named:\n{errors}")
    if not code and after_first != outcome.left:
        outcome.wrong.append(f"a run after success changed something: {after_first}, then {outcome.left}")
    if strangers:
        outcome.wrong.append(f"the log of another run was shown: {strangers}")
    if case.says and not re.search(case.says, printed):
        outcome.wrong.append(f"{case.says!r} is not in:\n{printed}")
    if case.asks_nothing and not silent:
        outcome.wrong.append(f"asked the site: {server.names()[asked:]}")
    if server.leaks:
        outcome.wrong.append(f"credentials went to {server.leaks}")
    return outcome


def outcome_word(code: int, again: int, case: Case) -> str:
    if not code:
        return "recovers"
    if again:
        return "refused"
    how = f"with {' '.join(case.arguments)}" if case.arguments else "once that is mended" if case.cure else "later"
    return f"stops; goes on {how}"


def missing(case: Case, bench: Bench) -> list[str]:
    """Name what a run that said 0 should have brought about and has not."""
    site, folder = bench.server.site, bench.folder
    found = []
    if case.verb == "data":
        there = {name: folder / "data" / "csiro-biomass" / name for name in DATA}
        return [f"{name} is not what the site has" for name, path in there.items() if contents(path) != DATA[name]]
    if case.verb == "push-data":
        wanted = {path.name: path.read_bytes() for path in (folder / "external").iterdir()}
        there = newest_files(site, "kim/i2b-external")
        return [f"{name} did not arrive" for name, data in wanted.items() if there.get(name) != data]
    if case.verb == "preflight":
        return [] if (folder / "out" / "push" / "preflight.json").is_file() else ["there is no report"]
    ref, source = (KERNEL, folder / "out" / "demo" / "bundle")
    if case.verb in TRAINS:
        ref, source = f"kim/{TRAINING}", folder / "out" / "demo" / "pretrained"
        if not (folder / "out" / "bundles" / "demo" / "manifest.json").is_file():
            found.append("there is no bundle")
        found += lost_checkpoints(site)
    weights = WEIGHTS if case.verb == "push-inference" else f"kim/{PRETRAINED}"
    there = newest_files(site, weights)
    names = [path for path in source.iterdir() if path.name != "dataset-metadata.json"]
    found += [f"{path.name} did not arrive" for path in names if there.get(path.name) != path.read_bytes()]
    kernel = site.kernels.get(ref)
    slug = ref.partition("/")[2]
    ours = cells(Path(f"notebooks/{slug}/{slug}.ipynb").read_text())
    if kernel is None or cells(kernel.versions[-1 - case.newer]["text"]) != ours:
        found.append("the site's notebook is not what was built")
    elif weights not in kernel.versions[-1 - case.newer]["datasetDataSources"]:
        found.append("the newest version lacks its weights")
    if case.verb == "push-inference":
        found += unrecorded(case, bench)
    return found


def lost_checkpoints(site: Any) -> list[str]:
    """Name what the first session of a training has left, and the next one did not get."""
    there, left = newest_files(site, RUN), site.version_outputs.get((TRAINING, 1))
    return [f"{name} of the first session" for name, data in needed(left or {}).items() if there.get(name) != data]


def unrecorded(case: Case, bench: Bench) -> list[str]:
    made, ledger = bench.server.site.submissions, Desk(bench.folder).scores()
    found = []
    if len(made) < case.submitted:
        found.append(f"{len(made)} submissions instead of {case.submitted}")
    if [str(one["ref"]) for one in made] != [row["submission_ref"] for row in ledger]:
        found.append(f"the ledger has {[row['submission_ref'] for row in ledger]}")
    if made and (made[-1]["status"], ledger[-1]["public"]) not in (("COMPLETE", "0.710000"), ("ERROR", "")):
        found.append(f"the ledger says {ledger[-1]}")
    return found


def lost_things(case: Case, bench: Bench, before: dict[str, str]) -> list[str]:
    """Name what was there and is not, and what should be there in the end."""
    now = fingerprints(bench.folder)
    found = [f"{name} was changed" for name, digest in before.items() if now.get(name) != digest]
    site = bench.server.site
    kept = [path.read_text() for path in (bench.folder / "out" / "push" / "overwritten").rglob("*.ipynb")]
    for kernel in site.kernels.values():
        edits = [one["text"] for one in kernel.versions[:-1] if "edited in the browser" in one["text"]]
        found += ["the edit made in the browser was not kept" for edit in edits if edit not in kept]
    if not case.dead_end:
        return found + missing(case, bench)
    return found + (unrecorded(case, bench) if case.verb == "push-inference" else [])


def duplicates(case: Case, bench: Bench) -> list[str]:
    """Name every version and submission that is there twice without having been asked for."""
    site, found = bench.server.site, []
    for ref, dataset in site.datasets.items():
        usable = [files for number, files in enumerate(dataset.versions) if number not in dataset.failed]
        found += [f"{ref} has a version twice" for one, two in zip(usable, usable[1:], strict=False) if one == two]
    for ref, kernel in site.kernels.items():
        texts = [(cells(one["text"]), sorted(one.get("datasetDataSources", []))) for one in kernel.versions]
        pairs = [ref for one, two in zip(texts, texts[1:], strict=False) if one == two and weights_alike(bench, ref)]
        found += [f"{ref} has a version twice"] * max(0, len(pairs) - ("--again" in case.arguments) - case.repushed)
    versions = [tuple(one["kernel"]) for one in site.submissions]
    found += [f"{one} was submitted {versions.count(one)} times" for one in set(versions) if versions.count(one) > 1]
    return found


def weights_alike(bench: Bench, ref: str) -> bool:
    """The same notebook with other weights is another run, not a duplicate."""
    return max((len(one.versions) for one in bench.server.site.datasets.values()), default=0) < 2


def newest_files(site: Any, ref: str) -> dict[str, bytes]:
    return site.datasets[ref].versions[-1] if ref in site.datasets else {}


def cells(text: str) -> list[str]:
    """What a notebook says, without the build's own tools: this is the yardstick."""
    return ["".join(cell["source"]).strip() for cell in json.loads(text)["cells"] if "".join(cell["source"]).strip()]


def contents(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


def fingerprints(folder: Path) -> dict[str, str]:
    """Hash what belongs to the user."""
    own = [path for name in ("out/demo", "external", "docs") for path in (folder / name).rglob("*") if path.is_file()]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in own if path.name != "scores.csv"}


def counts(bench: Bench, verb: str) -> str:
    """Say how many versions and submissions, or files, there are."""
    if verb == "data":
        files = [path for path in (bench.folder / "data").rglob("*") if path.is_file()]
        return f"{len(files)} files"
    site = bench.server.site
    datasets = sum(len(one.versions) for one in site.datasets.values())
    kernels = sum(len(one.versions) for one in site.kernels.values())
    return f"{datasets} · {kernels} · {len(site.submissions)}"


def said(errors: str, folder: Path) -> str:
    """Return the first problem that was printed, and its cure, without what differs from run to run."""
    chatter = r"\s*$|.*(trying again in|checking whether)|\d+ problems?$|`python -m build --help`"
    lines = [line.strip() for line in errors.splitlines() if not re.match(chatter, line)]
    if not lines:
        return "nothing"
    what, _, cure = lines[0].partition(" → ")
    if not cure:
        # Lines of a diff are the notebook's text, not ours.
        ours = [line for line in errors.splitlines() if not line.startswith(("+", "-", "@", " "))]
        cure = next((line.partition(" → ")[2] for line in ours if " → " in line), "")
    what, cure = (constant(text, folder) for text in (what, cure))
    return shortened(what, LONGEST) + (f" → {shortened(cure, LONGEST_CURE)}" if cure else "")


def constant(text: str, folder: Path) -> str:
    for place, name in ((str(folder), "…"), (str(ROOT), "…"), (os.environ["HOME"], "~")):
        text = text.replace(place, name)
    text = re.sub(r"\b[0-9a-f]{12,64}\b", "…", text)
    text = re.sub(r"\b(i2b-)[0-9a-f]{8}\b", r"\1…", text)
    text = re.sub(r"\.py:\d+", ".py:…", text)
    text = re.sub(r"\b[A-Z]\w\w \d\d [A-Z]\w\w \d\d:\d\d UTC, in (\d+ (d|h|min)\b ?)+", "…", text)  # seen from today
    text = re.sub(r"\b\d{2,3}(,\d{3})+ bytes", "… bytes", text)  # of a notebook, which changes with its sources
    text = re.sub(r"(\w*(?:Connection|Timeout|Encoding)\w*): .*", r"\1: …)", text)  # how the system puts it
    return re.sub(r"0x[0-9a-f]+|port=\d+|\d+\.\d+ s\b|in \d+ s\b", "…", text)


def shortened(text: str, longest: int) -> str:
    cut = text if len(text) <= longest else text[: longest - 1] + "…"
    return cut + "`" * (cut.count("`") % 2)


def training_outputs(folder: Path, **oof: str) -> dict[str, bytes]:
    """What the training notebook leaves, with a fold of one small matrix."""
    import torch
    from safetensors.torch import save

    from kernel_src.competitions.biomass.constants import TARGETS
    from kernel_src.competitions.held_recipes import EXPERIMENTS

    config = {
        "format": 3,
        "experiment": EXPERIMENTS["demo"].as_json(),
        "folds": ["fold0.safetensors"],
        "oof": {"score": 0.7, "images": 1, "formula": "R2"},
        "versions": {},
    }
    table = f"image_id,fold,{','.join(TARGETS)}\nID1,0,{oof.get('first', '2.0')},1.0,0.5,2.5,3.5\n"
    files = {"config.json": json.dumps(config).encode(), "oof.csv": table.encode(), "log.csv": b"epoch\n1\n"}
    files["fold0.safetensors"] = save({"head.weight": torch.ones(4, 4), "head.bias": torch.zeros(4)})
    return {f"run/{name}": data for name, data in files.items()}


def preflight_report(**changed: Any) -> bytes:
    """What the preflight's notebook leaves where everything is as assumed."""
    from tests.build.kaggle.preflight_report import AS_ASSUMED

    return json.dumps(AS_ASSUMED | changed).encode()


def lay_bench(folder: Path, server: Any, patch: pytest.MonkeyPatch, template: Path) -> Bench:
    """Copy a desk whose notebooks were checked, and go there."""
    from build.kaggle import client, datasets, preparation

    shutil.copytree(template, folder, symlinks=True)
    patch.chdir(folder)
    for name, value in (("KIT_POLL_S", "0.005"), ("KIT_SETTLE_S", "0.1"), ("KIT_TIMEOUT_S", "20"), ("COLUMNS", "120")):
        patch.setenv(name, value)
    # Hashing all notebooks takes a tenth of a second; nothing here changes them.
    checked = (template / "digest").read_text()
    patch.setattr(preparation, "_digest", lambda: checked)
    # 403 may mean "still processed", which is waited for: an hour in earnest.
    for waits in (datasets.push_dataset, datasets.wait_until_there):
        patch.setattr(waits, "__kwdefaults__", {**waits.__kwdefaults__, "limit_s": 3.0})
    uploads = (folder / "out" / "push" / "uploads",)
    patch.setattr(client.open_client, "__defaults__", uploads)
    patch.setattr(client.Kaggle.__init__, "__defaults__", uploads)
    return Bench(folder, server, patch)


def make_template(folder: Path) -> Path:
    """Lay out a desk once: the built notebooks, weights, external data, the report of a rehearsal."""
    from build.kaggle import preparation

    lay_desk(folder)
    pretrained = write_bundle(folder / "out" / "demo" / "pretrained")
    manifest = json.loads((pretrained / "manifest.json").read_text()) | {"dataset": PRETRAINED}
    (pretrained / "manifest.json").write_text(json.dumps(manifest))
    (pretrained / "dataset-metadata.json").unlink()
    (folder / "external").mkdir()
    for name, data in FOLDER.items():
        (folder / "external" / name).write_bytes(data)
    (folder / "digest").write_text(preparation._digest())
    return folder


@contextlib.contextmanager
def quick_folder() -> Iterator[Path]:
    """A folder in memory where there is one: the journal waits for the disk at every step."""
    import tempfile

    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as name:
        yield Path(name)
