"""Standard input where it leads to who started us, and is not for what we run."""

from __future__ import annotations

import os
from typing import Final

STDIN: Final = 0


def taken() -> int:
    """Return another descriptor for it, and leave nothing to read where it was."""
    own, nothing = os.dup(STDIN), os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, STDIN)
    os.close(nothing)
    return own
