"""How components declare themselves, and what processors are to the engine."""

from __future__ import annotations

import asyncio
import copy
import re
from collections.abc import Callable
from dataclasses import field
from typing import Annotated, Any

import pytest

from piped.batons import Baton, BatonPath
from piped.errors import UndeclaredAwait
from piped.spec import (
    DecidingProcessor,
    InputOutputProcessor,
    Meta,
    Processor,
    Provider,
    part,
    processor,
    provider,
    spec_of,
    undeclared,
)


@processor("base", deprecated="use other")
class Base(Processor):
    """Say something in one line.

    And then more.
    """

    word: Annotated[str, Meta(description="What to say.")] = "base"
    from_: int = 5
    _seen: list[str] = field(default_factory=list, init=False)

    def process(self, baton: Baton) -> Baton:
        return f"{self.word} {baton}"

    @property
    def label(self) -> str:
        return f"<{self.word}>"

    @classmethod
    def kind(cls) -> str:
        return cls.__name__


@processor("heir")
class Heir(Base):
    """Use zero-argument super() everywhere."""

    def process(self, baton: Baton) -> Baton:
        return f"heir of {super().process(baton)}"

    @property
    def label(self) -> str:
        return f"heir of {super().label}"

    @classmethod
    def kind(cls) -> str:
        return f"kind of {super().kind()}"


def test_zero_argument_super_works_in_a_marked_class() -> None:
    heir = Heir(word="x")

    assert (heir.process("y"), heir.label, Heir.kind()) == (
        "heir of x y",
        "heir of <x>",
        "kind of Heir",
    )


def test_a_class_that_is_marked_inside_a_function_may_name_itself_and_what_comes_later() -> None:
    @processor("local")
    class Local(Base):
        def process(self, baton: Baton) -> Baton:
            return later(isinstance(self, Local), super().process(baton))

    def later(*found: Any) -> Any:
        return found

    assert Local(word="x").process("y") == (True, "x y")


def test_a_marked_class_is_slotted_keyword_only_and_compared_by_identity() -> None:
    one, other = Base(), Base()

    assert not hasattr(one, "__dict__")
    assert one != other
    assert len({one, other}) == 2
    with pytest.raises(TypeError):
        Base("x")  # type: ignore[call-arg] # that is the mistake


def test_a_spec_tells_the_parameters_as_they_are_in_yaml() -> None:
    spec = spec_of(Base)
    assert spec is not None

    assert (spec.kind, spec.name, spec.deprecated) == ("processor", "base", "use other")
    assert spec.summary == "Say something in one line."
    assert list(spec.parameters) == ["node_name", "word", "from"]
    assert spec.parameters["word"].description == "What to say."
    assert (spec.parameters["from"].field, spec.parameters["from"].default) == ("from_", 5)


def test_a_spec_is_of_the_very_class_not_of_its_bases() -> None:
    class Unmarked(Base):
        pass

    assert spec_of(Unmarked) is None
    assert spec_of(Heir()) is spec_of(Heir)


def test_providers_and_parts_have_specs_too() -> None:
    @provider("here", entries="them")
    class Here(Provider):
        them: dict[str, int] = field(default_factory=dict)

    @part
    class Piece:
        size: int = 1

    specs = [spec_of(Here), spec_of(Piece)]

    assert [(s.kind, s.name, s.entries) for s in specs if s] == [
        ("provider", "here", "them"),
        ("part", "piece", None),
    ]


def test_a_provider_is_its_own_unit_and_offers_nothing_by_itself() -> None:
    made = Provider()

    assert (list(made.units()), list(made.offers()), made.feeds(), list(made.check())) == (
        [made],
        [],
        False,
        [],
    )
    with pytest.raises(NotImplementedError, match=r"^Provider has no running\(\)$"):
        made.running()


def test_bases_without_a_verb_say_so() -> None:
    with pytest.raises(NotImplementedError, match=r"^Processor has no process\(\)$"):
        Processor().process({})
    with pytest.raises(NotImplementedError, match=r"^DecidingProcessor has no choose\(\)$"):
        DecidingProcessor().choose({}, 1)
    with pytest.raises(
        NotImplementedError, match=r"^InputOutputProcessor has no process_input\(\)$"
    ):
        InputOutputProcessor().process({})


def test_what_only_decides_gives_the_baton_on() -> None:
    assert DecidingProcessor().process({"a": 1}) == {"a": 1}


@processor("twice")
class Twice(InputOutputProcessor):
    """Double a value."""

    def process_input(self, value: Any, baton: Baton) -> Any:
        return value * 2 if value is not None else "nothing"


@processor("twice")
class SlowTwice(InputOutputProcessor):
    """Double a value, and wait."""

    async def process_input(self, value: Any, baton: Baton) -> Any:
        await asyncio.sleep(0)
        return value * 2 if value is not None else "nothing"


def send(made: Processor, baton: Baton) -> Baton:
    """Send a baton through the step of a processor."""
    step: Callable[[Baton], Any] = made.step()
    if not made.is_async:
        return step(baton)

    async def wait() -> Baton:
        return await step(baton)

    return asyncio.run(wait())


@pytest.mark.parametrize("kind", [Twice, SlowTwice])
@pytest.mark.parametrize(
    ("options", "baton", "expected"),
    [
        ({}, 4, 8),
        ({"input_path": BatonPath("a")}, {"a": 4}, {"a": 8}),
        ({"input_path": BatonPath("a.b")}, {"a": {"b": 4}}, {"a": {"b": 8}}),
        ({"input_path": BatonPath("a"), "output_path": BatonPath("b")}, {"a": 4}, {"a": 4, "b": 8}),
        ({"input_path": BatonPath("a"), "output_path": BatonPath("")}, {"a": 4}, 8),
        ({"input_path": BatonPath("a"), "output_path": None}, {"a": 4}, {"a": 4}),
        ({"input_path": BatonPath("a")}, {}, {}),
        ({"input_path": BatonPath("a"), "skip_if_nonexistent": False}, {}, {"a": "nothing"}),
        (
            {"input_path": BatonPath("a"), "skip_if_nonexistent": False, "input_fallback": 3},
            {},
            {"a": 6},
        ),
    ],
)
def test_an_input_is_taken_from_its_path_and_the_output_put_at_another(
    kind: type[Any], options: dict[str, Any], baton: Baton, expected: Baton
) -> None:
    assert send(kind(**options), copy.deepcopy(baton)) == expected


def test_an_awaitable_output_that_nobody_declared_is_an_error() -> None:
    @processor("promise")
    class Promise(InputOutputProcessor):
        def process_input(self, value: Any, baton: Baton) -> Any:
            return asyncio.sleep(0)

    text = (
        "a step that is not async returned an awaitable (coroutine):"
        " declare it by 'await: true' or 'async def'"
    )
    with pytest.raises(UndeclaredAwait, match=f"^{re.escape(text)}$"):
        send(Promise(), {})


def test_a_future_that_nobody_declared_is_an_error_too() -> None:
    loop = asyncio.new_event_loop()

    text = str(undeclared(loop.create_future()))
    loop.close()

    assert text.startswith("a step that is not async returned an awaitable (Future):")


def test_a_processor_is_async_if_its_verb_is() -> None:
    @processor("slow")
    class Slow(Processor):
        async def process(self, baton: Baton) -> Baton:
            return baton

    assert [made.is_async for made in (Base(), Slow(), Twice(), SlowTwice())] == [
        False,
        True,
        False,
        True,
    ]
