"""Seeds hashed from named axes, so that no result depends on paths, order or the size of the grid."""

import hashlib
import json


def seed_for(**axes: str | int) -> int:
    """Return a 63-bit seed for the given named axes, e.g. ``seed_for(use="noise", subject="IXI900")``.

    The order of the axes does not matter; their names and values do.
    """
    text = json.dumps(axes, sort_keys=True)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1
