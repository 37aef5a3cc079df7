"""Load by wrk, which takes less of the machine than a client in Python."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from machine import say
from services import pinned

HERE = Path(__file__).parent
NUMBERS = ("numbers", "4096")
PATIENCE_S = 10

Result = dict[str, float]


def is_there() -> bool:
    """Return whether wrk can be had, and say how if it cannot."""
    if shutil.which("wrk") is None:
        say("wrk is missing (Debian: apt install wrk): bench/load.py stands in, and is slower")
        return False
    return True


def load(
    port: int,
    connections: int,
    seconds: float,
    *,
    path: str = "/",
    what: Sequence[str] = NUMBERS,
    core: int | None = None,
) -> Result:
    """Load a service and return `right`, `rate`, `p50_ms`, `p99_ms` and `errors`.

    Args:
        what: `numbers` and how many different ones, or `body` and its bytes.
        core: The one that wrk runs on.
    """
    command = ["wrk", "-t1", f"-c{connections}", f"-d{max(round(seconds), 1)}s"]
    command += [f"--timeout={PATIENCE_S}s", "-s", str(HERE / "wrk.lua")]
    command += [f"http://127.0.0.1:{port}{path}", "--", *what]
    with pinned(core):
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    result: Result = json.loads(done.stdout.splitlines()[-1])
    return result


def load_in_python(port: int, connections: int, seconds: float, core: int | None) -> Result:
    """Do the same by `load.py`, which looks at each answer."""
    return load_and_check(port, connections, core, "--seconds", str(seconds))


def checked(port: int, count: int, connections: int = 16, core: int | None = None) -> Result:
    """Ask so many requests and compare each answer with the right one."""
    options = ("--requests", str(count), "--seconds", "600")
    return load_and_check(port, connections, core, *options)


def load_and_check(port: int, connections: int, core: int | None, *options: str) -> Result:
    command = [sys.executable, str(HERE / "load.py"), str(port), *options]
    command += ["--connections", str(connections)]
    with pinned(core):
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    result: Result = json.loads(done.stdout)
    result["errors"] = sum(result[each] for each in ("failed", "wrong", "broken", "silent"))
    return result
