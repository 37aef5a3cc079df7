"""From mappings to components: every parameter by itself, all problems at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import field
from typing import Annotated, Any

import pytest

from piped.batons import Baton, BatonPath
from piped.document import parse
from piped.document.nodes import Node
from piped.errors import Level, Place, Problem
from piped.spec import (
    INVALID,
    Decoder,
    Duration,
    Meta,
    Processor,
    Provider,
    part,
    processor,
    provider,
    spec_of,
)

Made = Callable[[type, str], Any]


@processor("mask")
class Mask(Processor):
    """Have some parameters."""

    keep: Annotated[int, Meta(ge=0, description="How many.")]
    mark: Annotated[str, Meta(max_length=1)] = "*"
    lambda_: BatonPath | None = None
    _private: int = field(default=5, init=False)

    def check(self) -> Iterator[Problem]:
        if self.mark == "!":
            yield Problem("odd", "an odd mark", level=Level.HINT)
        if self.keep == 13:
            yield Problem("unlucky", "an unlucky number", hint="take 12")

    def process(self, baton: Baton) -> Baton:
        return baton


@part
class Leaf:
    """A mapping inside a section."""

    size: int
    wait: Duration = Duration(1.0)


@provider("tree")
class Tree(Provider):
    """A section with parts."""

    leaf: Leaf | None = None
    leaves: list[Leaf] = field(default_factory=list)
    named: dict[str, Leaf] = field(default_factory=dict)
    either: int | Leaf | list[Leaf] | None = None


@provider("entries", entries="them")
class Entries(Provider):
    """A section whose keys are the user's own."""

    them: dict[str, Leaf]

    def check(self) -> Iterator[Problem]:
        if len({each.size for each in self.them.values()}) < len(self.them):
            yield Problem("same-size", "the same size", at="b.size")


@provider("poem")
class Poem(Provider):
    """A section with a text."""

    text: str

    def check(self) -> Iterator[Problem]:
        last = self.text.strip().count("\n") + 1
        yield Problem("no-rhyme", "it does not rhyme", Place("", last, 2), at="text")


class Odd:
    """Reads itself."""

    def __init__(self, keys: list[str]) -> None:
        self.keys = keys

    @classmethod
    def __read__(cls, node: Node, decoder: Decoder, at: str) -> Odd:
        return cls([f"{at}.{key}" for key in getattr(node, "entries", {})])


@provider("odd")
class HasOdd(Provider):
    """A section with a part that reads itself."""

    tree: Odd


def told(component: type, text: str) -> list[str]:
    """Return what is wrong with the YAML parameters of a component."""
    spec = spec_of(component)
    assert spec is not None
    decoder = Decoder()
    made = decoder.section(spec, parse(text, "t.yaml")[0], spec.name)
    assert (made is INVALID) is any(each.level is Level.ERROR for each in decoder.problems)
    return [str(each) for each in decoder.problems]


def test_parameters_become_fields_and_defaults_fill_the_rest(made: Made) -> None:
    mask = made(Mask, "{keep: 4, lambda: a.b}")

    assert (mask.keep, mask.mark, mask.lambda_, mask._private) == (4, "*", "a.b", 5)


def test_all_problems_are_told_at_once_each_with_its_place() -> None:
    assert told(Mask, "{mrak: x, mark: long, lambda: 5}") == [
        "t.yaml:1:2: error[unknown-parameter]: mask has no parameter 'mrak'\n"
        "    at: mask.mrak\n"
        "    hint: did you mean 'mark'? known: keep, lambda, mark, node_name",
        "t.yaml:1:17: error[wrong-value]: expected str of length <= 1, got 'long'\n"
        "    at: mask.mark",
        "t.yaml:1:31: error[wrong-value]: expected a path into the baton, such as request.args,"
        " got 5\n"
        "    at: mask.lambda",
        "t.yaml:1:1: error[missing-parameter]: mask needs the parameter 'keep'\n"
        "    at: mask\n"
        "    hint: add keep: int",
    ]


def test_private_fields_never_come_from_a_document() -> None:
    assert told(Mask, "{keep: 1, _private: 2}") == [
        "t.yaml:1:11: error[unknown-parameter]: mask has no parameter '_private'\n"
        "    at: mask._private\n"
        "    hint: known: keep, lambda, mark, node_name"
    ]


@pytest.mark.parametrize("text", ["5", "[1]", "text"])
def test_parameters_must_be_a_mapping(text: str) -> None:
    shown = parse(text)[0]

    [found] = told(Mask, text)

    assert found.startswith("t.yaml:1:1: error[wrong-value]: expected the parameters of mask, got")
    assert shown is not None


def test_what_stands_where_a_list_or_a_mapping_of_parts_belongs_is_told_what_they_take() -> None:
    assert told(Tree, "{leaf: 5, leaves: {size: 1}, named: [1]}") == [
        "t.yaml:1:8: error[wrong-value]: expected the parameters of leaf, got 5\n"
        "    at: tree.leaf\n"
        "    hint: each leaf takes: size, wait",
        "t.yaml:1:19: error[wrong-value]: expected list of mapping, got {'size': 1}\n"
        "    at: tree.leaves\n"
        "    hint: each leaf takes: size, wait",
        "t.yaml:1:37: error[wrong-value]: expected mapping of names to mapping, got [1]\n"
        "    at: tree.named\n"
        "    hint: each leaf takes: size, wait",
    ]


def test_what_is_wrong_in_a_mapping_is_told_where_only_one_choice_takes_mappings() -> None:
    assert told(Tree, "{either: {size: 1, wiat: 2s}}") == [
        "t.yaml:1:20: error[unknown-parameter]: leaf has no parameter 'wiat'\n"
        "    at: tree.either.wiat\n"
        "    hint: did you mean 'wait'? known: size, wait"
    ]
    assert told(Tree, "{either: x}") == [
        "t.yaml:1:10: error[wrong-value]:"
        " expected int, mapping, list of mapping or null, got 'x'\n"
        "    at: tree.either"
    ]


def test_a_place_inside_a_text_is_exact_where_the_lines_of_the_text_are_those_of_the_file() -> None:
    texts = ["{text: abc}", "{text: '2bc'}", '{text: "2\\nb"}', "text: |\n  2\n  b\n"]

    found = [told(Poem, text)[0].partition(": ")[0] for text in texts]

    assert found == ["t.yaml:1:8", "t.yaml:1:10", "t.yaml:1:8", "t.yaml:3:4"]


def test_what_is_wrong_between_entries_is_told_at_the_entry() -> None:
    assert told(Entries, "{a: {size: 1}, b: {size: 1}}") == [
        "t.yaml:1:26: error[same-size]: the same size\n    at: entries.b.size"
    ]


def test_null_counts_as_an_empty_mapping(made: Made) -> None:
    assert made(Tree, "null").leaves == []


def test_what_a_component_checks_gets_its_place_and_hints_do_not_hinder() -> None:
    assert told(Mask, "{keep: 13, mark: '!'}") == [
        "t.yaml:1:1: hint[odd]: an odd mark\n    at: mask",
        "t.yaml:1:1: error[unlucky]: an unlucky number\n    at: mask\n    hint: take 12",
    ]
    assert told(Mask, "{keep: 1, mark: '!'}") == [
        "t.yaml:1:1: hint[odd]: an odd mark\n    at: mask"
    ]


def test_parts_may_stand_alone_in_lists_and_under_names(made: Made) -> None:
    tree = made(Tree, "{leaf: {size: 1}, leaves: [{size: 2, wait: 2s}], named: {a: {size: 3}}}")

    assert (tree.leaf.size, tree.leaves[0].wait, tree.named["a"].size) == (1, 2.0, 3)


def test_problems_in_parts_are_all_told_with_their_paths() -> None:
    assert told(Tree, "{leaf: {size: x}, leaves: [{}, 5], named: {a: {szie: 3}}}") == [
        "t.yaml:1:15: error[wrong-value]: expected int, got 'x'\n    at: tree.leaf.size",
        "t.yaml:1:28: error[missing-parameter]: leaf needs the parameter 'size'\n"
        "    at: tree.leaves[0]\n"
        "    hint: add size: int",
        "t.yaml:1:32: error[wrong-value]: expected the parameters of leaf, got 5\n"
        "    at: tree.leaves[1]\n"
        "    hint: each leaf takes: size, wait",
        "t.yaml:1:48: error[unknown-parameter]: leaf has no parameter 'szie'\n"
        "    at: tree.named.a.szie\n"
        "    hint: did you mean 'size'? known: size, wait",
        "t.yaml:1:47: error[missing-parameter]: leaf needs the parameter 'size'\n"
        "    at: tree.named.a\n"
        "    hint: add size: int",
    ]


def test_a_section_of_entries_takes_the_whole_mapping() -> None:
    spec = spec_of(Entries)
    assert spec is not None

    made = Decoder().section(spec, parse("{a: {size: 1}, b: {size: 2}}")[0], "entries")

    assert {name: leaf.size for name, leaf in made.them.items()} == {"a": 1, "b": 2}


def test_a_section_of_entries_may_be_empty_and_tells_problems_by_name() -> None:
    assert told(Entries, "null") == []
    assert told(Entries, "{a: {size: x}}") == [
        "t.yaml:1:12: error[wrong-value]: expected int, got 'x'\n    at: entries.a.size"
    ]


def test_a_class_may_read_itself(made: Made) -> None:
    assert made(HasOdd, "{tree: {a: 1, b: 2}}").tree.keys == ["odd.tree.a", "odd.tree.b"]


def test_repeated_parameters_of_a_base_are_known(made: Made) -> None:
    assert made(Mask, "{keep: 1, node_name: label}").node_name == "label"
    assert made(Tree, "{essential: true}").essential is True


@part
class Scatter:
    """Have something below which problems are."""

    code: int = 200
    parts: list[Any] = field(default_factory=list)
    headers: dict[str, Any] = field(default_factory=dict)

    def check(self) -> Iterator[Problem]:
        for at in ("code", "parts[1].to.x", "headers.a.b", "headers.a", "nothing.here", ""):
            yield Problem("odd", "odd", at=at)


def test_a_problem_that_a_component_finds_may_name_what_it_is_about() -> None:
    text = "{code: 5, parts: [1, {to: 7}], headers: {a.b: 8, a: 9}}"

    assert [each.replace("error[odd]: odd\n    at: ", "") for each in told(Scatter, text)] == [
        "t.yaml:1:8: scatter.code",
        "t.yaml:1:27: scatter.parts[1].to.x",
        "t.yaml:1:47: scatter.headers.a.b",
        "t.yaml:1:53: scatter.headers.a",
        "t.yaml:1:1: scatter.nothing.here",
        "t.yaml:1:1: scatter",
    ]


@part
class BreaksWhenMade:
    def __post_init__(self) -> None:
        raise ValueError("no")


@part
class BreaksWhenChecked:
    def check(self) -> Iterator[Problem]:
        raise SystemExit(3)


@part
class ChecksNothing:
    def check(self) -> None:
        pass


@part
class YieldsText:
    def check(self) -> Iterator[str]:
        yield "text"


@part
class NeedsAName:
    size: Sise = 1  # type: ignore[name-defined] # noqa: F821 - that is the mistake


@provider("broken-entries", entries="them")
class BrokenEntries(Provider):
    them: Sise  # type: ignore[name-defined] # noqa: F821 - that is the mistake


BROKEN = {
    BreaksWhenMade: "ValueError: no (",
    BreaksWhenChecked: "SystemExit: 3 (",
    ChecksNothing: "TypeError: check() gives NoneType, expected problems\n",
    YieldsText: "TypeError: check() yields str, expected Problem\n",
    NeedsAName: "NameError: name 'Sise' is not defined\n",
    BrokenEntries: "NameError: name 'Sise' is not defined\n",
}


@pytest.mark.parametrize("component", BROKEN)
def test_a_component_whose_own_code_breaks_is_told(component: type) -> None:
    [problem] = told(component, "{}")

    what = f"tests.spec.test_decode.{component.__name__} is broken: {BROKEN[component]}"
    assert problem.startswith(f"t.yaml:1:1: error[broken-component]: {what}")


def test_an_example_of_what_is_missing_is_given_where_there_is_one() -> None:
    @part
    class Waits:
        delay: Duration
        count: int

    assert [each.splitlines()[-1] for each in told(Waits, "{}")] == [
        "    hint: add delay: 2s",
        "    hint: add count: int",
    ]
