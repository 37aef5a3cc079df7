"""How components declare themselves, and what processors are to the engine."""

from __future__ import annotations

import asyncio
import copy
import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import field
from typing import Annotated, Any

import pytest

from piped.batons import Baton, BatonPath
from piped.engine.keys import FLOW
from piped.errors import UndeclaredAwait
from piped.spec import (
    STEP_KEYS,
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


def test_a_processor_calls_no_pipeline_for_certain_and_is_told_its_home() -> None:
    made = Base()

    assert (made.certain_calls, made.home) == ((), "")
    assert "home" not in spec_of(Base).parameters  # type: ignore[union-attr] # it has one


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


def test_the_step_of_a_simple_processor_is_its_process() -> None:
    made = Base(word="x")

    assert (send(made, "y"), list(made.check())) == ("x y", [])


def test_an_author_may_override_the_step_alone() -> None:
    @processor("compiled")
    class Compiled(Processor):
        def step(self) -> Callable[[Baton], Any]:
            return lambda baton: baton + 1

    made = Compiled()

    assert (send(made, 4), made.process(4), made.is_async) == (5, 5, False)


def test_an_author_may_override_the_call_alone() -> None:
    @processor("compiled")
    class Compiled(InputOutputProcessor):
        def call(self) -> Callable[[Any, Baton], Any]:
            return lambda value, _baton: value + 1

    made = Compiled(input_path=BatonPath("a"))

    assert (send(made, {"a": 4}), made.process({"a": 4})) == ({"a": 5}, {"a": 5})
    assert (made.process_input(4, {}), made.is_async) == (5, False)


def test_an_input_output_processor_may_treat_the_baton_as_a_whole() -> None:
    @processor("whole")
    class Whole(InputOutputProcessor):
        def process(self, baton: Baton) -> Baton:
            return {"whole": baton}

    assert send(Whole(), 4) == {"whole": 4}


def test_a_whole_baton_may_be_treated_around_the_way_from_path_to_path() -> None:
    @processor("around")
    class Around(Twice):
        def process(self, baton: Baton) -> Baton:
            return {**super().process(baton), "around": True}

    @processor("slow-around")
    class SlowAround(SlowTwice):
        async def process(self, baton: Baton) -> Baton:
            return {**await super().process(baton), "around": True}

    expected = {"a": 8, "around": True}
    assert send(Around(input_path=BatonPath("a")), {"a": 4}) == expected
    assert send(SlowAround(input_path=BatonPath("a")), {"a": 4}) == expected


def test_a_fallback_is_new_for_each_baton() -> None:
    @processor("append")
    class Append(InputOutputProcessor):
        def process_input(self, value: Any, baton: Baton) -> Any:
            value.append(1)
            return value

    append = Append(input_path=BatonPath("a"), skip_if_nonexistent=False, input_fallback=[])
    step = append.step()

    assert (step({}), step({}), append.input_fallback) == ({"a": [1]}, {"a": [1]}, [])


def test_annotations_of_a_base_that_is_not_marked_are_parameters_too() -> None:
    class Common(Processor):
        """Have what several have."""

        level: Annotated[int, Meta(description="How much.")] = 1
        names: list[str] = field(default_factory=list)
        _seen: int = field(default=7, init=False)

        def process(self, baton: Baton) -> Baton:
            return baton, self.level, self.names, self._seen

    class Between(Common):
        """Have nothing of its own."""

    @processor("own")
    class Own(Between):
        size: int = 2

    @processor("other")
    class Other(Between):
        level: int = 5

    spec = spec_of(Own)
    assert spec is not None
    assert list(spec.parameters) == ["node_name", "level", "names", "size"]
    assert spec.parameters["level"].description == "How much."
    own: Any = Own  # mypy knows no fields of a base that is not marked
    assert own(level=3, names=["a"]).process(0) == (0, 3, ["a"], 7)
    assert Other().process(0) == (0, 5, [], 7)


def test_annotations_of_the_base_of_a_part_are_parameters_too() -> None:
    class Common:
        level: int = 1

    @part
    class Piece(Common):
        size: int = 2

    assert list(spec_of(Piece).parameters) == ["level", "size"]  # type: ignore[union-attr] # it has one


def test_an_abstract_processor_needs_no_verb() -> None:
    @processor("abstract")
    class Abstract(Processor, ABC):
        @abstractmethod
        def say(self) -> str: ...

    assert spec_of(Abstract) is not None


def idle(base: type) -> type:
    return type("Idle", (base,), {})


def taken(base: type, key: str) -> type:
    return type("Taken", (base,), {"__annotations__": {key: int}, key: 1, "process": Base.process})


REFUSED: dict[str, tuple[Callable[[type], type], type]] = {
    "a processor derives from Processor, and 'int' does not": (processor("x"), int),
    "a provider derives from Provider, and 'Base' does not": (provider("x"), Base),
    "'Idle' has no process()": (processor("x"), idle(Processor)),
    "'Idle' has no process_input()": (processor("x"), idle(InputOutputProcessor)),
    "'Idle' has no choose()": (processor("x"), idle(DecidingProcessor)),
    "'Taken' cannot have the parameter 'home': the base has one": (
        processor("x"),
        taken(Processor, "home"),
    ),
    "'Taken' cannot have the parameter 'label': the base has one": (
        provider("x"),
        taken(Provider, "label"),
    ),
    "'Taken' cannot have the parameter 'needed': the base has one": (
        part,
        taken(Provider, "needed"),
    ),
    **{
        f"'Taken' cannot have the parameter '{key}': every step has one": (
            processor("x"),
            taken(Processor, key),
        )
        for key in sorted(STEP_KEYS)
    },
}


@pytest.mark.parametrize("text", REFUSED)
def test_a_class_that_cannot_be_what_it_is_marked_as_is_refused(text: str) -> None:
    mark, component = REFUSED[text]

    with pytest.raises(TypeError, match=f"^{re.escape(text)}$"):
        mark(component)


def test_the_keys_that_no_parameter_can_have_are_those_of_a_step() -> None:
    assert {*FLOW, "id", "existing"} == STEP_KEYS
