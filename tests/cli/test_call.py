"""`piped call`: one pipeline, once, its results as JSON on standard output."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Invoke, Write
from tests.stories.processes import Processes, free_ports

DOCUMENT = """\
web:
    site:
        port: 8080
        routing: {__config__: {processor: pipeline.web.compute}}
contexts:
    pending: {}
pipelines:
    web:
        compute:
            - eval-lambda: {input_path: n, output_path: square, lambda: "n: n ** 2"}
        broken:
            - eval-lamda: {lambda: "b: b"}
    echo: [passthrough]
    divide:
        - eval-lambda: {input_path: n, output_path: inverse, lambda: "n: 1 / n"}
    outer:
        - run-pipeline: {pipeline: divide}
    scattered:
        - scatter-gather: {mapping: [{pipeline: divide}, {pipeline: echo}]}
    needs-broken:
        - run-pipeline: {pipeline: web.broken}
    inlines-broken:
        - inline-pipeline: web.broken
    twice:
        - set-value: {path: a, value: 1, value: 2}
    nowhere:
        - fetch-context: {context: pendng}
    printing:
        - pretty-print
        - log: {message: it was printed}
    cyclic:
        - fetch-context: {context: pending}
        - exec-code: {code: "baton['pending']['me'] = baton"}
    several:
        consumers:
            - set-value: {path: a, value: 1}
            - eval-lambda: {lambda: "b: 'second'"}
    stopped:
        - stop: {decider: "b: True"}
        - set-value: {path: never, value: reached}
    decided: [{lambda-decider: {lambda: "b: []"}}, passthrough]
"""


@pytest.fixture(autouse=True)
def document(write: Write) -> str:
    return write(DOCUMENT)


@pytest.mark.parametrize("name", ["web.compute", "pipeline.web.compute"])
def test_call_takes_a_dotted_name_with_or_without_its_kind(invoke: Invoke, name: str) -> None:
    result = invoke("call", "service.yaml", name, '{"n": 12}')

    assert (result.stdout, result.exit_code) == ('[{"n": 12, "square": 144}]\n', 0)
    assert result.stderr == ""


def test_call_without_a_baton_sends_an_empty_one(invoke: Invoke) -> None:
    assert invoke("call", "service.yaml", "echo").stdout == "[{}]\n"


def test_call_reads_the_baton_from_standard_input(invoke: Invoke) -> None:
    result = invoke("call", "service.yaml", "web.compute", "-", stdin='{"n": 3}\n')

    assert result.stdout == '[{"n": 3, "square": 9}]\n'


@pytest.mark.parametrize("baton", ['"text"', "[1, 2.5, null, true]", "null", '{"é": "ü"}'])
def test_call_takes_any_json(invoke: Invoke, baton: str) -> None:
    result = invoke("call", "service.yaml", "echo", baton)

    assert json.loads(result.stdout) == [json.loads(baton)]


def test_call_prints_each_result_of_the_sinks(invoke: Invoke) -> None:
    assert invoke("call", "service.yaml", "several").stdout == '[{"a": 1}, "second"]\n'
    assert invoke("call", "service.yaml", "stopped").stdout == "[{}]\n"
    assert invoke("call", "service.yaml", "decided").stdout == "[{}]\n"


@pytest.mark.parametrize("number", [10**30, -(10**30), 10**4000])
def test_call_keeps_big_numbers_exact(invoke: Invoke, number: int) -> None:
    result = invoke("call", "service.yaml", "echo", f"[{number}]")

    assert result.stdout == f"[[{number}]]\n"


@pytest.mark.parametrize(
    ("code", "printed"),
    [
        ("b: b'bytes'", {"$repr": "b'bytes'"}),
        ("b: float('nan')", {"$repr": "nan"}),
        ("b: float('-inf')", {"$repr": "-inf"}),
        ("b: {1, 2}", {"$repr": "{1, 2}"}),
        ("b: [object, (1, 2)]", [{"$repr": "<class 'object'>"}, [1, 2]]),
        ("b: {1: 'a', None: 'b', True: 'c'}", {"true": "c", "null": "b"}),
        ("b: {(1, 2): 3}", {"(1, 2)": 3}),
        ("b: 10 ** 5000", {"$repr": "<int: ValueError in its repr>"}),
        ("b: None", None),
        ("b: []", []),
        ("b: '\\ud800'", "\ud800"),
    ],
)
def test_call_says_what_json_cannot(
    invoke: Invoke, write: Write, code: str, printed: object
) -> None:
    write(f"pipelines:\n    odd: [{{eval-lambda: {{lambda: {json.dumps(code)}}}}}]\n")

    result = invoke("call", "service.yaml", "odd")

    assert result.exit_code == 0, result.stderr
    if code.startswith("b: {1: "):  # True and 1 are one key, and the first one stays
        printed = {"1": "c", "null": "b"}
    assert json.loads(result.stdout) == [printed]


def test_call_prints_batons_that_contain_themselves(invoke: Invoke) -> None:
    result = invoke("call", "service.yaml", "cyclic", '{"n": 1}')

    me = {"$repr": "{'n': 1, 'pending': {'me': {...}}}"}
    assert json.loads(result.stdout) == [{"n": 1, "pending": {"me": me}}]


def test_call_keeps_standard_output_for_its_results(start: Processes, folder: Path) -> None:
    process = start("call", "service.yaml", "printing", '{"n": 1}', cwd=folder)

    assert process.ended() == 0
    assert process.stdout == '[{"n": 1}]\n'
    printed, line = process.stderr.splitlines()
    assert printed == "{'n': 1}"
    logged = json.loads(line)
    assert (logged["event"], logged["logger"]) == ("it was printed", "root")
    assert logged["journey"]


def test_call_keeps_standard_output_from_what_bundles_print(
    start: Processes, folder: Path, write: Write
) -> None:
    write("print('imported')\n", "bundle_loud/__init__.py")
    write("plugins: {bundles: {mine: [bundle_loud]}}\npipelines: {p: [passthrough]}\n")

    process = start("call", "service.yaml", "p", cwd=folder)

    assert process.ended() == 0
    assert (process.stdout, process.stderr) == ("[{}]\n", "imported\n")


def test_call_tells_an_error_with_its_place(invoke: Invoke) -> None:
    result = invoke("call", "service.yaml", "divide", '{"n": 0}')

    assert (result.stdout, result.exit_code) == ("", 1)
    assert result.stderr == (
        "error: ZeroDivisionError: division by zero\n"
        "    in pipelines.divide[0].eval-lambda (service.yaml:15:11)\n"
    )


def test_call_tells_the_way_of_an_error_through_pipelines(invoke: Invoke) -> None:
    result = invoke("call", "service.yaml", "outer", '{"n": 0}')

    assert result.exit_code == 1
    assert result.stderr == (
        "error: ZeroDivisionError: division by zero\n"
        "    in pipelines.divide[0].eval-lambda (service.yaml:15:11)\n"
        "    in pipelines.outer[0].run-pipeline (service.yaml:17:11)\n"
    )


def test_call_tells_an_error_of_a_scattered_part_without_its_group(invoke: Invoke) -> None:
    result = invoke("call", "service.yaml", "scattered", '{"n": 0}')

    assert result.exit_code == 1
    assert result.stderr.startswith("error: ZeroDivisionError: division by zero\n")
    assert "in pipelines.scattered[0].scatter-gather (service.yaml:19:11)\n" in result.stderr


def test_call_tells_the_causes_of_an_error(invoke: Invoke, write: Write) -> None:
    write("""\
pipelines:
    p:
        - exec-code:
            code: |
                try: int('x')
                except ValueError as e: raise RuntimeError('no luck') from e
""")

    result = invoke("call", "service.yaml", "p")

    assert result.stderr == (
        "error: RuntimeError: no luck\n"
        "    in pipelines.p[0].exec-code (service.yaml:3:11), line 6\n"
        "because of: ValueError: invalid literal for int() with base 10: 'x'\n"
    )


def test_call_tells_each_error_of_a_group_and_a_single_one_without_it(
    invoke: Invoke, write: Write
) -> None:
    write("""\
pipelines:
    one: [{exec-code: {code: "raise ExceptionGroup('tasks', [ValueError('a')])"}}]
    two: [{exec-code: {code: "raise ExceptionGroup('tasks', [ValueError('a'), KeyError('b')])"}}]
""")

    assert invoke("call", "service.yaml", "one").stderr == (
        "error: ValueError: a\n    in pipelines.one[0].exec-code (service.yaml:2:12)\n"
    )
    assert invoke("call", "service.yaml", "two").stderr == (
        "error: ExceptionGroup: tasks (2 sub-exceptions)\n"
        "    in pipelines.two[0].exec-code (service.yaml:3:12)\n"
        "because of: ValueError: a\n"
        "because of: KeyError: 'b'\n"
    )


def test_call_of_a_document_that_could_not_be_read_to_its_end_runs_nothing(
    invoke: Invoke, write: Write
) -> None:
    write("pipelines:\n    p: [passthrough]\n    q: [stop\n")

    result = invoke("call", "service.yaml", "p")

    assert (result.stdout, result.exit_code) == ("", 1)
    assert result.stderr.startswith("service.yaml:4:1: error[yaml-syntax]: ")


@pytest.mark.parametrize("name", ["web.broken", "needs-broken", "inlines-broken"])
def test_call_tells_the_problems_of_what_the_pipeline_needs(invoke: Invoke, name: str) -> None:
    result = invoke("call", "service.yaml", name)

    assert (result.stdout, result.exit_code) == ("", 1)
    assert result.stderr.startswith(
        "service.yaml:12:15: error[unknown-processor]: there is no processor 'eval-lamda'\n"
        "    at: pipelines.web.broken[0].eval-lamda\n"
        "    hint: did you mean 'eval-lambda'?\n"
    )
    assert result.stderr.count("error[") == 1


def test_call_tells_of_a_key_that_is_written_twice_in_the_pipeline(invoke: Invoke) -> None:
    result = invoke("call", "service.yaml", "twice")

    assert (result.stdout, result.exit_code) == ("", 1)
    assert result.stderr == (
        "service.yaml:25:42: error[duplicate-key]: the key 'value' is written twice in line 25\n"
        "    at: pipelines.twice[0].set-value.value\n"
        "    hint: remove one of them\n"
    )


def test_call_tells_where_a_resource_is_named_that_nobody_provides(invoke: Invoke) -> None:
    result = invoke("call", "service.yaml", "nowhere")

    assert (result.stdout, result.exit_code) == ("", 1)
    assert result.stderr == (
        "service.yaml:27:11: error[unknown-resource]: nobody provides 'context.pendng'\n"
        "    at: pipelines.nowhere[0].fetch-context\n"
        "    hint: did you mean 'context.pending'?\n"
    )


def test_call_names_the_pipelines_near_an_unknown_one(invoke: Invoke) -> None:
    result = invoke("call", "service.yaml", "web.comptue")

    assert (result.stdout, result.exit_code) == ("", 1)
    assert result.stderr == (
        "service.yaml:1:1: error[unknown-pipeline]: there is no pipeline 'web.comptue'\n"
        "    hint: did you mean 'web.compute'?\n"
    )


def test_call_of_a_missing_document_says_so(invoke: Invoke, folder: Path) -> None:
    result = invoke("call", "nope.yaml", "p")

    assert (result.stdout, result.exit_code) == ("", 1)
    assert result.stderr == (
        "nope.yaml:1:1: error[missing-file]: no file 'nope.yaml'\n"
        f"    hint: check the path; the working directory is {folder}\n"
    )


def test_call_of_a_document_that_cannot_be_read_says_so(invoke: Invoke, write: Write) -> None:
    write("pipelines: [\n")

    result = invoke("call", "service.yaml", "p")

    assert (result.stdout, result.exit_code) == ("", 1)
    assert "error[yaml-syntax]" in result.stderr
    assert "unknown-pipeline" not in result.stderr


def test_call_refuses_an_override_that_it_does_not_understand(invoke: Invoke) -> None:
    result = invoke("call", "-O", "contexts", "service.yaml", "echo")

    assert (result.stdout, result.exit_code) == ("", 1)
    assert result.stderr == (
        "-O:1:1: error[bad-override]: invalid override specification:"
        " expected 'path:value', got 'contexts'\n"
    )


def test_call_takes_overrides(invoke: Invoke) -> None:
    override = 'pipelines.echo: [{set-value: {path: a, value: "from -O"}}]'

    result = invoke("call", "-O", override, "service.yaml", "echo")

    assert result.stdout == '[{"a": "from -O"}]\n'


def test_call_opens_nothing_that_the_pipeline_does_not_need(
    start: Processes, folder: Path, write: Write
) -> None:
    write("""\
web:
    site: {listen: "192.0.2.1:1", routing: {__config__: {processor: pipeline.echo}}}
zmq:
    queues:
        in: {type: PULL, binds: ["tcp://192.0.2.1:1"], processor: pipeline.echo}
        out: {type: PUSH, binds: ["tcp://192.0.2.1:2"]}
ticks:
    interval: {t: {interval: 1, processor: pipeline.fail}}
system-events:
    startup: {e: pipeline.fail}
    shutdown: {e: pipeline.fail}
pipelines:
    echo: [passthrough]
    fail: [{log: {message: not to be seen}}]
    send: [{send-zmq-message: {queue_name: out}}]
""")

    process = start("call", "service.yaml", "echo", cwd=folder)

    assert (process.ended(), process.stdout, process.stderr) == (0, "[{}]\n", "")


def test_call_opens_what_the_pipeline_needs(start: Processes, folder: Path, write: Write) -> None:
    address = f"tcp://127.0.0.1:{free_ports(1)[0]}"
    write(f"""\
zmq:
    queues: {{out: {{type: PUB, binds: ["{address}"]}}}}
pipelines:
    send: [{{send-zmq-message: {{queue_name: out, message_path: text}}}}]
""")

    process = start("call", "service.yaml", "send", '{"text": "x"}', cwd=folder)

    assert (process.ended(), process.stdout) == (0, '[{"text": "x"}]\n')
    assert json.loads(process.stderr.splitlines()[0])["event"] == "bound"


def test_call_says_what_could_not_be_opened(invoke: Invoke, write: Write) -> None:
    write("""\
zmq:
    queues: {out: {type: PUB, binds: ["tcp://192.0.2.1:1"]}}
pipelines:
    send: [{send-zmq-message: {queue_name: out}}]
""")

    result = invoke("call", "service.yaml", "send", '"x"')

    assert (result.stdout, result.exit_code) == ("", 1)
    assert "error: EssentialFailed: zmq: " in result.stderr


@pytest.mark.parametrize(
    ("baton", "why"),
    [
        ("{", "Input data was truncated"),
        ("NaN", "JSON is malformed: invalid character (byte 0)"),
        ("[" * 100_000, "maximum recursion depth exceeded while deserializing an object"),
    ],
)
def test_call_refuses_what_is_no_json(invoke: Invoke, baton: str, why: str) -> None:
    result = invoke("call", "service.yaml", "echo", "-", stdin=baton)

    assert (result.stdout, result.exit_code) == ("", 2)
    assert result.stderr.endswith(f"\nError: the baton is no JSON: {why}\n")


@pytest.mark.parametrize("arguments", [[], ["service.yaml"], ["a", "b", "c", "d"], ["--nope"]])
def test_call_that_is_wrongly_used_exits_with_2(invoke: Invoke, arguments: list[str]) -> None:
    result = invoke("call", *arguments)

    assert (result.stdout, result.exit_code) == ("", 2)
    assert result.stderr.startswith("Usage: piped call [OPTIONS] FILE PIPELINE [BATON]\n")


def test_call_of_status_tests_exits_with_1_where_one_fails(invoke: Invoke, write: Write) -> None:
    write(
        """\
from piped import processor
from piped.status import StatusTestCase, StatusTestProcessor

@processor("test-failing")
class Failing(StatusTestProcessor):
    class Case(StatusTestCase):
        def statustest_failing(self):
            self.fail("as ordered")
""",
        "bundle_failing/__init__.py",
    )
    write("""\
plugins: {bundles: {mine: [bundle_failing]}}
pipelines:
    tests:
        - create-statustest-reporter
        - test-failing
        - wait-for-statustest-reporter: {done: true}
        - eval-lambda: {lambda: "_: 'done'"}
""")

    result = invoke("call", "service.yaml", "tests")

    assert (result.stdout, result.exit_code) == ('["done"]\n', 1)
    assert "FAILED (failures=1)\n" in result.stderr
