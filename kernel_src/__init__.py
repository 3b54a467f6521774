"""## No version check

albumentations asks the internet for its newest version when it is imported, unless it is told not to beforehand.
"""

import os

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
