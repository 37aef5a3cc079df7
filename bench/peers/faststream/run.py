"""Start broker, front and workers, and end them together: PORT=8080 WORKERS=1 run.py."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
BROKER = str(Path(sys.executable).with_name("nats-server"))
FRONT = ["-m", "uvicorn", "service:app", "--loop", "uvloop", "--http", "httptools"]
QUIET = ["--no-access-log", "--log-level", "warning"]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def wait_for(port: int) -> None:
    """Return as soon as somebody listens there."""
    for _ in range(1000):
        with socket.socket() as tried:
            if tried.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.01)
    sys.exit("the broker does not listen")


def end(processes: list[subprocess.Popen[bytes]]) -> None:
    for each in processes:
        each.terminate()
    for each in processes:
        each.wait()


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    port = free_port()
    environment = {**os.environ, "NATS_URL": f"nats://127.0.0.1:{port}"}
    front = [*FRONT, *QUIET, "--port", os.environ["PORT"]]
    workers = [["worker.py", name] for name in ("sum", "square")]
    broker = [BROKER, "-a", "127.0.0.1", "-p", str(port)]
    started = [subprocess.Popen(broker, stderr=subprocess.DEVNULL)]
    try:
        wait_for(port)
        started += [
            subprocess.Popen([sys.executable, *command], cwd=HERE, env=environment)
            for command in [front, *workers * int(os.environ.get("WORKERS", "1"))]
        ]
        started[1].wait()
    finally:
        end(started[1:])  # first: to close in order, they want the broker to be there
        end(started[:1])


if __name__ == "__main__":
    main()
