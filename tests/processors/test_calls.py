from __future__ import annotations

import asyncio
from typing import Any

import pytest

from piped.errors import BatonError, UndeclaredAwait
from tests.processors.conftest import Make, Problems, Run, decoded, run_in

HERE = __name__


def seen(*args: Any, **kwargs: Any) -> Any:
    return args, kwargs


async def slowly(value: Any) -> Any:
    await asyncio.sleep(0)
    return value


def promise(value: Any) -> Any:
    return slowly(value)


class Stock:
    """A resource with some methods."""

    def __init__(self) -> None:
        self.items: list[Any] = []
        self.size = 3

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return args, kwargs

    def add(self, item: Any, *, times: int = 1) -> int:
        self.items += [item] * times
        return len(self.items)

    async def count(self) -> int:
        await asyncio.sleep(0)
        return len(self.items)

    def fail(self) -> None:
        raise LookupError("nothing left")

    def _private(self) -> str:
        return "secret"


@pytest.fixture
def stock() -> Stock:
    return Stock()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("", {"n": 3, "result": ((), {})}),
        ("args: [1, [2]]", {"n": 3, "result": ((1, [2]), {})}),
        ("kwargs: {a: 1}", {"n": 3, "result": ((), {"a": 1})}),
        ("args: [!path n], kwargs: {a: [!path n, {b: !path n}]}", None),
        ("args: [5], output_path: ''", ((5,), {})),
        ("args: [5], output_path: a.b", {"n": 3, "a": {"b": ((5,), {})}}),
        ("args: [5], output_path: null", {"n": 3}),
    ],
)
def test_call_named_any_calls_with_arguments(run: Run, options: str, expected: Any) -> None:
    baton = run(f"call-named-any: {{name: {HERE}.seen, {options}}}", {"n": 3})

    if expected is None:
        expected = {"n": 3, "result": ((3,), {"a": [3, {"b": 3}]})}
    assert baton == expected


@pytest.mark.parametrize(
    ("name", "args", "expected"),
    [("len", "[[1, 2]]", 2), ("exceptions.int", "['7']", 7), ("datetime.date.today", "[]", None)],
)
def test_call_named_any_finds_builtins_classes_and_methods(
    run: Run, name: str, args: str, expected: Any
) -> None:
    result = run(f"call-named-any: {{name: {name}, args: {args}, output_path: ''}}", {})

    assert result == expected if expected is not None else result.year >= 2026


def test_call_named_any_gives_each_call_its_own_arguments(make: Make) -> None:
    step = make(f"call-named-any: {{name: {HERE}.seen, args: [[]], output_path: ''}}").step()

    step({})[0][0].append(1)

    assert step({}) == (([],), {})


def test_call_named_any_awaits_coroutine_functions(run: Run) -> None:
    assert run(f"call-named-any: {{name: {HERE}.slowly, args: [4]}}", {}) == {"result": 4}


@pytest.mark.parametrize("name", ["promise", "seen"])
def test_call_named_any_waits_where_it_is_told_to(run: Run, name: str) -> None:
    result = run(f"call-named-any: {{name: {HERE}.{name}, args: [4], await: true}}", {})

    assert result == {"result": 4 if name == "promise" else ((4,), {})}


def test_call_named_any_does_not_lose_an_awaitable(run: Run) -> None:
    with pytest.raises(UndeclaredAwait) as raised:
        run(f"call-named-any: {{name: {HERE}.promise, args: [4]}}", {})

    assert str(raised.value) == (
        "a step that is not async returned an awaitable (coroutine): declare it by 'await: true'"
        " or 'async def'"
    )


def test_call_named_any_tells_what_the_baton_does_not_have(run: Run) -> None:
    text = f"call-named-any: {{name: {HERE}.seen, args: [1], kwargs: {{a: {{b: !path x.y}}}}}}"

    with pytest.raises(BatonError) as raised:
        run(text, {"x": {}})

    assert str(raised.value) == "nothing at 'x.y' for 'kwargs.a.b'"


def test_call_named_any_lets_errors_through(run: Run) -> None:
    with pytest.raises(ZeroDivisionError):
        run("call-named-any: {name: divmod, args: [1, 0]}", {})


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("math.hypott", "'math' has no 'hypott'"),
        ("no_such_module.call", "no module 'no_such_module'"),
        ("a..b", "expected a dotted Python name, got 'a..b'"),
        ("math.pi", "expected the name of something to call, got 'math.pi': float"),
        ("os.path", "expected the name of something to call, got 'os.path': module"),
    ],
)
def test_call_named_any_checks_its_name(name: str, message: str) -> None:
    _, [problem] = decoded(f"call-named-any: {{name: {name}}}")

    assert (problem.what, problem.at) == (message, "call-named-any.name")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("", ((), {})),
        ("arguments: 1", ((1,), {})),
        ("arguments: null", ((None,), {})),
        ("arguments: [1, 2]", (([1, 2],), {})),
        ("arguments: [1, 2], unpack_arguments: true", ((1, 2), {})),
        ("arguments: {a: 1}", (({"a": 1},), {})),
        ("arguments: {a: 1}, unpack_arguments: true", ((), {"a": 1})),
        ("arguments: !path list, unpack_arguments: true", ((1, 2), {})),
        ("arguments: !path tuple, unpack_arguments: true", ((3,), {})),
        ("arguments: !path dict, unpack_arguments: true", ((), {"b": 4})),
        ("arguments: !path dict", (({"b": 4},), {})),
        ("arguments: [!path dict.b, 5], unpack_arguments: true", ((4, 5), {})),
    ],
)
def test_call_dependency_calls_the_resource(
    run: Run, stock: Stock, options: str, expected: Any
) -> None:
    baton = {"list": [1, 2], "tuple": (3,), "dict": {"b": 4}}
    text = f"call-dependency: {{dependency: stock, output_path: '', {options}}}"

    assert run(text, baton, stock=stock) == expected


@pytest.mark.parametrize("method", ["add", "!path how"])
def test_call_dependency_calls_a_method(run: Run, stock: Stock, method: str) -> None:
    text = f"call-dependency: {{dependency: stock, method: {method}, arguments: !path item}}"
    baton = {"item": "apple", "how": "add"}

    result = run(text, baton, stock=stock)

    assert result is baton
    assert baton == {"item": "apple", "how": "add"}
    assert stock.items == ["apple"]


def test_call_dependency_awaits_the_result(run: Run, stock: Stock) -> None:
    text = "call-dependency: {dependency: {provider: stock}, method: count, output_path: count}"

    assert run(text, {}, stock=stock) == {"count": 0}


def test_call_dependency_waits_until_the_resource_is_ready(make: Make, stock: Stock) -> None:
    made = make("call-dependency: {dependency: stock, method: count, output_path: ''}")

    async def call() -> Any:
        task = asyncio.create_task(made.step()({}))
        await asyncio.sleep(0)
        assert not task.done()
        made.dependency.resource.ready(stock)
        return await task

    assert asyncio.run(call()) == 0


def test_call_dependency_can_be_cancelled_while_it_waits(make: Make) -> None:
    made = make("call-dependency: {dependency: stock}")

    async def call() -> None:
        task = asyncio.create_task(made.step()({}))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(call())


def test_call_dependency_uses_the_resource_of_the_moment(make: Make) -> None:
    made = make("call-dependency: {dependency: stock, method: add, arguments: 1}", stock=Stock())
    run_in(made, {})
    later = Stock()

    made.dependency.resource.lost("restarted")
    made.dependency.resource.ready(later)
    run_in(made, {})

    assert later.items == [1]


@pytest.mark.parametrize(
    ("options", "baton", "message"),
    [
        ("method: ad", {}, "'stock' has no method 'ad'"),
        ("method: size", {}, "'stock' has no method 'size'"),
        ("method: !path m", {}, "nothing at 'm' for 'method'"),
        ("method: !path m", {"m": 5}, "expected the name of a method at 'm', got int"),
        ("method: !path m", {"m": "_private"}, "'stock' has no method '_private'"),
        ("method: !path m", {"m": "__init__"}, "'stock' has no method '__init__'"),
        ("arguments: !path a.b", {"a": {}}, "nothing at 'a.b' for 'arguments'"),
        ("arguments: [!path a]", {}, "nothing at 'a' for 'arguments[0]'"),
        (
            "arguments: !path a, unpack_arguments: true",
            {"a": "text"},
            "expected a list or a dict to unpack, got str",
        ),
    ],
)
def test_call_dependency_tells_what_cannot_be_called(
    run: Run, stock: Stock, options: str, baton: Any, message: str
) -> None:
    with pytest.raises(BatonError) as raised:
        run(f"call-dependency: {{dependency: stock, {options}}}", baton, stock=stock)

    assert str(raised.value) == message


def test_call_dependency_lets_errors_through(run: Run, stock: Stock) -> None:
    with pytest.raises(LookupError, match=r"^nothing left$"):
        run("call-dependency: {dependency: stock, method: fail}", {}, stock=stock)


@pytest.mark.parametrize(("arguments", "got"), [("", "nothing"), ("arguments: 5,", "5")])
def test_call_dependency_checks_what_it_unpacks(
    problems: Problems, arguments: str, got: str
) -> None:
    text = f"call-dependency: {{dependency: stock, {arguments} unpack_arguments: true}}"

    assert problems(text) == [f"expected a list or a mapping to unpack, got {got}"]
