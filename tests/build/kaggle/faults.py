"""The faults, and the steps that each can hit: those of the wire at every request, the others where they strike."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.build.kaggle.bench import Bench, Case
from tests.build.kaggle.desk import write_bundle
from tests.build.kaggle.mishap_cases import special_cases
from tests.build.kaggle.mishaps import FOREVER, save_token


def weights_before(bench: Bench) -> None:
    """Other weights are on the site, so that these become a new version."""
    bundle = bench.folder / "out" / "demo" / "bundle"
    write_bundle(bundle, weights=b"older weights")
    assert bench.run("--experiment", "demo", "--dir", str(bundle), verb="push-data")[0] == 0
    write_bundle(bundle)


def token_instead_of_key(bench: Bench) -> None:
    """Sign in with a token: only then a request is made for it."""
    save_token("good-token")
    bench.server.site.tokens = {"good-token": "kim"}
    for name in ("KAGGLE_USERNAME", "KAGGLE_KEY"):
        bench.patch.delenv(name)


def nothing(bench: Bench) -> None:
    """A fresh account: everything has to be pushed."""


@dataclass(frozen=True)
class Step:
    """One request of a flow, in the reader's words."""

    name: str
    request: str
    nth: int = 1  # which of the requests of this name
    changes: bool = False  # it changes something on the site
    json: bool = True  # the answer is JSON
    prepare: Callable[[Bench], None] = nothing
    verb: str = "push-inference"


STEPS = (
    Step("account: sign in with a token", "IntrospectToken", prepare=token_instead_of_key),
    Step("weights: is it there?", "GetDatasetStatus"),
    Step("weights: announce a file", "StartBlobUpload"),
    Step("weights: upload", "PUT", json=False),
    Step("weights: make the dataset", "CreateDataset", changes=True),
    Step("weights: make a new version", "CreateDatasetVersion", changes=True, prepare=weights_before),
    Step("weights: its version", "GetDataset"),
    Step("weights: list the files", "ListDatasetFiles"),
    Step("weights: find its manifest", "DownloadDataset"),
    Step("weights: read its manifest", "/manifest-json", json=False),
    Step("drift: read the notebook", "GetKernel"),
    Step("push: save the notebook", "SaveKernel", changes=True),
    Step("push: read it back", "GetKernel", nth=3),
    Step("run: ask for its state", "GetKernelSessionStatus"),
    Step("run: read its log", "StreamLog", json=False),
    Step("outputs: list", "ListKernelSessionOutput"),
    Step("outputs: download", "/submission-csv", json=False),
    Step("submission: look for it", "ListSubmissions"),
    Step("submission: submit", "CreateCodeSubmission", changes=True),
    Step("score: wait", "ListSubmissions", nth=3),
    Step("data: list", "ListDataFiles", verb="data"),
    Step("data: find the archive", "DownloadDataFiles", verb="data"),
    Step("data: download", "/csiro-biomass-zip", json=False, verb="data"),
)
# Of the wire: what the stand-in does with the request, and whether only a request that changes something can suffer it.
WIRE: tuple[tuple[str, Mapping[str, Any], bool], ...] = (
    ("429 with Retry-After", {"status": 429, "headers": {"Retry-After": "0"}}, False),
    ("429 without Retry-After", {"status": 429, "times": 2}, False),
    ("500 once", {"status": 500}, False),
    ("502 once, after it took effect", {"status": 502, "after": True}, True),
    ("500 once, after it took effect", {"status": 500, "after": True}, True),
    ("503 without end", {"status": 503, "times": FOREVER}, False),
    ("the connection breaks before the effect", {"drop": "before"}, False),
    ("the connection breaks after the effect", {"drop": "after"}, False),
    ("the connection breaks every time", {"drop": "before", "times": FOREVER}, False),
    ("the answer is cut off", {"cut_bytes": 1}, False),
    ("the answer comes too late", {"delay_s": 0.7, "after": True}, False),
    ("a proxy's page instead of JSON", {"body": "<html>log in</html>", "times": FOREVER}, False),
    ("401", {"status": 401, "body": {"code": 401, "message": "Unauthenticated"}, "times": FOREVER}, False),
    ("403", {"status": 403, "body": {"code": 403, "message": "Permission denied"}, "times": FOREVER}, False),
    ("404", {"status": 404, "body": {"code": 404, "message": "Not found"}, "times": FOREVER}, False),
)


def wire_cases() -> list[Case]:
    """Every fault of the wire at every request that it can hit."""
    cases = []
    for name, what, only_changing in WIRE:
        for step in STEPS:
            if (only_changing and not step.changes) or ("JSON" in name and not step.json):
                continue

            def arm(server: Any, step: Step = step, what: Mapping[str, Any] = what) -> None:
                server.fault(step.request, **({"nth": step.nth} | dict(what)))

            # Late means: after the client gave up, and while it looks for the effect.
            late = (("KIT_TIMEOUT_S", "0.5"), ("KIT_POLL_S", "0.1"), ("KIT_SETTLE_S", "5")) if "delay_s" in what else ()
            submitted = 1 if step.verb == "push-inference" else 0
            cases.append(
                Case(
                    name,
                    step.name,
                    arm,
                    prepare=step.prepare,
                    verb=step.verb,
                    submitted=submitted,
                    environment=late,
                )
            )
    return cases


CASES = [*special_cases(), *wire_cases()]


def one_of_each() -> set[str]:
    """Pick one case per step for `make test`, each with another fault; others and slow ones are in test-full."""
    by_step: dict[str, list[Case]] = {}
    for case in CASES:
        if not case.slow:
            by_step.setdefault(case.step, []).append(case)
    chosen: dict[str, str] = {}  # step → case
    played: set[str] = set()
    for number, (step, cases) in enumerate(by_step.items()):
        fresh = [case for case in cases if case.fault not in played] or cases
        case = fresh[number * 5 % len(fresh)]
        chosen[step] = case.id
        played.add(case.fault)
    return set(chosen.values())


QUICK = one_of_each()
