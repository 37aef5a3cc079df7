"""What stands for the threads of a service."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Inline:
    """Runs at once, and in the thread of the event loop, what is to run in a thread."""

    async def run(self, function: Callable[..., Any], *args: Any) -> Any:
        return function(*args)
