from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from typing import Any

import pytest

from piped.errors import BatonError, QueueFull, Unavailable
from tests.processors.conftest import Make, Problems, Run

HERE = __name__

collected: deque[Any] = deque()
not_a_list = b"text"


@pytest.fixture(autouse=True)
def _nothing_is_collected_yet() -> Iterator[None]:
    collected.clear()
    yield
    collected.clear()


def test_collect_batons_appends_the_batons_themselves(make: Make) -> None:
    seen: list[Any] = []
    step = make("collect-batons: {context: seen}", **{"context.seen": seen}).step()
    batons = [{"n": 1}, "text", None]

    results = [step(baton) for baton in batons]

    assert all(a is b is c for a, b, c in zip(batons, results, seen, strict=True))


def test_collect_batons_finds_a_list_in_a_module(run: Run) -> None:
    run(f"collect-batons: {{list: {HERE}.collected}}", 5)

    assert list(collected) == [5]


def test_collect_batons_describes(run: Run) -> None:
    text = """
        collect-batons:
          context: seen
          namespace: {join: os.path.join}
          describer: "baton: join('a', baton['name'])"
    """
    seen: list[Any] = []

    baton = run(text, {"name": "b"}, **{"context.seen": seen})

    assert baton == {"name": "b"}
    assert seen == ["a/b"]


def test_collect_batons_copies(run: Run) -> None:
    seen: list[Any] = []
    baton = {"a": {"n": 1}}

    run("collect-batons: {context: seen, deepcopy: true}", baton, **{"context.seen": seen})
    baton["a"]["n"] = 2

    assert seen == [{"a": {"n": 1}}]


def test_collect_batons_describes_the_copy(run: Run) -> None:
    seen: list[Any] = []
    baton = {"a": [1]}
    text = "collect-batons: {context: seen, deepcopy: true, describer: \"b: b['a']\"}"

    run(text, baton, **{"context.seen": seen})
    baton["a"].append(2)

    assert seen == [[1]]


def test_collect_batons_writes_down_what_is_volatile(run: Run) -> None:
    lock, seen = threading.Lock(), list[Any]()
    volatile = ["lock", "n", "a.text", "a.b", "a.b.c", "missing"]
    a = {"text": "x", "b": {"c": lock}}
    baton = {"lock": lock, "n": 1, "other": 1, "a": a, "_volatile": volatile}

    run("collect-batons: {context: seen, deepcopy: true}", baton, **{"context.seen": seen})

    written = repr(lock)
    assert seen == [
        {
            "lock": written,
            "n": "1",
            "other": 1,
            "a": {"text": "'x'", "b": f"{{'c': {written}}}"},
            "_volatile": volatile,
        }
    ]
    assert baton["lock"] is lock


def test_collect_batons_copies_a_baton_that_contains_itself(run: Run) -> None:
    seen: list[Any] = []
    baton: dict[str, Any] = {"n": 1}
    baton["me"] = baton

    run("collect-batons: {context: seen, deepcopy: true}", baton, **{"context.seen": seen})

    [copied] = seen
    assert copied is not baton
    assert copied["me"] is copied


def test_collect_batons_tells_what_cannot_be_copied(run: Run) -> None:
    text = "collect-batons: {context: seen, deepcopy: true}"

    with pytest.raises(BatonError) as raised:
        run(text, {"lock": threading.Lock()}, **{"context.seen": []})

    assert str(raised.value) == (
        "cannot copy the baton: cannot pickle '_thread.lock' object;"
        " name what cannot be copied in '_volatile'"
    )


@pytest.mark.parametrize(("value", "kind"), [("a", "str"), ({}, "dict"), ([1], "list")])
def test_collect_batons_needs_a_list_of_volatile_paths(run: Run, value: Any, kind: str) -> None:
    text = "collect-batons: {context: seen, deepcopy: true}"

    with pytest.raises(BatonError) as raised:
        run(text, {"_volatile": value}, **{"context.seen": []})

    assert str(raised.value) == f"expected a list of paths at '_volatile', got {kind}"


def test_collect_batons_does_not_grow_for_ever(make: Make) -> None:
    seen: list[Any] = []
    text = "collect-batons: {context: seen, max_batons: 2}"
    step = make(text, **{"context.seen": seen}).step()
    step(1)
    step(2)

    with pytest.raises(QueueFull) as raised:
        step(3)

    assert str(raised.value) == "2 batons are collected already"
    assert seen == [1, 2]
    seen.clear()
    assert step(4) == 4


def test_collect_batons_needs_a_context_that_is_a_list(run: Run) -> None:
    with pytest.raises(BatonError) as raised:
        run("collect-batons: {context: seen}", 1, **{"context.seen": {}})

    assert str(raised.value) == "expected a list in 'context.seen', got dict"


def test_collect_batons_needs_its_context(run: Run) -> None:
    with pytest.raises(Unavailable) as raised:
        run("collect-batons: {context: seen}", 1)

    assert str(raised.value) == "'context.seen' is not available: not started yet"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("", "expected exactly one of 'context' and 'list', got neither"),
        ("context: a, list: b.c", "expected exactly one of 'context' and 'list', got both"),
        (f"list: {HERE}.nothing", f"'{HERE}' has no 'nothing'"),
        (f"list: {HERE}.not_a_list", f"expected a list in '{HERE}.not_a_list', got bytes"),
        ("context: a, max_batons: 0", "expected int >= 1, got 0"),
        (
            "context: a, describer: 'b: show(b)'",
            "nobody defines 'show' (add it to the namespace, as in namespace:"
            " {show: package.show})",
        ),
    ],
)
def test_collect_batons_is_checked(problems: Problems, options: str, message: str) -> None:
    assert problems(f"collect-batons: {{{options}}}") == [message]
