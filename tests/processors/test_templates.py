from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from piped.errors import BatonError, Problem
from tests.processors.conftest import Make, Problems, Run, decoded


def rendered(run: Run, template: str, value: Any, options: str = "") -> str:
    text: str = run(f"render-template: {{template: {json.dumps(template)}{options}}}", value)
    return text


def failure(run: Run, template: str, value: Any, options: str = "") -> str:
    with pytest.raises(BatonError) as raised:
        rendered(run, template, value, options)
    return str(raised.value)


def only(text: str) -> Problem:
    [problem] = decoded(text)[1]
    return problem


def test_render_template_knows_the_keys_of_a_dict(run: Run) -> None:
    assert rendered(run, "{{ a }} {{ input.a }} {{ baton.a }}", {"a": 1}) == "1 1 1"


def test_render_template_calls_another_value_input(run: Run) -> None:
    text = "render-template: {template: '{% for n in input %}{{ n }}{{ baton.sep }}{% endfor %}'"
    text += ", input_path: ns, output_path: text}"

    assert run(text, {"ns": [1, 2], "sep": ";"})["text"] == "1;2;"


def test_keys_hide_neither_input_nor_baton(run: Run) -> None:
    assert rendered(run, "{{ input.n }}{{ baton.n }}", {"input": 1, "baton": 2, "n": 3}) == "33"


def test_render_template_escapes_for_html_where_it_is_asked_to(run: Run) -> None:
    assert rendered(run, "{{ a }}", {"a": "<&>"}) == "<&>"
    assert rendered(run, "{{ a }}", {"a": "<&>"}, ", html: true") == "&lt;&amp;&gt;"
    assert rendered(run, "{{ a | safe }}", {"a": "<&>"}, ", html: true") == "<&>"


def test_the_filter_json_is_exact(run: Run) -> None:
    assert rendered(run, "{{ input | json }}", {"a": [10**30, None]}) == f'{{"a":[{10**30},null]}}'


def test_the_filter_json_ends_no_script(run: Run) -> None:
    text = rendered(run, "{{ input | json }}", ["</script>'&"], ", html: true")

    assert text == '["\\u003c/script\\u003e\\u0027\\u0026"]'


@pytest.mark.parametrize(
    ("template", "value", "message"),
    [
        ("a\n{{ b }}", {}, "line 2 of the template: 'b' is undefined"),
        ("{{ a.b }}", {"a": {}}, "line 1 of the template: 'dict object' has no attribute 'b'"),
        ("{{ a | json }}", {}, "line 1 of the template: 'a' is undefined"),
        ("{{ input | json }}", [{1}], "line 1 of the template: cannot encode set as JSON at '[0]'"),
        (
            "\n\n{{ 1 / n }}",
            {"n": 0},
            "line 3 of the template: ZeroDivisionError: division by zero",
        ),
        (
            "{{ n + 'a' }}",
            {"n": 1},
            "line 1 of the template: TypeError: unsupported operand type(s) for +: 'int' and 'str'",
        ),
        (
            "{% macro f() %}\n{{ x }}{% endmacro %}\n{{ f() }}",
            {},
            "line 2 of the template: 'x' is undefined",
        ),
        ("{{ input() }}", 5, "line 1 of the template: TypeError: 'int' object is not callable"),
    ],
)
def test_what_does_not_fit_is_told_with_its_line(
    run: Run, template: str, value: Any, message: str
) -> None:
    assert failure(run, template, value) == f"cannot render {message}"


def test_a_missing_value_may_have_a_default(run: Run) -> None:
    assert rendered(run, "{{ a | default('none') }}{{ b is defined }}", {}) == "noneFalse"


@pytest.mark.parametrize(
    ("expression", "value", "what"),
    [
        ("input.__class__", 5, "access to attribute '__class__' of 'int' object is unsafe"),
        ("input.append(1)", [], "access to attribute 'append' of 'list' object is unsafe"),
        ("input.clear()", {}, "access to attribute 'clear' of 'dict' object is unsafe"),
    ],
)
def test_a_template_reaches_no_insides_and_changes_nothing(
    run: Run, expression: str, value: Any, what: str
) -> None:
    message = failure(run, f"{{{{ {expression} }}}}", value)

    assert message == f"cannot render line 1 of the template: {what}"


@pytest.mark.parametrize("option", ["10", "1KiB"])
def test_too_much_text_is_an_error(run: Run, option: str) -> None:
    template = "{% for n in range(2000) %}x{% endfor %}"

    message = failure(run, template, {}, f", max_size: {option}")

    size = {"10": 10, "1KiB": 1024}[option]
    assert message == f"cannot render the template: the text has more than {size} bytes"


def test_the_size_of_text_is_that_of_its_bytes(run: Run) -> None:
    assert rendered(run, "{{ input }}", "éé", ", max_size: 4") == "éé"
    assert failure(run, "{{ input }}", "éé", ", max_size: 3") == (
        "cannot render the template: the text has more than 3 bytes"
    )


@pytest.mark.parametrize("expression", ["'x' * n", "n * ['x']", "n ** n", "'%10000000000d' % n"])
def test_no_huge_value_is_made(run: Run, expression: str) -> None:
    message = failure(run, f"{{{{ {expression} }}}}", {"n": 10**10})

    operator = next(each for each in ("**", "*", "%") if each in expression)
    assert message == (
        f"cannot render line 1 of the template: '{operator}' makes a value of more than"
        " 10485760 bytes"
    )


def test_products_are_what_they_were(run: Run) -> None:
    template = "{{ 2 * 3 }} {{ 2 ** 3 }} {{ 'a' * 3 }} {{ 2 ** -1 }} {{ 1.5 * 2 }} {{ '%03d' % 7 }}"

    assert rendered(run, template, {}) == "6 8 aaa 0.5 3.0 007"


def test_keys_that_are_no_text_are_reached_by_the_input(run: Run) -> None:
    assert rendered(run, "{{ input[1] }}{{ a }}", {1: 2, "a": 3, None: 4}) == "23"


def test_a_macro_that_calls_itself_is_an_error(run: Run) -> None:
    template = "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}"

    assert failure(run, template, {}) == "cannot render a template that nests so deep"


def test_render_template_needs_exactly_one_source(problems: Problems) -> None:
    assert problems("render-template: {}") == [
        "expected exactly one of 'template' and 'file', got neither"
    ]
    assert problems("render-template: {template: a, file: b}") == [
        "expected exactly one of 'template' and 'file', got both"
    ]


def test_a_syntax_error_is_told_with_its_line() -> None:
    problem = only("render-template:\n  template: |\n    a\n    {{ b\n")

    assert str(problem) == (
        "test.yaml:4:5: error[template-syntax]: unexpected end of template, expected 'end of print"
        " statement'\n"
        "    at: render-template.template"
    )


def test_an_unknown_filter_is_told_with_those_like_it() -> None:
    problem = only("render-template: {template: '{{ a | uper }}'}")

    assert problem.what == "no filter named 'uper'"
    assert problem.hint == "did you mean 'upper'?"


def test_an_unknown_test_is_told_with_those_like_it() -> None:
    problem = only("render-template: {template: '{{ a is defind }}'}")

    assert problem.what == "no test named 'defind'"
    assert problem.hint == "did you mean 'defined'?"


def test_a_template_in_the_document_uses_no_other(problems: Problems) -> None:
    assert problems("render-template: {template: '{% include \"a\" %}{% include b %}'}") == [
        "a template that stands in the document can use no other"
        " (put it into a file, beside the others, and name that: file: page.html)"
    ]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mails").mkdir()
    return tmp_path / "mails"


def test_a_file_extends_and_includes_what_is_beside_it(run: Run, folder: Path) -> None:
    (folder / "base.html").write_text("<p>{% block body %}{% endblock %}</p>")
    (folder / "sign.html").write_text("-- {{ name }}")
    (folder / "hello.html").write_text(
        "{% extends 'base.html' %}{% block body %}{{ text }}{% include 'sign.html' %}{% endblock %}"
    )

    text = run("render-template: {file: mails/hello.html}", {"text": "<b>", "name": "Ada"})

    assert text == "<p>&lt;b&gt;-- Ada</p>"


@pytest.mark.parametrize(
    ("file", "options", "expected"),
    [
        ("a.txt", "", "<"),
        ("a.html", "", "&lt;"),
        ("a.XML", "", "&lt;"),
        ("a.html", ", html: false", "<"),
        ("a.txt", ", html: true", "&lt;"),
    ],
)
def test_the_end_of_the_name_tells_what_is_html(
    run: Run, folder: Path, file: str, options: str, expected: str
) -> None:
    (folder / file).write_text("{{ input }}")

    assert run(f"render-template: {{file: mails/{file}{options}}}", "<") == expected


def test_files_are_read_once(make: Make, folder: Path) -> None:
    (folder / "part.txt").write_text("old")
    (folder / "page.txt").write_text("{% include 'part.txt' %}")
    made = make("render-template: {file: mails/page.txt}")
    for name in ("part.txt", "page.txt"):
        (folder / name).write_text("new")

    assert made.step()({}) == "old"
    assert made.step()({}) == "old"


def test_an_error_in_a_file_is_told_with_its_place(run: Run, folder: Path) -> None:
    (folder / "part.txt").write_text("\n{{ missing }}")
    (folder / "page.txt").write_text("{% include 'part.txt' %}")

    with pytest.raises(BatonError) as raised:
        run("render-template: {file: mails/page.txt}", {})

    assert str(raised.value) == "cannot render mails/part.txt:2: 'missing' is undefined"


def test_all_files_of_a_template_are_checked(folder: Path) -> None:
    (folder / "part.txt").write_text("a\n{% endfor %}")
    (folder / "page.txt").write_text(
        "{% include 'part.txt' %}\n{% include 'none.txt' %}{% include 'no' ignore missing %}"
        "{% include '../secret' %}{% include name %}"
    )
    (folder.parent / "secret").write_text("secret")

    problems = decoded("render-template: {file: mails/page.txt}")[1]

    assert [(str(each.place), each.code, each.what) for each in problems] == [
        (
            "mails/part.txt:2:1",
            "template-syntax",
            "encountered unknown tag 'endfor'",
        ),
        ("mails/page.txt:2:1", "missing-file", "no file 'mails/none.txt'"),
        ("mails/page.txt:2:1", "missing-file", "no file 'mails/../secret'"),
    ]


def test_a_name_from_the_baton_does_not_leave_the_folder(run: Run, folder: Path) -> None:
    (folder / "page.txt").write_text("{% include name %}")
    (folder / "part.txt").write_text("part")
    (folder.parent / "secret").write_text("secret")

    assert run("render-template: {file: mails/page.txt}", {"name": "part.txt"}) == "part"
    with pytest.raises(BatonError) as raised:
        run("render-template: {file: mails/page.txt}", {"name": "../secret"})
    assert str(raised.value) == (
        "cannot render mails/page.txt:1: there is no template '../secret' in the folder"
    )


def test_a_file_that_cannot_be_read_is_a_problem(folder: Path) -> None:
    (folder / "latin.txt").write_bytes(b"\xff")

    missing = only("render-template: {file: mails/none.txt}")
    latin = only("render-template: {file: mails/latin.txt}")
    is_folder = only("render-template: {file: mails}")
    stranger = only("render-template: {file: ~no-such-user/a.txt}")

    assert str(missing) == (
        "test.yaml:1:25: error[missing-file]: no file 'mails/none.txt'\n"
        "    at: render-template.file"
    )
    assert (latin.code, latin.what) == ("not-utf-8", "'mails/latin.txt' is not UTF-8")
    assert (is_folder.code, is_folder.what) == ("missing-file", "no file 'mails'")
    assert stranger.what == "no file '~no-such-user/a.txt'"
