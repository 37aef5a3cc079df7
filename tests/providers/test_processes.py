from __future__ import annotations

import asyncio
import os
import random
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from piped.document import parse
from piped.document.nodes import Mapping, Secret
from piped.errors import BatonError, Misconfigured, Unavailable, unwrapped
from piped.providers.processes import Process, Processes
from piped.providers.processes.child import Child
from piped.resources import Resource, Supervisor
from piped.spec import Decoder, Duration, Size, dependencies_of, spec_of
from tests.conftest import turn
from tests.providers.conftest import Pipeline, bound
from tests.stories.processes import PIPED

pytestmark = pytest.mark.anyio

FOR_EVER = "import signal\nprint('ready', flush=True)\nsignal.pause()"
ECHO = "import sys\nfor line in sys.stdin: print(line.strip().upper(), flush=True)"


Make = Callable[..., Process]


@pytest.fixture
def make(pipeline: Pipeline) -> Make:
    def made(code: str | None = None, **settings: Any) -> Process:
        if code is not None:
            settings["command"] = [sys.executable, "-S", "-c", code]
        process = Process(**{"processor": bound(pipeline), "restart": "never", **settings})
        process.named("it")
        process.is_feeding = True
        return process

    return made


async def failure_of(process: Process) -> Exception:
    """Return the error with which a process leaves by itself."""
    with pytest.raises(Exception) as caught:  # noqa: PT011 - the tests look at it
        async with process.running():
            await asyncio.Event().wait()
    error = unwrapped(caught.value)
    assert isinstance(error, Exception)
    return error


def child_in(resources: dict[str, Any]) -> Child:
    child = resources["process.it"]
    assert isinstance(child, Child)
    return child


def assert_reaped(pid: int) -> None:
    """Fail where a child has not been waited for: where it is a zombie."""
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


@contextmanager
def gone(pid: int) -> Iterator[None]:
    """Hold a process, and fail where it has not ended some time after what is done in between."""
    descriptor = os.pidfd_open(pid)
    try:
        yield
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        assert poll.poll(10_000), f"process {pid} still runs"
    finally:
        os.close(descriptor)


async def test_each_line_of_its_output_is_a_baton(make: Make, pipeline: Pipeline) -> None:
    error = await failure_of(
        make("print('one'); print('two'); print('three', end=''); raise SystemExit(3)")
    )

    assert pipeline.batons == [{"line": "one"}, {"line": "two"}, {"line": "three"}]
    assert isinstance(error, Misconfigured)
    assert str(error) == "'process.it' ended with exit code 3 and is not started again"


async def test_errors_go_to_the_log_and_begin_no_journey(make: Make, pipeline: Pipeline) -> None:
    with capture_logs() as lines:
        await failure_of(
            make("import os; os.write(2, b'oh\\r\\n' + b'x' * 3000); raise SystemExit(1)")
        )

    said = [each for each in lines if "stream" in each]
    assert said == [
        {"event": "oh", "stream": "stderr", "log_level": "info"},
        {"event": "x" * 2000 + "...", "stream": "stderr", "log_level": "info"},
    ]
    assert pipeline.batons == []


async def test_without_a_processor_its_output_goes_to_the_log_too(make: Make) -> None:
    with capture_logs() as lines:
        await failure_of(make("print('hello'); raise SystemExit(1)", processor=None))

    assert [each for each in lines if "stream" in each] == [
        {"event": "hello", "stream": "stdout", "log_level": "info"}
    ]


async def test_errors_may_go_to_a_pipeline_of_their_own(make: Make, pipeline: Pipeline) -> None:
    errors = Pipeline()

    await failure_of(
        make(
            "import os; os.write(2, b'oh\\n'); print('out'); raise SystemExit(1)",
            stderr=bound(errors),
        )
    )

    assert errors.all("line") == ["oh"]
    assert pipeline.all("line") == ["out"]


@pytest.mark.parametrize(("stderr", "lines"), [("stdout", ["oh", "out"]), ("ignore", ["out"])])
async def test_errors_may_go_with_the_output_or_nowhere(
    make: Make, pipeline: Pipeline, stderr: str, lines: list[str]
) -> None:
    code = "import os; os.write(2, b'oh\\n'); print('out'); raise SystemExit(1)"

    with capture_logs() as logged:
        await failure_of(make(code, stderr=stderr))

    assert pipeline.all("line") == lines
    assert [each["event"] for each in logged] == ["process started"]


async def test_a_line_that_is_too_long_is_dropped(make: Make, pipeline: Pipeline) -> None:
    with capture_logs() as logged:
        await failure_of(
            make("print('x' * 200_000); print('y'); raise SystemExit(1)", max_line=Size(100))
        )

    assert pipeline.all("line") == ["y"]
    assert [each for each in logged if each["event"] == "line dropped"] == [
        {
            "event": "line dropped",
            "source": "process.it.stdout",
            "number": 1,
            "longer_than_bytes": 100,
            "dropped": 1,
            "log_level": "warning",
        }
    ]


async def test_json_lines_are_read(make: Make, pipeline: Pipeline) -> None:
    await failure_of(make("print('[1, 2]'); raise SystemExit(1)", format="json"))

    assert pipeline.batons == [{"line": "[1, 2]", "data": [1, 2]}]


@pytest.mark.parametrize(
    ("restart", "code", "error"),
    [
        ("always", "", Unavailable("'process.it' ended with exit code 0")),
        ("always", "raise SystemExit(2)", Unavailable("'process.it' ended with exit code 2")),
        ("on-failure", "raise SystemExit(2)", Unavailable("'process.it' ended with exit code 2")),
        (
            "always",
            "import os; os.kill(os.getpid(), 9)",
            Unavailable("'process.it' was ended by SIGKILL"),
        ),
        (
            "never",
            "import os; os.kill(os.getpid(), 15)",
            Misconfigured("'process.it' was ended by SIGTERM and is not started again"),
        ),
    ],
)
async def test_its_end_says_whether_it_is_to_be_started_again(
    make: Make, restart: str, code: str, error: Exception
) -> None:
    found = await failure_of(make(code, restart=restart))

    assert type(found) is type(error)
    assert str(found) == str(error)


@pytest.mark.parametrize("restart", ["on-failure", "never"])
async def test_a_process_that_ends_well_has_done_its_work(make: Make, restart: str) -> None:
    with capture_logs() as lines:
        async with make("", restart=restart, stdin=True).running() as resources:
            child = child_in(dict(resources))
            await child.exited.wait()
            with pytest.raises(Unavailable) as caught:
                await child.write("hello")

    assert str(caught.value) == "'process.it' reads no more"
    assert [each["event"] for each in lines] == ["process started", "process ended"]
    assert lines[1] == {
        "event": "process ended",
        "process": "process.it",
        "exit_code": 0,
        "log_level": "info",
    }


async def test_the_supervisor_starts_it_again_and_again(make: Make, pipeline: Pipeline) -> None:
    resource = Resource("process.it")
    process = make("print('hello'); raise SystemExit(1)", restart="always")
    supervisor = Supervisor([process], {"process.it": resource}, chance=random.Random(0))

    async with asyncio.TaskGroup() as group:
        with capture_logs() as lines:
            await supervisor.start(group)
            for _ in range(3):
                await pipeline.came.get()
            await supervisor.stop()

    assert pipeline.all("line")[:3] == ["hello"] * 3
    assert process.starts >= 3
    assert {
        "event": "unavailable, trying again",
        "provider": "process.it",
        "reason": "'process.it' ended with exit code 1",
        "log_level": "warning",
    } in lines
    assert not supervisor.failures
    assert not resource.is_ready


async def test_it_ends_with_the_service_and_its_last_lines_are_treated(
    make: Make, pipeline: Pipeline
) -> None:
    code = (
        "import signal, sys\n"
        "signal.signal(signal.SIGINT, lambda *_: (print('bye'), sys.exit(0)))\n" + FOR_EVER
    )

    with capture_logs() as lines:
        async with make(code, stop_signal="SIGINT").running() as resources:
            await pipeline.came.get()
            pid = child_in(dict(resources)).pid

    assert pipeline.all("line") == ["ready", "bye"]
    assert lines == [
        {"event": "process started", "process": "process.it", "pid": pid, "log_level": "info"},
        {"event": "process ended", "process": "process.it", "exit_code": 0, "log_level": "info"},
    ]
    assert_reaped(pid)


async def test_a_process_that_does_not_end_is_killed(make: Make, pipeline: Pipeline) -> None:
    code = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + FOR_EVER

    with capture_logs() as lines:
        async with make(code, stop_within=Duration(0.05)).running():
            await pipeline.came.get()

    assert lines[1:] == [
        {
            "event": "process killed",
            "process": "process.it",
            "after_s": 0.05,
            "log_level": "warning",
        },
        {
            "event": "process ended",
            "process": "process.it",
            "signal": "SIGKILL",
            "log_level": "info",
        },
    ]


GRANDCHILD = (
    "import os, signal, subprocess, sys\n"
    "it = subprocess.Popen([sys.executable, '-S', '-c', 'import signal; signal.pause()'])\n"
    "print(it.pid, flush=True)\n"
)


async def test_what_it_has_started_ends_with_it(make: Make, pipeline: Pipeline) -> None:
    with ExitStack() as after:
        async with make(GRANDCHILD + "signal.pause()").running():
            await pipeline.came.get()
            after.enter_context(gone(int(pipeline.all("line")[0])))


async def test_what_it_leaves_behind_is_killed(make: Make, pipeline: Pipeline) -> None:
    async with make(GRANDCHILD + "sys.stdin.readline()", stdin=True).running() as resources:
        await pipeline.came.get()
        with gone(int(pipeline.all("line")[0])):
            await child_in(dict(resources)).write("end")
            await child_in(dict(resources)).exited.wait()


async def test_who_has_left_its_session_and_holds_its_pipe_is_not_waited_for(
    make: Make, pipeline: Pipeline
) -> None:
    code = GRANDCHILD.replace("])", "], start_new_session=True)") + "raise SystemExit(1)"

    error = await failure_of(make(code))

    [pid] = pipeline.all("line")
    with gone(int(pid)):
        os.kill(int(pid), signal.SIGKILL)
    assert str(error) == "'process.it' ended with exit code 1 and is not started again"


async def test_it_has_a_session_of_its_own_so_that_no_terminal_ends_it(
    make: Make, pipeline: Pipeline
) -> None:
    async with make(FOR_EVER).running() as resources:
        await pipeline.came.get()
        pid = child_in(dict(resources)).pid
        session, group = os.getsid(pid), os.getpgid(pid)

    assert session == group == pid


async def test_cancelling_kills_it_at_once(make: Make, pipeline: Pipeline) -> None:
    pids: list[int] = []

    async def run() -> None:
        async with make(FOR_EVER).running() as resources:
            pids.append(child_in(dict(resources)).pid)
            await asyncio.Event().wait()

    task = asyncio.create_task(run())
    await pipeline.came.get()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert_reaped(pids[0])


async def test_lines_can_be_written_to_it(make: Make, pipeline: Pipeline) -> None:
    async with make(ECHO, stdin=True).running() as resources:
        child = child_in(dict(resources))
        await child.write("one")
        await child.write(b"two\n")
        await asyncio.gather(child.write("three"), child.write("four"))
        for _ in range(4):
            await pipeline.came.get()

    assert pipeline.all("line") == ["ONE", "TWO", "THREE", "FOUR"]


async def test_only_text_and_bytes_are_lines(make: Make, pipeline: Pipeline) -> None:
    async with make(FOR_EVER, stdin=True).running() as resources:
        with pytest.raises(BatonError) as caught:
            await child_in(dict(resources)).write({"line": "one"})  # type: ignore[arg-type] # wrong

    assert str(caught.value) == "expected text or bytes, got dict"


async def test_writing_needs_an_input(make: Make, pipeline: Pipeline) -> None:
    code = "import sys; print(repr(sys.stdin.read()), flush=True); import signal; signal.pause()"

    async with make(code).running() as resources:
        await pipeline.came.get()
        with pytest.raises(Misconfigured) as caught:
            await child_in(dict(resources)).write("one")

    assert pipeline.all("line") == ["''"]
    assert str(caught.value) == "'process.it' has no input: it needs 'stdin: true'"


async def test_writing_waits_for_room_and_fails_where_there_never_will_be_any(
    make: Make, pipeline: Pipeline
) -> None:
    code = "import signal, sys\nsignal.signal(signal.SIGUSR1, lambda *_: sys.exit(0))\n" + FOR_EVER

    async with make(code, stdin=True).running() as resources:
        await pipeline.came.get()
        child = child_in(dict(resources))
        writes = [asyncio.create_task(child.write("x" * 65_536)) for _ in range(20)]
        await turn(50)
        waiting = [each for each in writes if not each.done()]
        child.send_signal(signal.SIGUSR1)
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)

    assert len(waiting) >= 15
    assert {str(each) for each in outcomes} == {"'process.it' reads no more"}
    assert {type(each) for each in outcomes} == {Unavailable}


async def test_a_child_has_pipes_and_no_sockets(make: Make, pipeline: Pipeline) -> None:
    code = (
        "import sys\n"
        "line = open('/dev/stdin').readline()\n"
        "open('/dev/stdout', 'w').write(line)\n"
        "open('/dev/stderr', 'w').write(line)\n"
    )
    errors = Pipeline()

    async with make(code, stdin=True, stderr=bound(errors)).running() as resources:
        await child_in(dict(resources)).write("hello")
        await pipeline.came.get()
        await errors.came.get()

    assert (pipeline.all("line"), errors.all("line")) == (["hello"], ["hello"])


FILLER = """
import os, sys
os.set_blocking(1, False)
os.write(1, b'first\\n')
for _ in sys.stdin:
    count = 0
    try:
        while True:
            count += os.write(1, b'x' * 1023 + b'\\n') // 1024
    except BlockingIOError:
        os.write(2, b'%d\\n' % count)
"""


async def test_a_process_waits_while_its_lines_are_treated(make: Make, pipeline: Pipeline) -> None:
    pipeline.gate.clear()
    errors = Pipeline()

    async with make(FILLER, stdin=True, stderr=bound(errors)).running() as resources:
        await pipeline.came.get()
        while errors.all("line")[-2:] != ["0", "0"]:
            await child_in(dict(resources)).write("fill what there is room for")
            await errors.came.get()
            await turn(50)
        before = len(pipeline.batons)
        pipeline.gate.set()

    written = sum(map(int, errors.all("line")))
    assert before == 1
    assert written < 512
    assert len(pipeline.all("line")) == written + 1


async def test_many_lines_at_once_all_come(make: Make, pipeline: Pipeline) -> None:
    await failure_of(make("for i in range(100_000): print(i)\nexit(1)"))

    assert pipeline.all("line") == [str(i) for i in range(100_000)]


async def test_lines_that_are_not_treated_in_time_are_given_up(
    make: Make, pipeline: Pipeline
) -> None:
    pipeline.gate.clear()
    process = make(FOR_EVER, stop_within=Duration(0.0))
    process.drain_s = 0.05

    with capture_logs() as lines:
        async with process.running():
            await pipeline.came.get()

    assert lines[-1] == {
        "event": "lines given up",
        "source": "process.it",
        "log_level": "warning",
    }


async def test_it_has_its_folder_and_its_variables(
    make: Make, pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OURS", "ours")
    monkeypatch.setenv("AWAY", "away")
    code = (
        "import os\n"
        "for name in ('OURS', 'PORT', 'AWAY'): print(os.environ.get(name))\n"
        "print(os.getcwd())\n"
        "raise SystemExit(1)"
    )

    await failure_of(make(code, env={"PORT": 8080, "AWAY": None}, cwd=str(tmp_path)))

    assert pipeline.all("line") == ["ours", "8080", "None", str(tmp_path)]


async def test_a_text_is_split_as_a_shell_does_it_and_no_shell_sees_it(
    make: Make, pipeline: Pipeline
) -> None:
    await failure_of(make(command="sh -c 'echo \"$1\"; exit 1' it '$HOME;  *'"))

    assert pipeline.all("line") == ["$HOME;  *"]


async def test_numbers_may_be_arguments(make: Make, pipeline: Pipeline) -> None:
    await failure_of(make(command=["sh", "-c", "echo $1; exit 1", "it", 5]))

    assert pipeline.all("line") == ["5"]


async def test_secrets_are_not_logged(make: Make, pipeline: Pipeline) -> None:
    secret = Secret("hush")

    with capture_logs() as lines:
        await failure_of(make(command=["sh", "-c", "exit 1", secret], env={"TOKEN": secret}))
        await failure_of(make(command=[secret]))

    assert "hush" not in repr(lines)


NULL_BYTE = "cannot be started: there is a null byte in what it is given"


def script(folder: Path, text: str, mode: int) -> str:
    path = folder / "run"
    path.write_text(text)
    path.chmod(mode)
    return "./run"


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"command": "no-such-program -x"}, "there is no program 'no-such-program' on PATH"),
        ({"command": "./nothing"}, "there is no program './nothing'"),
        ({"command": "true", "cwd": "/no/such"}, "there is no folder '/no/such' to run in"),
        ({"command": "true", "env": {"PATH": "/no"}}, "there is no program 'true' on PATH"),
        ({"command": ["true", "a\0b"]}, NULL_BYTE),
        ({"command": "true", "env": {"A": "a\0b"}}, NULL_BYTE),
        ({"command": "true", "enabled": False}, "'process.it' is not enabled"),
    ],
)
async def test_what_can_never_be_started_has_failed_for_good(
    make: Make, settings: dict[str, Any], what: str
) -> None:
    error = await failure_of(make(**settings))

    assert isinstance(error, Misconfigured)
    assert str(error) == what


@pytest.mark.parametrize(
    ("text", "mode", "what"),
    [
        ("#!/bin/sh\n", 0o644, "there is no program './run'"),
        ("#!/no/such/shell\n", 0o755, "cannot be started: no such file or directory"),
    ],
)
async def test_a_file_that_is_no_program_has_failed_for_good(
    make: Make, tmp_path: Path, text: str, mode: int, what: str
) -> None:
    error = await failure_of(make(command=script(tmp_path, text, mode), cwd=str(tmp_path)))

    assert isinstance(error, Misconfigured)
    assert str(error) == what


async def test_a_program_is_found_from_its_folder(
    make: Make, pipeline: Pipeline, tmp_path: Path
) -> None:
    command = script(tmp_path, "#!/bin/sh\necho here\nexit 1\n", 0o755)

    await failure_of(make(command=command, cwd=str(tmp_path)))

    assert pipeline.all("line") == ["here"]


async def test_no_descriptor_stays_open(make: Make) -> None:
    await failure_of(make("raise SystemExit(1)", stdin=True))
    before = sorted(os.listdir("/proc/self/fd"))

    for _ in range(3):
        await failure_of(make("raise SystemExit(1)", stdin=True))
        await failure_of(make(command=["true", "a\0b"], stdin=True))
    await turn(50)

    assert len(os.listdir("/proc/self/fd")) <= len(before)


async def test_where_nothing_is_fed_its_lines_are_only_logged(
    make: Make, pipeline: Pipeline
) -> None:
    process = make("print('hello'); raise SystemExit(1)")
    process.is_feeding = False

    with capture_logs() as lines:
        await failure_of(process)

    assert pipeline.batons == []
    assert [each["event"] for each in lines] == ["process started", "hello"]


async def test_each_process_is_supervised_by_itself(make: Make) -> None:
    processes = Processes(processes={"a": make("", enabled=False), "b": make("")})

    first, second = processes.units()

    assert (first.label, second.label) == ("process.a", "process.b")
    assert (first.feeds(), second.feeds()) == (False, True)
    assert list(second.offers()) == ["process.b"]
    assert [each.name for each in dependencies_of(processes)] == ["pipeline.x", "pipeline.x"]


@pytest.mark.parametrize(
    ("parameter", "what"),
    [
        ("command: []", "expected a command, got []"),
        ("command: ''", "expected a command, got ''"),
        ("command: ['']", "expected a command, got ['']"),
        ('command: "echo \'x"', 'expected a command, got "echo \'x": no closing quotation'),
        ("command: [sleep, 0.5]", "expected list of str or int or str, got ['sleep', 0.5]"),
        ("restart: no", "expected 'always', 'on-failure' or 'never', got 'no'"),
        (
            "stderr: {file: x}",
            "expected 'log', 'stdout', 'ignore' or resource, got {'file': 'x'}",
        ),
        ("stop_within: soon", "expected a duration such as 2s or 250ms, got 'soon'"),
        ("env: [A=b]", "expected mapping of names to str, int, float or null, got ['A=b']"),
    ],
)
async def test_wrong_parameters_are_problems(parameter: str, what: str) -> None:
    spec = spec_of(Processes)
    assert spec is not None
    command = "" if parameter.startswith("command") else "    command: 'true'\n"
    root, _ = parse(f"processes:\n  it:\n{command}    {parameter}\n", "service.yaml")
    decoder = Decoder()

    assert isinstance(root, Mapping)
    decoder.section(spec, root.entries["processes"].node, "processes")

    [problem] = decoder.problems
    assert problem.what == what
    assert problem.at == f"processes.it.{parameter.partition(':')[0]}"
    assert problem.place is not None
    assert problem.place.line == (3 if parameter.startswith("command") else 4)


FOLLOWER = """
processes:
  greeter:
    command: [sh, -c, "echo hello; read line; echo $line"]
    stdin: true
    restart: never
    processor: pipeline.say
contexts: {said: []}
pipelines:
  say:
    - eval-lambda: {input_path: line, output_path: null, lambda: "line: print(line, flush=True)"}
    - eval-lambda:
        input_path: line
        output_path: null
        await: true
        dependencies: {greeter: process.greeter}
        lambda: "line: self.dependencies.greeter.write('and bye')"
"""


def test_a_service_talks_to_its_process(tmp_path: Path) -> None:
    (tmp_path / "greet.yaml").write_text(FOLLOWER)
    with subprocess.Popen(
        [PIPED, "run", "greet.yaml"],
        cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    ) as service:  # fmt: skip
        assert service.stdout is not None
        said = [service.stdout.readline(), service.stdout.readline()]
        service.terminate()
        service.communicate(timeout=20)

    assert said == ["hello\n", "and bye\n"]
    assert service.returncode == 0
