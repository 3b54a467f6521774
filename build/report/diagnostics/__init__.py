"""What one model gets wrong, where, and warnings about its numbers.

- `subject`: the predictions beside truth and metadata; `diagnosis`: all diagnostics of one subject.
- `residuals`, `worst_images`, `calibration`, `zeros`, `identities`: the errors, seen from five sides.
- `shift`, `adversarial`: whether the test set, or a fold, is like the rest; `photographs`: pictures at hand, and twins.
- `sections`, `plots`: HTML for a page of its own and for the report.
"""

from build.report.diagnostics.diagnosis import Diagnostics, diagnose

__all__ = ["Diagnostics", "diagnose"]
