"""The verb `report`: one page on one experiment."""

import json
from dataclasses import asdict
from pathlib import Path

from build.report.page import judge, page
from build.report.record import read_record
from kernel_src.runtime.files import write_text

REPORTS = Path("out", "reports")


def run(experiment: str, run_folder: Path | None, data: Path | None, out: Path | None, as_json: bool) -> None:
    """Write the page and say the sentence that stands first in it.

    Raises:
        UsageError: nothing of the experiment is trained here, or a folder named is not what it should be.
        CheckFailed: a file cannot be read, or the page does not keep what it promises.
    """
    record = read_record(experiment, run_folder, data)
    verdict = judge(record)
    text = page(record, verdict)
    place = out or REPORTS / f"{experiment}.html"
    place.parent.mkdir(parents=True, exist_ok=True)
    write_text(place, text)
    if as_json:
        value = {
            "experiment": experiment,
            "ready": verdict.ready,
            "verdict": verdict.sentence,
            "next": verdict.next,
            "missing": [asdict(one) for one in record.missing],
            "run": str(record.run),
            "page": str(place),
            "bytes": len(text.encode()),
        }
        print(json.dumps(value, indent=2))
        return
    print(verdict.sentence)
    for one in record.missing:
        print(f"missing: {one.what}: {one.command}")
    if verdict.next:
        print(f"next: {verdict.next}")
    print(f"written: {place} ({len(text.encode()) / 1e6:.1f} MB)")
