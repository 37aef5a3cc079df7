"""Start the front and its workers, and end them together: PORT=8080 WORKERS=1 run.py."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
FRONT = ["-m", "uvicorn", "service:app", "--loop", "uvloop", "--http", "httptools"]
QUIET = ["--no-access-log", "--log-level", "warning"]


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "PEER_FOLDER": folder}
        front = [*FRONT, *QUIET, "--port", os.environ["PORT"]]
        workers = [["worker.py", name] for name in ("sum", "square")]
        commands = [front, *workers * int(os.environ.get("WORKERS", "1"))]
        started = [
            subprocess.Popen([sys.executable, *command], cwd=HERE, env=environment)
            for command in commands
        ]
        try:
            started[0].wait()
        finally:
            for each in started:
                each.terminate()
            for each in started:
                each.wait()


if __name__ == "__main__":
    main()
