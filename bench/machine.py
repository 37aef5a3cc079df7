"""Where a table was measured: the line that stands above it."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ASKED = (
    "import importlib.metadata as m, json, sys;"
    "print(json.dumps({each.name.lower(): each.version for each in m.distributions()}))"
)


def heading(*packages: str, peers: Path | None = None) -> str:
    """Return date, interpreter, machine, and the versions of packages.

    Args:
        packages: Looked up among our own, and else where the peers are; else they are left out.
        peers: The interpreter of the peers, if they take part.
    """
    theirs = versions_of(peers) if peers is not None and peers.exists() else {}
    known = ((name, own(name) or theirs.get(name)) for name in packages)
    found = [f"{name} {number}" for name, number in known if number]
    kernel = ".".join(platform.release().split(".")[:2])
    where = f"{os.cpu_count()} cores, {cpu()}, Linux {kernel}"
    return ", ".join([str(date.today()), f"CPython {platform.python_version()}", where, *found])


def own(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def versions_of(python: Path) -> dict[str, str]:
    done = subprocess.run([str(python), "-c", ASKED], stdout=subprocess.PIPE, check=True)
    found: dict[str, str] = json.loads(done.stdout)
    return found


def cpu() -> str:
    """Return what the processor calls itself."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "?")


def say(text: str) -> None:
    """Tell the one who waits; the tables go to the other stream."""
    print(text, file=sys.stderr, flush=True)
