"""What one model gets wrong, where, and warnings about its numbers.

- `subject`: the predictions beside truth and metadata; `diagnosis`: all diagnostics of one subject.
- `residuals`, `calibration`, `zeros`: the errors, seen from three sides.
- `shift`, `adversarial`: whether the test set, or a fold, is like the rest; `photographs`: pictures at hand, and twins.
- `page`: all of it as a page of its own, or as sections of the report.
"""

from build.report.diagnostics.diagnosis import Diagnostics, diagnose

__all__ = ["Diagnostics", "diagnose"]
