"""## No calls home

One of the libraries asks the internet for its newest version when it is imported. Not from here.
"""

import os

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
