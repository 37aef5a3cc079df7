"""Run commands until the first one ends, and end them all: `together.py CMD -- CMD -- CMD`."""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    groups = itertools.groupby(sys.argv[1:], lambda word: word == "--")
    commands = [[*words] for is_mark, words in groups if not is_mark]
    started = [subprocess.Popen(command) for command in commands]
    try:
        started[0].wait()
    finally:
        for each in started:
            each.terminate()
        for each in started:
            each.wait()


if __name__ == "__main__":
    main()
