"""## Randomness

Every random number here is a function of the seed and of *where* it is drawn (fold, epoch, step, image), never of what
was drawn before. A run that is stopped and resumed, or cut over two devices, therefore draws the same numbers.
"""

import hashlib


def seed_at(*place: int | str) -> int:
    """Turn a place such as `(seed, "epoch", 3, "image", 17)` into a seed of 31 bits, alike on every machine."""
    digest = hashlib.sha256("/".join(map(str, place)).encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1
