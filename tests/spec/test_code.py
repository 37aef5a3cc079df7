"""Python in a document: places of mistakes, what it sees, and what it may be."""

from __future__ import annotations

import asyncio
import traceback
from pathlib import Path
from typing import Any

import pytest

from piped.document import parse
from piped.errors import Place
from piped.spec import Code, Lambda, Namespace, identify
from piped.spec.code import SyntaxProblem
from tests.spec.conftest import Read, Wrong

ONE_ARGUMENT = "expected a lambda of one argument, such as 'n: n * 2'"
NO_COLON = "expected a lambda, such as 'n: n * 2': there is no colon"
ONE_LAMBDA = "expected one lambda, such as 'n: n * 2'"
UNMATCHED = "closing parenthesis ')' does not match opening parenthesis '['"

MISTAKES: list[tuple[Any, str, str]] = [
    (Lambda, "'n: ('", "1:5 '(' was never closed"),
    (Lambda, "'n: n)'", "1:6 unmatched ')'"),
    (Lambda, "'  n: n)'", "1:8 unmatched ')'"),
    (Lambda, "'n - 1'", f"1:2 {NO_COLON}"),
    (Lambda, "''", f"1:2 {NO_COLON}"),
    (Lambda, "'n - : 1'", "1:4 invalid syntax"),
    (Lambda, "|\n  n: [\n    n n\n  ]\n", "3:5 invalid syntax. Perhaps you forgot a comma?"),
    (Lambda, "'n: n; 5'", f"1:2 {ONE_LAMBDA}"),
    (Lambda, "'n: n, 2'", f"1:2 {ONE_LAMBDA}"),
    (Lambda, "': 1'", f"1:2 {ONE_ARGUMENT}"),
    (Lambda, "'n, m: 1'", f"1:2 {ONE_ARGUMENT}"),
    (Lambda, "'n, *, k: n'", f"1:2 {ONE_ARGUMENT}"),
    (Lambda, "'n: await n'", "1:5 'await' outside async function"),
    (Code, "'return ('", "1:9 '(' was never closed"),
    (Code, "|\n  x = 1\n  y = (\n", "3:7 '(' was never closed"),
    (Code, "|\n\n  x = (\n", "3:7 '(' was never closed"),
    (Code, "|\n  a = 'é' + (\n", "2:13 '(' was never closed"),
    (Code, "|\n  def f(:\n    pass\n", "2:9 invalid syntax"),
    (Code, "|\n  break\n", "2:3 'break' outside loop"),
    (Code, "|\n  return 1\n  nonlocal x\n", "3:3 no binding for nonlocal 'x' found"),
    (Code, "|\n  if x:\n    y = (\n", "3:9 '(' was never closed"),
    (Code, "|\n  x = 'a\n", "2:7 unterminated string literal (detected at line 2)"),
    (Code, "|\n  if x:\n  y\n", "3:3 expected an indented block after 'if' statement on line 2"),
    (Lambda, "|\n  n: [\n    n)\n", f"3:6 {UNMATCHED} on line 2"),
]


@pytest.mark.parametrize(("kind", "text", "expected"), MISTAKES)
def test_a_syntax_error_is_told_at_its_line_and_column(
    wrong: Wrong, kind: Any, text: str, expected: str
) -> None:
    assert wrong(kind, text) == [expected]


CALLED = "warning[python-warning]: 'int' object is not callable; perhaps you missed a comma?"


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        (Lambda, "'n: 5(n)'", f"t.yaml:1:2: {CALLED}"),
        (Lambda, "|\n  n: [\n    5(n)]\n", f"t.yaml:3:3: {CALLED}"),
        (Code, "|\n  x = 1\n  return 5(x)\n", f"t.yaml:3:3: {CALLED}"),
        (Code, "|\n  x = await input\n\n  return 5(x)\n", f"t.yaml:4:3: {CALLED}"),
        (Code, "'return 5(input)'", f"t.yaml:1:2: {CALLED}"),
    ],
)
def test_what_python_warns_of_is_a_warning_with_its_place(
    kind: Any, text: str, expected: str
) -> None:
    node = parse(text, "t.yaml")[0]
    made = kind(node.value, node.content)  # type: ignore[union-attr] # they are scalars

    assert [str(each) for each in made.check()] == [expected]


@pytest.mark.parametrize("body", ["-" * 100_000 + "1", "(" * 500 + "1" + ")" * 500, "'\0'"])
@pytest.mark.parametrize("kind", [Lambda, Code])
def test_what_python_cannot_read_at_all_is_told_too(kind: Any, body: str) -> None:
    with pytest.raises(SyntaxProblem) as caught:
        kind(f"n: {body}" if kind is Lambda else body)

    assert caught.value.place.line == 1


UNKNOWN: list[tuple[Any, str, list[str]]] = [
    (Lambda, "'n: nope + n'", ["1:5 nope"]),
    (Lambda, "|\n  n: [\n    nope\n  ]\n", ["3:5 nope"]),
    (Lambda, "'n: [m for m in n if mm]'", ["1:22 mm"]),
    (Lambda, "'n: (lambda k: k + j)(n)'", ["1:20 j"]),
    (Code, "|\n  return nope\n", ["2:10 nope"]),
    (Code, "|\n  a = 'é' + nope\n", ["2:13 nope"]),
    (Code, "|\n  def f(): return g()\n  return f() + h\n", ["3:16 h", "2:19 g"]),
    (Code, "|\n  import os\n  x = input\n  return os, x, baton, self, logger, len\n", []),
    (Code, "|\n  for x in input: pass\n  return x, known\n", []),
    (Code, "|\n  global x\n  x = 1\n", []),
]


@pytest.mark.parametrize(("kind", "text", "expected"), UNKNOWN)
def test_names_that_nobody_defines_are_found_before_anything_runs(
    read: Read, kind: Any, text: str, expected: list[str]
) -> None:
    problems = list(read(kind, text).check(Namespace(known=1)))

    found = [(each.place, each.what.split("'")[1]) for each in problems]
    assert [f"{place.line}:{place.column} {name}" for place, name in found if place] == expected


def test_an_unknown_name_is_told_with_an_act() -> None:
    [problem] = Lambda("n: time()").check()

    assert str(problem) == (
        "<lambda>:1:4: error[unknown-name]: nobody defines 'time'\n"
        "    hint: add it to the namespace, as in namespace: {time: package.time}"
    )


@pytest.mark.parametrize("text", ["n: n * 2", "*n: n[0] * 2", "n, m=2: n * m", "\n n: n * 2 \n"])
def test_a_lambda_is_a_function_of_one_argument(text: str) -> None:
    assert Lambda(text).compile({})(4) == 8


def test_a_lambda_sees_its_namespace_and_self_and_builtins() -> None:
    function = Lambda("n: max(self + k, n)").compile({"k": 5}, 10)

    assert function(3) == 15


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("return input + baton['n'] + self + k", 10),
        ("x = input", None),
        ("", None),
        ("  if input:\n      return 'yes'\n", "yes"),
        ("x = 1\n    \n    \nreturn x", 1),
        ("return [k for _ in range(input)]", [3]),
        ("  a = 1\n  return a", 1),
        ("return (\n  input)", 1),
        ("if input:\n\treturn 'tab'", "tab"),
    ],
)
def test_a_block_is_the_body_of_a_function(text: str, expected: Any) -> None:
    assert Code(text).compile({"k": 3}, 4)(1, {"n": 2}) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("return '''\na\n  b\n   \n\n'''", "\na\n  b\n   \n\n"),
        ("if input:\n    return '''a\n    b'''", "a\n    b"),
        ("return 'a\\\n  b'", "a  b"),
        ("return 'a\tb'", "a\tb"),
        ("async def f(): pass\nreturn '''\n a'''", "\n a"),
    ],
)
def test_the_literals_of_a_block_are_as_they_are_written(text: str, expected: str) -> None:
    code = Code(text)

    assert code.compile({}, None)(1, {}) == expected
    assert list(code.check()) == []


def test_the_columns_of_a_mistake_are_not_looked_up_in_a_file_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "t.yaml").write_text("a:\nb:\n")
    monkeypatch.chdir(tmp_path)

    with pytest.raises(SyntaxProblem) as caught:
        Code("x = 1\nreturn [1, 2, 3", Place("t.yaml", 1, 1))

    assert caught.value.place == Place("t.yaml", 2, 8)


def test_the_first_line_of_a_block_may_be_indented_differently() -> None:
    code = Code("if input:\n      x = 5\n      return x")

    assert code.compile({}, None)(1, {}) == 5


@pytest.mark.parametrize(
    ("text", "is_async", "is_generator", "returns"),
    [
        ("return 1", False, False, True),
        ("return", False, False, False),
        ("await input", True, False, False),
        ("async with input: pass", True, False, False),
        ("return [x async for x in input]", True, False, True),
        ("async def f(): await input\nreturn f", False, False, True),
        ("yield 1", False, True, False),
        ("def f(): return 1", False, False, False),
    ],
)
def test_a_block_knows_whether_it_awaits_yields_and_returns(
    text: str, is_async: bool, is_generator: bool, returns: bool
) -> None:
    code = Code(text)

    assert (code.is_async, code.is_generator, code.returns) == (is_async, is_generator, returns)


def test_a_block_that_awaits_is_a_coroutine_function() -> None:
    function = Code("return await input(5)").compile({}, None)

    async def double(number: int) -> int:
        return number * 2

    assert asyncio.run(function(double, {})) == 10


@pytest.mark.parametrize(
    ("kind", "text"),
    [(Lambda, "|\n  n: [\n    1 / n\n  ]\n"), (Code, "|\n  x = 1\n  return x / input\n")],
)
def test_a_traceback_names_the_line_in_the_document(read: Read, kind: Any, text: str) -> None:
    function = read(kind, text).compile({}, None)

    with pytest.raises(ZeroDivisionError) as caught:
        function(*(0, {})[: 1 if kind is Lambda else 2])

    frame = traceback.extract_tb(caught.value.__traceback__)[-1]
    assert (frame.filename, frame.lineno) == ("t.yaml", 3)


def test_code_shows_its_text() -> None:
    assert (repr(Lambda("n: n")), repr(Code("pass"))) == ("Lambda('n: n')", "Code('pass')")


class Request:
    """What a site brings: it has a number of its own."""

    __baton_id__ = 7


def test_the_id_of_a_request_is_its_own_number_in_a_document() -> None:
    request, other = Request(), object()

    assert Lambda("r: id(r)").compile({})(request) == 7
    assert Code("return id(input), id(baton)").compile({}, None)(request, other) == (7, id(other))
    assert identify(other) == id(other)


def test_the_place_of_code_in_a_list_is_that_of_its_own_line(wrong: Wrong) -> None:
    text = "- 'n: n'\n- |\n   n: (\n"
    assert parse(text)[1] == []

    assert wrong(list[Lambda], text) == ["3:7 '(' was never closed"]
