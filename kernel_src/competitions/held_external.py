"""## Other people's photographs, here

What the competition that this notebook was built for makes of them: a part that only some experiments need.
"""

import kernel_src.competitions.biomass.external  # noqa: F401  # part: biomass
