"""Processes: programs that run beside the service, and what they say."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import field
from typing import Annotated, Any, Final, Literal

import structlog

from piped.errors import Misconfigured, Problem, Unavailable
from piped.providers._lines import Feed, Format, shape_of, text_of
from piped.providers.processes.child import Child, end_of, told
from piped.spec import Dependency, Duration, Meta, Provider, Size, part, provider

LONGEST: Final = 2000
"""How many signs of a line are logged."""

log = structlog.get_logger("piped.processes")


@part
class Process(Provider):
    """Run a program beside the service, bring a baton for each line that it writes.

    Batons are ``{line: text}``, without the line's end; with ``format: json`` they are ``{line:
    text, data: value}``, with ``format: bytes`` ``{line: bytes}``. Lines of standard output go to
    ``processor``; without one, and where ``stderr`` is ``log``, they go to the log, as those of
    the logger ``piped.processes.<name>``.

    Lines of one stream are treated in order, one at a time, unless ``in_flight`` says more; no
    more is read meanwhile, and at last the program has to wait. A line that fails is logged with
    its number, one longer than ``max_line`` is dropped and logged.

    When the program ends it is started again, with longer and longer pauses. With the service it
    ends too: ``stop_signal`` goes to it and to all that it has started, and ``stop_within`` later
    they are killed. What they write until then is treated.

    The resource ``process.<name>`` has ``write(line)``, for a program with ``stdin: true``.
    """

    command: Annotated[
        list[str | int] | str,
        Meta(description="The program and its arguments; a text is split as a shell does it."),
    ]
    cwd: Annotated[
        str | None, Meta(description="The folder in which it runs; null is that of the service.")
    ] = None
    env: Annotated[
        dict[str, str | int | float | None],
        Meta(description="Variables of its own beside those of the service; null takes one away."),
    ] = field(default_factory=dict)
    processor: Annotated[
        Dependency[Any] | None,
        Meta(description="What treats the lines of its standard output; null logs them."),
    ] = None
    stderr: Annotated[
        Literal["log", "stdout", "ignore"] | Dependency[Any],
        Meta(description="Where its errors go: to the log, with its output, or to a pipeline."),
    ] = "log"
    format: Annotated[Format, Meta(description="What a line is: text, JSON, or bytes.")] = "lines"
    max_line: Annotated[
        Size, Meta(ge=1, description="How long a line may be; a longer one is dropped.")
    ] = Size(1 << 20)
    in_flight: Annotated[
        int, Meta(ge=1, le=10_000, description="How many lines are treated at the same time.")
    ] = 1
    stdin: Annotated[
        bool, Meta(description="Whether pipelines may write to it; else its input is empty.")
    ] = False
    restart: Annotated[
        Literal["always", "on-failure", "never"],
        Meta(description="When it is started again: whenever it ends, or after a failure only."),
    ] = "always"
    stop_signal: Annotated[
        Literal["SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGKILL"],
        Meta(description="What asks it to end."),
    ] = "SIGTERM"
    stop_within: Annotated[
        Duration, Meta(description="How long it may take to end before it is killed.")
    ] = Duration(10.0)
    enabled: Annotated[bool, Meta(description="Whether it is run at all.")] = True
    starts: int = field(default=0, init=False)
    _name: str = field(default="", init=False)
    _is_closing: bool = field(default=False, init=False)

    def named(self, name: str) -> None:
        """Tell the process its name in the document."""
        self._name = self.label = f"process.{name}"

    def offers(self) -> Iterable[str]:
        return (self._name,)

    def feeds(self) -> bool:
        return self.enabled

    def check(self) -> Iterator[Problem]:
        try:
            words = self._words()
        except ValueError as error:
            what = f"expected a command, got {self.command!r}: {str(error).lower()}"
            yield Problem("wrong-value", what, at="command")
            return
        if not words or not words[0]:
            what = f"expected a command, got {self.command!r}"
            yield Problem("wrong-value", what, at="command")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[dict[str, Any]]:
        """Run it until it ends or is left; then end it and treat what it has written.

        Raises:
            Misconfigured: There is no such program, or it has failed and is not started again.
            Unavailable: It has ended, and is to be started again.
        """
        if not self.enabled:
            raise Misconfigured(f"'{self._name}' is not enabled")
        child = Child(self._name)
        self._is_closing = False
        try:
            await self._start(child)
            async with asyncio.TaskGroup() as group:
                life = group.create_task(self._follow(child), name=self._name)
                yield {self._name: child}
                self._is_closing = True
                await self._end(child, life)
        finally:
            await child.close()

    async def _start(self, child: Child) -> None:
        env = {**os.environ, **{k: str(v) for k, v in self.env.items() if v is not None}}
        for name in (name for name, value in self.env.items() if value is None):
            env.pop(name, None)
        cwd = self._folder()
        program, *arguments = self._words()
        own = {"stdout": asyncio.subprocess.STDOUT, "ignore": asyncio.subprocess.DEVNULL}
        await child.start(
            [_found(program, cwd, env.get("PATH")), *arguments],
            cwd=cwd,
            env=env,
            has_input=self.stdin,
            stderr=own.get(self.stderr) if isinstance(self.stderr, str) else None,
        )
        self.starts += 1
        log.info("process started", process=self._name, pid=child.pid)

    def _words(self) -> list[str]:
        if isinstance(self.command, str):
            return shlex.split(self.command)
        return [str(each) for each in self.command]

    def _folder(self) -> str | None:
        if self.cwd is None:
            return None
        folder = os.path.expanduser(self.cwd)
        if not os.path.isdir(folder):
            raise Misconfigured(f"there is no folder {folder!r} to run in")
        return folder

    async def _follow(self, child: Child) -> None:
        """Treat all that a process writes, and tell of its end."""
        async with asyncio.TaskGroup() as group:
            for name, output in child.outputs.items():
                feed = self._feed(name)
                group.create_task(feed.run(output.read), name=feed.source)
            await child.exited.wait()
        self._ended(child.code)

    def _feed(self, stream: str) -> Feed:
        target = self.processor if stream == "stdout" else self.stderr
        source = f"{self._name}.{stream}"
        if not isinstance(target, Dependency) or not self.is_feeding:
            return Feed(
                source=source,
                send=self._logger(stream),
                shape=text_of,
                max_line=self.max_line,
                has_journeys=False,
            )
        return Feed(
            source=source,
            send=target.deliver,
            shape=shape_of(self.format),
            max_line=self.max_line,
            in_flight=self.in_flight,
        )

    def _logger(self, stream: str) -> Callable[[str], Awaitable[None]]:
        own = structlog.get_logger(f"piped.processes.{self._name.partition('.')[2]}")

        async def say(line: str) -> None:
            line = line.removesuffix("\r")
            own.info(line if len(line) <= LONGEST else f"{line[:LONGEST]}...", stream=stream)

        return say

    def _ended(self, code: int | None) -> None:
        """Say how it has ended; raise where it is to be started again, or has failed for good."""
        if not self._is_closing:
            if self.restart == "always" or (self.restart == "on-failure" and code):
                raise Unavailable(f"'{self._name}' {told(code)}")
            if code:
                raise Misconfigured(f"'{self._name}' {told(code)} and is not started again")
        log.info("process ended", process=self._name, **end_of(code))

    async def _end(self, child: Child, life: asyncio.Task[None]) -> None:
        clock = asyncio.get_running_loop().time
        until = clock() + max(self.stop_within, self.drain_s)
        child.send_signal(signal.Signals[self.stop_signal])
        try:
            async with asyncio.timeout(self.stop_within):
                await child.exited.wait()
        except TimeoutError:
            log.warning("process killed", process=self._name, after_s=self.stop_within)
            child.send_signal(signal.SIGKILL)
        done, _ = await asyncio.wait([life], timeout=max(0.0, until - clock()))
        if not done:
            log.warning("lines given up", source=self._name)
            life.cancel()


def _found(program: str, cwd: str | None, path: str | None) -> str:
    """Return where a program is: below the folder, or in those of PATH where it has no slash.

    Raises:
        Misconfigured: It is nowhere, or is no program.
    """
    if os.sep in program:
        found = os.path.abspath(os.path.join(cwd or "", program))
        if os.path.isfile(found) and os.access(found, os.X_OK):
            return found
        raise Misconfigured(f"there is no program '{program}'")
    on_path = shutil.which(program, path=path)
    if on_path is None:
        raise Misconfigured(f"there is no program '{program}' on PATH")
    return os.path.abspath(on_path)


@provider("processes", entries="processes")
class Processes(Provider):
    """Run programs beside the service, by names of your own, and keep them alive."""

    processes: Annotated[
        dict[str, Process], Meta(description="The programs, by the names that users give them.")
    ] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, each in self.processes.items():
            each.named(name)

    def units(self) -> Iterator[Provider]:
        yield from self.processes.values()
