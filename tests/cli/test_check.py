"""`piped check`: all problems of documents, at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from piped.blueprint import OWN_KEYS
from piped.errors import suggest
from piped.shipped import PROVIDERS
from tests.cli.conftest import Invoke, Write

GOOD = "pipelines: {p: [passthrough]}\n"

WARNED = "data: {}\npipelines: {p: [passthrough]}\n"

HINTED = """\
system-events: {startup: {e: pipeline.p}}
pipelines:
    p: [passthrough]
    q: [passthrough]
"""

WRONG = """\
wbe: {}
pipelines:
    p:
        - eval-lamda: {lambda: "b: b"}
        - set-value: {paht: a, value: 1}
"""

WARNING = f"""\
service.yaml:1:1: warning[unread-key]: nothing reads the key 'data'
    at: data
    hint: {suggest("data", [*PROVIDERS, *OWN_KEYS])}
"""


def test_check_is_silent_about_a_good_document(invoke: Invoke, write: Write) -> None:
    write(GOOD)

    result = invoke("check", "service.yaml")

    assert (result.stdout, result.exit_code) == ("", 0)
    assert result.stderr == "1 document: no problems\n"


def test_check_prints_every_problem_of_every_document(invoke: Invoke, write: Write) -> None:
    write(WRONG)
    write("pipelines: {q: []}\n", "other.yaml")
    write(GOOD, "good.yaml")

    result = invoke("check", "service.yaml", "other.yaml", "good.yaml")

    assert result.exit_code == 1
    assert result.stdout == (
        "service.yaml:1:1: warning[unread-key]: nothing reads the key 'wbe'\n"
        "    at: wbe\n"
        f"    hint: {suggest('wbe', [*PROVIDERS, *OWN_KEYS])}\n"
        "service.yaml:4:11: error[unknown-processor]: there is no processor 'eval-lamda'\n"
        "    at: pipelines.p[0].eval-lamda\n"
        "    hint: did you mean 'eval-lambda'?\n"
        "service.yaml:5:22: error[missing-parameter]: set-value needs the parameter 'path'\n"
        "    at: pipelines.p[1].set-value\n"
        "    hint: add path: request.args\n"
        "service.yaml:5:23: error[unknown-parameter]: set-value has no parameter 'paht'\n"
        "    at: pipelines.p[1].set-value.paht\n"
        "    hint: did you mean 'path'? known: node_name, path, value\n"
        "other.yaml:1:16: error[empty-pipeline]: pipeline 'q' has no steps\n"
        "    at: pipelines.q\n"
        "    hint: write '- passthrough' into it\n"
    )
    assert result.stderr == "3 documents: 4 errors, 1 warning\n"


def test_check_tells_once_what_two_documents_include(invoke: Invoke, write: Write) -> None:
    write("pipelines: {q: []}\n", "shared.yaml")
    write("includes: [shared.yaml]\n", "one.yaml")
    write("includes: [shared.yaml]\n", "two.yaml")

    result = invoke("check", "one.yaml", "two.yaml")

    assert result.stdout.count("empty-pipeline") == 1
    assert result.stderr == "2 documents: 1 error\n"


@pytest.mark.parametrize("document", [WARNED, HINTED])
def test_check_fails_on_warnings_and_hints_only_when_it_is_strict(
    invoke: Invoke, write: Write, document: str
) -> None:
    write(document)

    lenient = invoke("check", "service.yaml")
    strict = invoke("check", "--strict", "service.yaml")

    assert (lenient.exit_code, strict.exit_code) == (0, 1)
    assert lenient.stdout == strict.stdout != ""


def test_check_of_a_good_document_passes_when_it_is_strict(invoke: Invoke, write: Write) -> None:
    write(GOOD)

    assert invoke("check", "--strict", "service.yaml").exit_code == 0


def test_check_tells_a_warning(invoke: Invoke, write: Write) -> None:
    write(WARNED)

    result = invoke("check", "service.yaml")

    assert result.stdout == WARNING
    assert result.stderr == "1 document: 1 warning\n"


def test_check_prints_json_with_the_same_fields(invoke: Invoke, write: Write) -> None:
    write("pipelines: {q: []}\n")

    result = invoke("check", "--format", "json", "service.yaml")

    assert result.exit_code == 1
    assert json.loads(result.stdout) == [
        {
            "file": "service.yaml",
            "line": 1,
            "column": 16,
            "level": "error",
            "code": "empty-pipeline",
            "what": "pipeline 'q' has no steps",
            "at": "pipelines.q",
            "why": "",
            "hint": "write '- passthrough' into it",
        }
    ]
    assert result.stderr == ""


def test_check_prints_an_empty_list_of_json_for_a_good_document(
    invoke: Invoke, write: Write
) -> None:
    write(GOOD)

    result = invoke("check", "--format", "json", "service.yaml")

    assert (result.stdout, result.exit_code) == ("[]\n", 0)


def test_check_takes_overrides(invoke: Invoke, write: Write) -> None:
    write(WRONG)

    result = invoke("check", "-O", "pipelines.p:[passthrough]", "service.yaml")

    assert result.exit_code == 0
    assert result.stderr == "1 document: 1 warning\n"


def test_check_of_a_missing_document_fails(invoke: Invoke, write: Write) -> None:
    write(GOOD)

    result = invoke("check", "nope.yaml", "service.yaml")

    assert result.exit_code == 1
    assert result.stdout.startswith("nope.yaml:1:1: error[missing-file]: no file 'nope.yaml'\n")


@pytest.mark.parametrize("arguments", [[], ["--format", "xml", "a.yaml"], ["--nope", "a.yaml"]])
def test_check_that_is_wrongly_used_exits_with_2(invoke: Invoke, arguments: list[str]) -> None:
    result = invoke("check", *arguments)

    assert (result.stdout, result.exit_code) == ("", 2)
    assert result.stderr.startswith("Usage: piped check [OPTIONS] FILE...\n")


def test_check_prints_annotations_for_github(invoke: Invoke, write: Write) -> None:
    write("pipelines: {p: [{passthru: {}}], q: []}\ndata: 1\n", "a,b.yaml")

    result = invoke("check", "--format", "github", "a,b.yaml")

    assert result.exit_code == 1
    assert result.stdout.splitlines()[1:] == [
        "::error file=a%2Cb.yaml,line=1,col=37,title=empty-pipeline::pipeline 'q' has no steps"
        "%0Awrite '- passthrough' into it",
        "::warning file=a%2Cb.yaml,line=2,col=1,title=unread-key::nothing reads the key 'data'"
        f"%0A{suggest('data', [*PROVIDERS, *OWN_KEYS])}",
    ]


BUNDLED = """\
plugins: {bundles: {mine: [mine]}}
own: {from: my bundle}
pipelines:
    p:
        - of-my-bundle: {}
        - eval-lambda: {lambda: "n: there(n)", namespace: {there: mine.there}}
        - raise-exception: {type: mine.Wrong}
    q: [{eval-lambda: {lambda: "n: nowhere(n)", namespace: {here: mine.here}}}]
    r: [{wait: {delay: soon}}]
"""


def test_check_imports_nothing_where_that_is_forbidden(invoke: Invoke, write: Write) -> None:
    write(BUNDLED)
    write("raise SystemExit('imported')", "mine/__init__.py")

    result = invoke("check", "--no-imports", "service.yaml")

    assert result.stdout == (
        "service.yaml:8:36: error[unknown-name]: nobody defines 'nowhere'\n"
        "    at: pipelines.q[0].eval-lambda\n"
        "    hint: add it to the namespace, as in namespace: {nowhere: package.nowhere}\n"
        "service.yaml:9:24: error[wrong-value]: expected a duration such as 2s or 250ms,"
        " got 'soon'\n"
        "    at: pipelines.r[0].wait.delay\n"
    )


@pytest.mark.parametrize(
    ("name", "form", "begin"),
    [
        ("a\udcff.yaml", "text", r"a\udcff.yaml:1:17: error[unknown-processor]: there"),
        ("a\udcff.yaml", "json", r'[{"file":"a\\udcff.yaml","line":1,"column":17,'),
        ("a\nb.yaml", "text", r"a\nb.yaml:1:17: error[unknown-processor]: there"),
        ("a\nb.yaml", "json", r'[{"file":"a\nb.yaml","line":1,"column":17,'),
        ("a\nb.yaml", "github", "::error file=a%0Ab.yaml,line=1,col=17,title="),
    ],
)
def test_check_names_files_with_odd_names(
    invoke: Invoke, folder: Path, name: str, form: str, begin: str
) -> None:
    Path(name).write_text("pipelines: {p: [pass]}\n", encoding="utf-8")

    result = invoke("check", "--format", form, name)

    assert result.stdout.startswith(begin)


@pytest.mark.parametrize("command", ["check", "render", "graph", "run"])
def test_a_link_that_leads_to_itself_is_no_file(invoke: Invoke, folder: Path, command: str) -> None:
    Path("a.yaml").symlink_to("a.yaml")

    result = invoke(command, "a.yaml")

    assert "a.yaml:1:1: error[missing-file]: no file 'a.yaml'\n" in result.output


def test_a_home_that_nobody_has_is_no_folder(invoke: Invoke, folder: Path) -> None:
    result = invoke("check", "~no-such-user/a.yaml")

    assert result.stdout.startswith(
        "~no-such-user/a.yaml:1:1: error[missing-file]: no file '~no-such-user/a.yaml'\n"
    )
