"""Receipts of rehearsals: proof that exactly this notebook ran to a valid submission on exactly these weights.

A receipt is a copy of the rehearsal's report under a name made of both hashes. Reports that lie where `make demo` and
`make rehearse` leave them count as well, since a report says what it was made from.
"""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from build.core.bundle_files import content_sha256
from build.core.choosing import DEMO_EXPERIMENT, data_folder, demo_folder, usual_data
from build.core.errors import CheckFailed, Problem, UsageError
from build.kaggle.journal import hash_inputs
from build.run.rehearse.report import REPORT_FILE, Report
from kernel_src.competition.choice import DEFAULT_COMPETITION
from kernel_src.competitions.held_facts import facts
from kernel_src.runtime.files import write_json

RECEIPTS = Path("out", "push", "receipts")
REHEARSALS = Path("out", "rehearsals")  # <slug>/report.json, by `make rehearse`
DEMO_REHEARSAL = Path("out", "demo", "rehearsal")


def manifest_hashes(bundles: Mapping[str, Path]) -> dict[str, str]:
    """Map each dataset's slug to one hash of its files: of its manifest.json, where it has one."""
    return {slug: content_sha256(folder) for slug, folder in sorted(bundles.items())}


def bundle_sha256(manifests: Mapping[str, str]) -> str:
    """Return one hash for all weights of a notebook: of the one manifest, or over those of a blend."""
    return next(iter(manifests.values())) if len(manifests) == 1 else hash_inputs(manifests)


def find_receipt(
    slug: str, source_sha256: str, manifests: Mapping[str, str], foreign: Collection[str] = ()
) -> Path | None:
    """Find the report of a rehearsal that went well with exactly these sources and weights.

    `foreign` are the datasets of other accounts: what lay in their folders here says nothing of what is on the site.
    """
    for path in (
        _receipt(source_sha256, manifests),
        REHEARSALS / slug / REPORT_FILE,
        demo_folder() / DEMO_REHEARSAL.name / REPORT_FILE,
    ):
        if vouches_for(_read(path), source_sha256, manifests, foreign):
            return path
    return None


def vouches_for(
    report: Mapping[str, Any], source_sha256: str, manifests: Mapping[str, str], foreign: Collection[str] = ()
) -> bool:
    """Return whether a report is of a whole, faultless rerun of these sources on these weights.

    A run that is not a rerun saw the public test set only, whose few rows hide what breaks on the hidden one.
    """
    seen = report.get("manifests")
    own = {slug: sha256 for slug, sha256 in seen.items() if slug not in foreign} if isinstance(seen, dict) else None
    return (
        source_sha256 != ""  # a notebook that does not say its sources vouches for nothing
        and report.get("edited") is not True  # then its sources are not what ran
        and report.get("ok") is True
        and report.get("rerun") is True
        and report.get("source_sha256") == source_sha256
        and own == dict(manifests)
    )


def rehearse_for(
    experiment: str,
    notebook: Path,
    bundles: Mapping[str, Path],
    say: Callable[[str], None],
    *,
    foreign: Sequence[Path] = (),
    models: Mapping[str, Path] | None = None,
) -> tuple[Path, Report]:
    """Rehearse an inference as Kaggle's rerun on the hidden test and keep the receipt.

    `foreign` are the folders of other accounts' datasets, `models` those of Kaggle Models, which are not pushed.

    Raises:
        UsageError: there is no data to rehearse on.
        CheckFailed: with everything that the rehearsal found.
    """
    from build.run.rehearse import rehearse

    data, demo = usual_data(experiment), demo_folder() / "competition"
    if not (data / facts().train_csv).is_file():
        how = "demo" if experiment == DEMO_EXPERIMENT else "data"
        what = f"{data if experiment == DEMO_EXPERIMENT else data_folder()} holds no {facts().train_csv}"
        named = "" if facts().competition == DEFAULT_COMPETITION else f" COMPETITION={facts().competition}"
        raise UsageError(f"{what} to rehearse on: run `make {how}{named}`")
    out = REHEARSALS / notebook.stem
    report = rehearse(
        notebook,
        data=data,
        weights=[*bundles.values(), *foreign],
        models=models,
        hidden=demo_folder() / "hidden" if data == demo else None,
        rerun=True,
        out=out,
        say=say,
    )
    if not report.ok:
        traceback = f"\n{report.failure.as_text()}\n" if report.failure else ""
        problems = [Problem(what=f"{p.what}{traceback}", where=p.where, cure=p.cure) for p in report.problems[:1]]
        raise CheckFailed([*problems, *report.problems[1:]])
    return keep_receipt(report, manifest_hashes(bundles)), report


def keep_receipt(report: Report, manifests: Mapping[str, str]) -> Path:
    """Write the receipt of a rehearsal that went well and return its path."""
    path = _receipt(report.source_sha256, manifests)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, report.as_json())
    return path


def _receipt(source_sha256: str, manifests: Mapping[str, str]) -> Path:
    return RECEIPTS / f"{source_sha256}-{bundle_sha256(manifests)}.json"


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
