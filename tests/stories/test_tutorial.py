"""The tutorial, as its reader runs it: all four stages, verbatim, in one process and in several."""

from __future__ import annotations

import asyncio
import hashlib
import re
import shutil
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final, TypeAlias

import httpx
import pytest

from tests.stories.processes import Process, Processes, free_ports, skip_if_taken

TUTORIAL: Final = Path(__file__).parent / "tutorial"
PORTS: Final = (5000, 5001, 6000, 6001, 8080)
URL: Final = "http://127.0.0.1:8080/"
FALLBACK: Final = {"success": False}

DIGESTS: Final = {
    "1/rpc-server.yaml": "0e0c3095dfcede20",
    "1/test-rpc.yaml": "8f3bdc4f835da059",
    "2/queues.yaml": "3ecc879732fb04b7",
    "2/rpc-client-square.yaml": "8788c516651ceafd",
    "2/rpc-client-sum.yaml": "9cecc3a51e69e23c",
    "2/rpc-client.yaml": "dd2a9128578e571c",
    "3/rpc-server.yaml": "0391e9e1fa777788"[:12],
    "4/rpc-server-reaper.yaml": "9da9fc129dbe14f8",
}
