"""The report as one page that holds itself: the verdict, links, then every section."""

import html

from build.core.errors import CheckFailed, Problem
from build.core.pages import Section, contents, find_loads, web_page
from build.report.record import Record
from build.report.sections import (
    board_section,
    bundle_section,
    curves_section,
    folds_section,
    missing_section,
    pictures_section,
    rehearsal_section,
    scores_section,
    submissions_section,
    trained_section,
)
from build.report.verdict import Verdict

LIMIT_BYTES = 5_000_000


def page(record: Record, verdict: Verdict) -> str:
    """Return the whole page.

    Raises:
        CheckFailed: it is larger than 5 MB, would load something, or a photograph cannot be read.
    """
    sections = report_sections(record)
    after = f'<p class="next">Next: <code>{html.escape(verdict.next)}</code></p>' if verdict.next else ""
    body = "\n".join(
        [
            f'<p class="decision">{html.escape(verdict.sentence)}</p>{after}',
            contents(sections),
            *(section.as_html() for section in sections),
        ]
    )
    text = web_page(f"Report: {record.experiment}", body)
    refuse(text, sections)
    return text


def report_sections(record: Record) -> list[Section]:
    """Return the sections in reading order: what decides first, what is looked up last."""
    from build.report.diagnostics.sections import sections as diagnostic_sections

    found = [missing_section(record.missing), scores_section(record), board_section(record), pictures_section(record)]
    diagnostics = record.diagnosis
    if diagnostics is not None:
        found += diagnostic_sections(diagnostics)
    return [
        *found,
        folds_section(record),
        curves_section(record),
        trained_section(record),
        bundle_section(record),
        rehearsal_section(record),
        submissions_section(record),
    ]


def refuse(text: str, sections: list[Section]) -> None:
    """Raise where a page does not keep what a report promises."""
    problems = [Problem(what=f"the page would load or run: {found}") for found in find_loads(text)]
    if (size := len(text.encode())) > LIMIT_BYTES:
        largest = max(sections, key=lambda section: len(section.body))
        what = f"the page has {size:,} bytes, a report may have {LIMIT_BYTES:,}; most of it is {largest.title}"
        problems.append(Problem(what=what, cure="fewer or smaller pictures there"))
    if problems:
        raise CheckFailed(problems)
