"""The time that processors measure by."""

from __future__ import annotations

import asyncio
import time


def now() -> float:
    """Return the seconds of the running loop's clock; outside of a loop, of the system's."""
    try:
        return asyncio.get_running_loop().time()
    except RuntimeError:
        return time.monotonic()
