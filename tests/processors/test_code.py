from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from piped import Service
from piped.errors import BatonError, Level, QueueFull, UndeclaredAwait
from tests.processors.conftest import Make, Problems, Run, decoded
from tests.processors.thread_fakes import Inline


class Thing:
    answer = 1


every_place = pytest.mark.parametrize(
    ("paths", "expected"),
    [
        ("input_path: n", {"n": 9}),
        ("input_path: n, output_path: ''", 9),
        ("input_path: n, output_path: square", {"n": 3, "square": 9}),
        ("input_path: n, output_path: a.square", {"n": 3, "a": {"square": 9}}),
        ("input_path: n, output_path: null", {"n": 3}),
        ("input_path: missing", {"n": 3}),
        ("input_path: missing, output_path: square", {"n": 3}),
        ("input_path: missing.deep, output_path: square", {"n": 3}),
    ],
)


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        ("", 3),
        ("output_path: sum", {"n": 3, "sum": 3}),
        ("output_path: a.sum", {"n": 3, "a": {"sum": 3}}),
        ("output_path: null", {"n": 3}),
    ],
)
def test_eval_lambda_of_the_whole_baton_puts_its_result_anywhere(
    run: Run, paths: str, expected: Any
) -> None:
    baton = run(f"eval-lambda: {{lambda: \"b: b['n']\", {paths}}}", {"n": 3})

    assert baton == expected


@every_place
def test_eval_lambda_of_a_value_puts_its_result_anywhere(
    run: Run, paths: str, expected: Any
) -> None:
    baton = run(f'eval-lambda: {{lambda: "n: n * n", {paths}}}', {"n": 3})

    assert baton == expected


def test_eval_lambda_takes_the_fallback_where_it_does_not_skip(run: Run) -> None:
    text = """
        eval-lambda:
          input_path: n
          skip_if_nonexistent: false
          input_fallback: 2
          lambda: "n: n * n"
    """

    baton = run(text, {})

    assert baton == {"n": 4}


def test_each_baton_gets_its_own_copy_of_the_fallback(make: Make) -> None:
    step = make(
        "eval-lambda: {lambda: 'n: n', input_path: n, skip_if_nonexistent: false,"
        " input_fallback: []}"
    ).step()

    step({})["n"].append(1)

    assert step({}) == {"n": []}


def test_eval_lambda_gets_none_without_a_fallback(run: Run) -> None:
    text = "eval-lambda: {input_path: n, skip_if_nonexistent: false, lambda: 'n: n is None'}"

    baton = run(text, {})

    assert baton == {"n": True}


def test_eval_lambda_reads_and_sets_attributes(run: Run) -> None:
    thing = Thing()

    run("eval-lambda: {input_path: answer, lambda: 'n: n + 1'}", thing)
    run("eval-lambda: {output_path: answer, lambda: 'thing: thing.answer * 10'}", thing)

    assert thing.answer == 20


def test_eval_lambda_refuses_a_baton_that_holds_nothing(run: Run) -> None:
    with pytest.raises(BatonError) as raised:
        run("eval-lambda: {output_path: n, lambda: '_: 1'}", 5)

    assert str(raised.value) == "cannot set 'n': int has no place for 'n'"


def test_eval_lambda_sees_its_namespace_and_dependencies(run: Run) -> None:
    text = """
        eval-lambda:
          namespace: {join: os.path.join}
          dependencies: {shared: context.pending}
          lambda: "name: join('a', name, str(len(self.dependencies.shared)))"
    """

    baton = run(text, "b", **{"context.pending": {1: 1}})

    assert baton == "a/b/1"


def test_eval_lambda_names_what_nobody_defines(problems: Problems) -> None:
    found = problems("eval-lambda: {lambda: 'n: join(n)'}")

    assert found == [
        "nobody defines 'join' (add it to the namespace, as in namespace: {join: package.join})"
    ]


@pytest.mark.parametrize("paths", ["", "output_path: a", "input_path: a", "output_path: null"])
def test_eval_lambda_refuses_an_undeclared_awaitable(run: Run, paths: str) -> None:
    text = f"eval-lambda: {{namespace: {{sleep: asyncio.sleep}}, lambda: '_: sleep(0)', {paths}}}"

    with pytest.raises(UndeclaredAwait) as raised:
        run(text, {"a": 1})

    assert str(raised.value) == (
        "a step that is not async returned an awaitable (coroutine): declare it by 'await: true' or"
        " 'async def'"
    )


def test_eval_lambda_awaits_where_that_is_declared(run: Run) -> None:
    text = """
        eval-lambda:
          namespace: {sleep: asyncio.sleep}
          await: true
          output_path: a
          lambda: "baton: sleep(0, result=7) if baton['a'] else 8"
    """

    assert run(text, {"a": 1}) == {"a": 7}
    assert run(text, {"a": 0}) == {"a": 8}


def test_exec_code_returns_its_output(run: Run) -> None:
    text = """
        exec-code:
          input_path: numbers
          output_path: sum
          code: |
            total = 0
            for number in input:
                total += number
            return total + baton['more']
    """

    baton = run(text, {"numbers": [1, 2], "more": 10})

    assert baton == {"numbers": [1, 2], "more": 10, "sum": 13}


def test_exec_code_that_never_returns_a_value_leaves_the_baton_as_it_was(run: Run) -> None:
    assert run("exec-code: {code: \"baton['n'] = 2\"}", {"n": 1}) == {"n": 2}
    assert run("exec-code: {code: return}", {"n": 1}) == {"n": 1}


def test_exec_code_that_may_return_none_replaces_the_baton(run: Run) -> None:
    baton = run("exec-code: {code: \"if baton['n'] > 1: return 5\"}", {"n": 1})

    assert baton is None


def test_exec_code_that_awaits_is_async(make: Make, run: Run) -> None:
    text = "exec-code: {namespace: {sleep: asyncio.sleep}, code: 'return await sleep(0, input)'}"

    assert make(text).is_async
    assert run(text, 5) == 5


def test_exec_code_refuses_an_undeclared_awaitable(run: Run) -> None:
    text = "exec-code: {namespace: {sleep: asyncio.sleep}, code: 'return sleep(0)'}"

    with pytest.raises(UndeclaredAwait):
        run(text, {})


INLINE_CALLBACKS = """
    exec-code:
      inline_callbacks: true
      namespace: {sleep: asyncio.sleep, fail: tests.processors.test_code.fail}
      code: |
        slow = yield sleep(0, result=1)
        plain = yield 2
        try:
            yield fail()
        except KeyError as error:
            baton['seen'] = [slow, plain, str(error)]
"""


def test_exec_code_awaits_what_inline_callbacks_yield(run: Run) -> None:
    baton = run(INLINE_CALLBACKS, {})

    assert baton == {"seen": [1, 2, "'why'"]}


def test_exec_code_returns_the_output_of_inline_callbacks(run: Run) -> None:
    baton = run(INLINE_CALLBACKS + "        return baton['seen']\n", {})

    assert baton == [1, 2, "'why'"]


def test_exec_code_raises_what_inline_callbacks_do_not_catch(run: Run) -> None:
    text = """
        exec-code:
          inline_callbacks: true
          namespace: {fail: tests.processors.test_code.fail}
          code: yield fail()
    """

    with pytest.raises(KeyError, match="why"):
        run(text, 1)


def test_exec_code_with_inline_callbacks_need_not_yield(run: Run) -> None:
    assert run("exec-code: {inline_callbacks: true, code: return 3}", 1) == 3


async def fail() -> None:
    raise KeyError("why")


def test_exec_code_does_not_leave_generators_undriven(problems: Problems) -> None:
    assert problems("exec-code: {code: yield 1}") == [
        "code that yields is a generator, which nobody would run"
        " (write 'await', or add inline_callbacks: true)"
    ]
    assert problems("exec-code: {code: 'yield await input', inline_callbacks: true}") == [
        "code that awaits cannot yield"
    ]


@pytest.mark.anyio
async def test_exec_code_with_inline_callbacks_can_be_cancelled(make: Make) -> None:
    text = """
        exec-code:
          inline_callbacks: true
          namespace: {Event: asyncio.Event}
          code: |
            try:
                yield Event().wait()
            finally:
                input.append('left')
    """
    baton: list[str] = []
    task = asyncio.create_task(make(text).step()(baton))
    await asyncio.sleep(0)

    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert baton == ["left"]


@every_place
def test_map_does_what_eval_lambda_does(run: Run, paths: str, expected: Any) -> None:
    options = f"{{lambda: 'n: n * n', {paths}}}"

    assert run(f"map: {options}", {"n": 3}) == run(f"eval-lambda: {options}", {"n": 3}) == expected


def test_map_waits_where_it_is_told_to(run: Run) -> None:
    text = "map: {await: true, namespace: {sleep: asyncio.sleep}, lambda: 'n: sleep(0, n * 2)'}"

    assert run(text, 3) == 6


def test_map_names_what_nobody_defines(problems: Problems) -> None:
    assert problems("map: {lambda: 'n: sqrt(n)'}") == [
        "nobody defines 'sqrt' (add it to the namespace, as in namespace: {sqrt: package.sqrt})"
    ]


@pytest.mark.parametrize("name", ["eval-lambda", "map"])
@every_place
def test_a_blocking_lambda_puts_its_result_where_any_other_does(
    run: Run, name: str, paths: str, expected: Any
) -> None:
    text = f"{name}: {{blocking: true, lambda: 'n: n * n', {paths}}}"

    assert run(text, {"n": 3}, threads=Inline()) == expected


def test_blocking_code_returns_its_output(run: Run) -> None:
    text = "exec-code: {blocking: true, input_path: n, code: \"return input * baton['m']\"}"

    assert run(text, {"n": 3, "m": 5}, threads=Inline()) == {"n": 15, "m": 5}


def test_blocking_code_that_never_returns_a_value_leaves_the_baton_as_it_was(run: Run) -> None:
    text = "exec-code: {blocking: true, code: \"baton['n'] = 2\"}"

    assert run(text, {"n": 1}, threads=Inline()) == {"n": 2}


@pytest.mark.parametrize("step", ["map: {lambda: 'n: n'}", "exec-code: {code: return input}"])
def test_only_blocking_steps_need_threads_and_wait(make: Make, step: str) -> None:
    blocking = make(step.replace("{", "{blocking: true, "))
    other = make(step)

    assert (blocking.is_async, blocking._threads.name) == (True, "threads")
    assert (other.is_async, other._threads) == (False, None)


@pytest.mark.parametrize(
    "step", ["map: {lambda: '_: sleep(0)', %s}", "exec-code: {code: return sleep(0), %s}"]
)
def test_blocking_code_refuses_an_undeclared_awaitable(run: Run, step: str) -> None:
    text = step % "blocking: true, namespace: {sleep: asyncio.sleep}"

    with pytest.raises(UndeclaredAwait):
        run(text, {}, threads=Inline())


@pytest.mark.parametrize(
    ("step", "hint"),
    [
        ("map: {blocking: true, await: true, lambda: 'n: n'}", "leave out 'await'"),
        ("exec-code: {blocking: true, code: await input()}", "wait in a step of its own"),
        (
            "exec-code: {blocking: true, inline_callbacks: true, code: yield 1}",
            "wait in a step of its own",
        ),
    ],
)
def test_blocking_code_cannot_await(problems: Problems, step: str, hint: str) -> None:
    assert problems(step) == [
        f"code that runs in a thread cannot await: there is no event loop ({hint})"
    ]


@pytest.mark.parametrize("step", ["map: {lambda: 'n: n', %s}", "exec-code: {code: return 1, %s}"])
def test_blocking_code_is_warned_of_what_may_belong_to_the_loop(step: str) -> None:
    text = step % "blocking: true, dependencies: {queue: zmq.queue.jobs, seen: context.seen}"

    _, found = decoded(text)

    assert [(each.level, each.what, each.hint) for each in found] == [
        (
            Level.WARNING,
            "'zmq.queue.jobs' may belong to the event loop, and the code runs in a thread",
            "use it in a step of its own, without 'blocking'",
        )
    ]
    assert [each.at.endswith(".dependencies.queue") for each in found] == [True]


BLOCKING = """
threads: {size: 1, max_waiting: 0}
pipelines:
  locked:
    - map:
        blocking: true
        lambda: "lock: lock.acquire(timeout=10) and 'unlocked'"
  failing:
    - exec-code:
        blocking: true
        code: |
          numbers = [1, 2]
          return numbers[input]
"""

Load = Callable[[], Service]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Load a service with a single thread for the code of its document."""
    monkeypatch.chdir(tmp_path)
    Path("service.yaml").write_text(BLOCKING)
    return lambda: Service.load("service.yaml")


@pytest.mark.anyio
async def test_the_loop_turns_while_blocking_code_waits(load: Load) -> None:
    lock = threading.Lock()
    lock.acquire()

    async with load() as service:
        waits = asyncio.ensure_future(service.call("locked", lock))
        await asyncio.sleep(0)
        lock.release()

        assert await waits == ["unlocked"]


@pytest.mark.anyio
async def test_blocking_code_is_refused_where_all_threads_are_busy(load: Load) -> None:
    lock = threading.Lock()
    lock.acquire()

    async with load() as service:
        waits = asyncio.ensure_future(service.call("locked", lock))
        await asyncio.sleep(0)
        with pytest.raises(QueueFull) as raised:
            await service.call("failing", 0)
        lock.release()
        await waits

    assert str(raised.value) == "1 threads are busy, and 0 steps wait for one"
    assert raised.value.__notes__ == ["in pipelines.failing[0].exec-code (service.yaml:9:7)"]


@pytest.mark.anyio
async def test_the_error_of_blocking_code_bears_its_place(load: Load) -> None:
    async with load() as service:
        with pytest.raises(IndexError) as raised:
            await service.call("failing", 5)

    assert raised.value.__notes__ == [
        "in pipelines.failing[0].exec-code (service.yaml:9:7), line 13"
    ]


@pytest.mark.anyio
async def test_threads_are_there_without_a_section(tmp_path: Path) -> None:
    file = tmp_path / "service.yaml"
    file.write_text("pipelines: {p: [map: {blocking: true, lambda: 'n: n * n'}]}")

    async with Service.load(file) as service:
        results = await service.call("p", 3)

    assert results == [9]


@pytest.mark.parametrize("paths", ["output_path: out", "input_path: n, output_path: out"])
def test_what_is_stored_has_a_key_of_plain_text(run: Run, paths: str) -> None:
    baton = run(f"map: {{{paths}, lambda: 'it: 1'}}", {"n": 1})

    assert [type(key) for key in baton] == [str, str]
