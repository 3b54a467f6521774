"""## Before the imports

albumentations asks the internet for its newest version when it is imported, unless this variable is set before.
"""

import os

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
