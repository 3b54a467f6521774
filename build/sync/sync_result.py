"""What a notebook changes in the sources: the one record that every step adds to."""

from dataclasses import dataclass, field
from pathlib import Path

from build.core.errors import Problem
from build.notebooks.base import Base
from build.sync.parameters import ParameterEdit


@dataclass
class SyncResult:
    """What is written back, and what is not."""

    texts: dict[str, str] = field(default_factory=dict)  # source → its merged text, of those that change
    conflicts: dict[str, str] = field(default_factory=dict)  # source → its text with conflict markers
    parameters: list[ParameterEdit] = field(default_factory=list)
    written_parameters: bool = False
    scratch: list[str] = field(default_factory=list)  # cells that stay in the notebook, described
    notes: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    edited: bool = False  # whether the notebook differs from its build at all
    notebook: Path | None = None  # the file, for the next sync of it
    base: Base | None = None  # its build
    theirs: dict[str, str] = field(default_factory=dict)  # source → its text as the notebook has it, of those edited

    @property
    def complete(self) -> bool:
        """Whether nothing is left in the notebook that the sources do not have."""
        left = self.scratch or (self.parameters and not self.written_parameters)
        return not (left or self.problems or self.conflicts)
