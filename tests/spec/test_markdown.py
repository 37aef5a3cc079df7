from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from piped.batons import MISSING, Baton, BatonPath
from piped.spec import (
    Dependency,
    Duration,
    ErrorTypes,
    Input,
    InputOutputProcessor,
    Lambda,
    Meta,
    Processor,
    Provider,
    Size,
    Spec,
    part,
    processor,
    provider,
    spec_of,
)
from piped.spec.described import parts_of, prose_of
from piped.spec.markdown import component, general, in_cells, links, listed, table


@processor("shout")
class Shout(InputOutputProcessor):
    """Make a text ``loud``.

    Takes ``str``, gives
    ``str``.

    The rest stays.

    Example:
        shout: {marks: 2}
        in:  hello
        out: HELLO!!

    Raises:
        BatonError: The input is no
            ``str``.
        LookupError: Never.
    """

    marks: Annotated[int, Meta(ge=0, le=9, description="How many marks follow.")] = 1
    sign: Annotated[Literal["!", "?"], Meta(description="The mark.")]

    def process_input(self, value: Any, baton: Baton) -> Any:
        return value


@processor("whisper", deprecated="use shout")
class Whisper(Shout):
    """Make a text quiet."""

    least: Annotated[int, Meta(ge=1, description="How much is left.")] = 1


@part
class Option:
    """An option."""

    key: Annotated[str, Meta(description="Its name.")]


@part
class Box:
    """A box."""

    options: Annotated[list[Option], Meta(description="Its options.")] = field(default_factory=list)


@provider("boxes", entries="boxes")
class Boxes(Provider):
    """Hold boxes."""

    boxes: Annotated[dict[str, Box], Meta(description="The boxes.")] = field(default_factory=dict)


def spec(marked: type) -> Spec:
    found = spec_of(marked)
    assert found is not None
    return found


def rows_of(marked: type) -> list[str]:
    return table(spec(marked).parameters.values()).splitlines()[2:]


def test_a_docstring_is_taken_apart() -> None:
    prose = prose_of(Shout)

    assert prose.summary == "Make a text `loud`."
    assert prose.paragraphs == ("Takes `str`, gives `str`.", "The rest stays.")
    assert prose.example == "shout: {marks: 2}\nin:  hello\nout: HELLO!!"
    assert prose.raises == (("BatonError", "The input is no `str`."), ("LookupError", "Never."))


def test_a_section_has_prose_example_parameters_and_failures() -> None:
    assert (
        component(spec(Shout))
        == """\
## shout

Make a text `loud`.

Takes `str`, gives `str`.

The rest stays.

```yaml fragment
shout: {marks: 2}
in:  hello
out: HELLO!!
```

| parameter | type | default | meaning |
|---|---|---|---|
| `sign` | '!' or '?' | *required* | The mark. |
| `marks` | int, 0 to 9 | `1` | How many marks follow. |

As every input output processor it takes `input_path`, `output_path`, `skip_if_nonexistent` and \
`input_fallback` too. As every processor it takes `node_name` too.

Raises:

* `BatonError`: The input is no `str`.
* `LookupError`: Never."""
    )


def test_on_a_page_types_are_in_brackets_and_general_parameters_left_out() -> None:
    @processor("pause")
    class Pause(InputOutputProcessor):
        """Pause."""

        times: Annotated[list[Duration] | None, Meta(description="How long.")] = None
        path: Annotated[Literal["path", "code"], Meta(description="Which.")] = "path"
        value: Annotated[Input[str], Meta(description="What.")]

        def process_input(self, value: Any, baton: Baton) -> Any:
            return value

    section = component(spec(Pause), on_page=True)

    assert section.splitlines()[6:] == [
        "| `value` | str (or !path) | *required* | What. |",
        "| `times` | list of [duration] or null | `null` | How long. |",
        "| `path` | 'path' or 'code' | `path` | Which. |",
    ]


def test_parameters_of_another_component_are_told_again() -> None:
    section = component(spec(Whisper))

    assert "**Deprecated:** use shout." in section
    assert "| `marks` | int, 0 to 9 | `1` | How many marks follow. |" in section
    assert "| `least` | int, 1 or more | `1` | How much is left. |" in section


def test_an_example_with_bytes_is_no_fragment_of_a_document() -> None:
    @part
    class Bytes:
        """Have bytes.

        Example:
            in: !!binary QWRh
        """

    assert component(spec(Bytes)).endswith("```yaml other\nin: !!binary QWRh\n```")


def test_a_list_stays_a_list() -> None:
    @part
    class Formats:
        """Know formats.

        These are known:

        * ``csv``: with
          commas.
        * ``yaml``.

        More may come.
        """

    assert component(spec(Formats)) == (
        "## formats\n\nKnow formats.\n\nThese are known:\n\n* `csv`: with commas.\n* `yaml`.\n\n"
        "More may come."
    )


def test_defaults_are_shown_as_they_are_written() -> None:
    @part
    class Defaults:
        """Have defaults."""

        path: Annotated[BatonPath, Meta(description="a")] = BatonPath("")
        same: Annotated[BatonPath, Meta(description="b")] = BatonPath("<path>")
        wait: Annotated[Duration, Meta(description="c")] = Duration(0.25)
        long: Annotated[Duration, Meta(description="d")] = Duration(30)
        size: Annotated[Size, Meta(description="e")] = Size(64 << 10)
        odd: Annotated[Size, Meta(description="f")] = Size(1000)
        decide: Annotated[Lambda, Meta(description="g")] = field(
            default_factory=lambda: Lambda("n: n > 1")
        )
        nothing: Annotated[Any, Meta(description="h")] = MISSING
        null: Annotated[int | None, Meta(description="i")] = None
        is_on: Annotated[bool, Meta(description="j")] = True
        names: Annotated[dict[str, str], Meta(description="k")] = field(default_factory=dict)
        agents: Annotated[dict[str, Any], Meta(description="l")] = field(
            default_factory=lambda: {"a": [1, "b"], "c": None}
        )
        end: Annotated[str, Meta(description="m")] = "\n"
        error: Annotated[ErrorTypes, Meta(description="n")] = ErrorTypes((ValueError,))
        errors: Annotated[ErrorTypes, Meta(description="o")] = ErrorTypes((KeyError, OSError))

    defaults = [row.split(" | ")[2] for row in rows_of(Defaults)]

    assert defaults == [
        "`''`", "*as `path`*", "`250ms`", "`30s`", "`64KiB`", "`1000`", "`n: n > 1`", "*none*",
        "`null`", "`true`", "`{}`", "`{a: [1, b], c: null}`", '`"\\n"`', "`ValueError`",
        "`[KeyError, OSError]`",
    ]  # fmt: skip


def test_bounds_are_found_inside_a_union() -> None:
    @part
    class Bounded:
        """Have a bound."""

        tries: Annotated[
            Annotated[int, Meta(ge=1)] | None, Meta(description="How many attempts.")
        ] = None

    assert rows_of(Bounded) == [
        "| `tries` | int or null, 1 or more | `null` | How many attempts. |"
    ]


def test_parts_are_told_with_the_paths_where_they_stand() -> None:
    section = component(spec(Boxes))

    assert [path for path, _ in parts_of(spec(Boxes), "boxes")] == ["boxes.<name>"]
    assert "\n### `boxes.<name>`\n" in section
    assert "\n#### `boxes.<name>.options[]`\n" in section
    assert section.count("\n|---") == 2  # those of the parts; the section's keys are the user's


def test_a_resource_as_a_parameter_is_no_part() -> None:
    @processor("ask")
    class Ask(Processor):
        """Ask somebody."""

        whom: Annotated[Dependency[Any], Meta(description="Whom.")]

        def process(self, baton: Baton) -> Baton:
            return baton

    assert list(parts_of(spec(Ask), "")) == []
    assert rows_of(Ask)[0] == "| `whom` | resource | *required* | Whom. |"


def test_what_general_bases_have_can_be_told_once() -> None:
    assert [each.key for each in general(Processor)] == ["node_name"]
    assert [each.key for each in general(InputOutputProcessor)] == [
        "input_path", "output_path", "skip_if_nonexistent", "input_fallback",
    ]  # fmt: skip


def test_a_base_that_is_not_general_is_told_with_the_component() -> None:
    @dataclass(slots=True, kw_only=True, eq=False)
    class Loud(Processor):
        """Be loud."""

        level: Annotated[int, Meta(description="How loud.")] = 1

        def process(self, baton: Baton) -> Baton:
            return baton

    @processor("horn")
    class Horn(Loud):
        """Blow."""

    assert "| `level` | int | `1` | How loud. |" in component(spec(Horn), on_page=True)


def test_a_line_between_cells_is_escaped() -> None:
    assert in_cells(["a", "b"], [("x|y", "z")]) == "| a | b |\n|---|---|\n| x\\|y | z |"


def test_links_lead_to_the_sections_of_a_page() -> None:
    assert [*links([spec(Shout), spec(Whisper)], "loud.md")] == [
        "[shout](loud.md#shout)",
        "[whisper](loud.md#whisper)",
    ]


def test_words_are_listed_as_one_says_them() -> None:
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b and c"
