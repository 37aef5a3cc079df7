"""What a server does with clients that are slow or too large: `python bench/limits.py`.

Piped, uvicorn and nginx (those that are there) get the same clients, and their own limits of time
are the same, where they have any: 3 s, so that one need not wait. A table says what each has done,
by what the client sees and by the descriptors and the memory of the server's processes.

    python bench/limits.py                  two minutes
    python bench/limits.py --quick          limits of 1 s
    python bench/limits.py --only piped     one of the servers
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from clients import ALONE, FRAMING, MIB, OPEN_FILES, TOGETHER, Patience
from machine import heading, say
from services import NotReady, Running, free_port, running
from web import PEERS, PEERS_PYTHON, PIPED, QUIET, UVICORN

DOCUMENT = """
web:
  site:
    port: {port}
    first_byte_timeout: {limit}s
    header_timeout: {limit}s
    body_timeout: {limit}s
    write_timeout: {limit}s
    idle_timeout: {limit}s
    routing:
      __config__: {{processor: pipeline.answer}}
      length: {{__config__: {{processor: pipeline.length}}}}
      big: {{__config__: {{processor: pipeline.big}}}}
pipelines:
  answer: [write-web-response: {{fallback_content: '{{"diff":0}}'}}]
  length:
    - map: {{output_path: content, lambda: "b: str(len(b['request'].body()))"}}
    - write-web-response
  big:
    - map: {{output_path: content, lambda: "_: 'x' * (16 << 20)"}}
    - write-web-response
"""

NGINX = """
daemon off; user root; worker_processes 1; pid {folder}/pid; error_log stderr crit;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  client_header_timeout {limit}s; client_body_timeout {limit}s;
  send_timeout {limit}s; keepalive_timeout {limit}s;
  server {{
    listen 127.0.0.1:{port};
    location / {{ return 200 '{{"diff":0}}'; }}
    location /length {{ proxy_pass http://127.0.0.1:{other}; }}
    location /big {{ root {folder}; }}
  }}
  server {{ listen 127.0.0.1:{other}; location / {{ return 200 "read"; }} }}
}}
"""


@dataclass(frozen=True)
class Server:
    """How to start one: its command, once its files are in a folder."""

    name: str
    command: Callable[[Path, int, int], list[str]]

    @contextmanager
    def started(self, limit_s: int) -> Iterator[Running]:
        with tempfile.TemporaryDirectory() as name:
            folder, port = Path(name), free_port()
            command = self.command(folder, port, limit_s)
            command = ["sh", "-c", f'ulimit -n {OPEN_FILES}; exec "$@"', "sh", *command]
            cwd = PEERS / "web_asgi" if self.name == "uvicorn" else folder
            with running(command, port, cwd, {}) as service:
                yield service


def piped(folder: Path, port: int, limit_s: int) -> list[str]:
    (folder / "limits.yaml").write_text(DOCUMENT.format(port=port, limit=limit_s))
    return [PIPED, "run", "limits.yaml"]


def uvicorn(_folder: Path, port: int, limit_s: int) -> list[str]:
    options = ["--port", str(port), "--timeout-keep-alive", str(limit_s)]
    return [str(PEERS_PYTHON), *UVICORN, *QUIET, *options]


def nginx(folder: Path, port: int, limit_s: int) -> list[str]:
    told = NGINX.format(folder=folder, port=port, other=free_port(), limit=limit_s)
    (folder / "nginx.conf").write_text(told)
    (folder / "big").write_bytes(b"x" * (16 * MIB))
    return ["nginx", "-c", str(folder / "nginx.conf")]


def servers() -> Iterator[Server]:
    """Give those that are there, and say how to get the others."""
    yield Server("piped", piped)
    if PEERS_PYTHON.exists():
        yield Server("uvicorn", uvicorn)
    else:
        say("uvicorn is left out: say `make bench-peers` first")
    if shutil.which("nginx"):
        yield Server("nginx", nginx)
    else:
        say("nginx is left out: it is missing (Debian: apt install nginx-light)")


async def results(server: Server, patience: Patience) -> dict[str, str]:
    """Return what a server has done with each client."""
    say(f"{server.name} ...")
    with server.started(patience.limit_s) as service:
        jobs = [probe(service, patience) for probe in TOGETHER.values()]
        found = dict(zip(TOGETHER, await asyncio.gather(*jobs), strict=True))
    for name, probe in ALONE.items():
        with server.started(patience.limit_s) as service:
            found[name] = await probe(service, patience)
    with server.started(patience.limit_s) as service:
        for name, probe in FRAMING.items():
            found[name] = (await probe(service, patience)).partition(" after 0.")[0]
    return found


def main() -> None:
    """Try, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="limits of 1 s")
    names = ("piped", "uvicorn", "nginx")
    parser.add_argument("--only", action="append", choices=names, help="leave out the others")
    given = parser.parse_args()
    patience = Patience(1, 4.0) if given.quick else Patience(3, 10.0)
    found = {}
    for server in servers():
        if given.only and server.name not in given.only:
            continue
        try:
            found[server.name] = asyncio.run(results(server, patience))
        except NotReady as error:
            say(f"{server.name} is left out: {error}")
    print(heading("piped-server", "uvicorn", "httptools", peers=PEERS_PYTHON))
    print(f"limits of {patience.limit_s} s where there are any\n")
    print("| client |", " | ".join(found), "|")
    print("|---|" + "---|" * len(found))
    for name in (*TOGETHER, *ALONE, *FRAMING):
        print(f"| {name} |", " | ".join(each[name] for each in found.values()), "|")


if __name__ == "__main__":
    main()
