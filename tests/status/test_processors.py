# ruff: noqa: PT009, UP005 - status test cases have the assertions of unittest
from __future__ import annotations

import asyncio
import io
import json
import re
from typing import Any, ClassVar

import pytest
from structlog.testing import capture_logs

from piped.batons import BatonPath
from piped.document.nodes import Entry, Mapping, Scalar
from piped.errors import BatonError, Place
from piped.resources import Resource
from piped.spec import Decoder, Dependency, dependencies_of, processor, spec_of
from piped.status import Reporter, StatusTestCase, StatusTestProcessor
from piped.status.processors import CreateStatustestReporter, WaitForStatustestReporter
from tests.conftest import Clock

pytestmark = pytest.mark.anyio

HERE = Place("service.yaml", 1, 1)


@processor("test-client")
class ClientProcessor(StatusTestProcessor):
    """Test the sums."""

    dependencies: ClassVar[dict[str, str]] = {"sum_pipeline": "pipeline.zmq.sum"}

    class SumClient(StatusTestCase):
        sum_pipeline: Any

        def setUp(self, sum_pipeline: Any) -> None:  # type: ignore[override] # its resources
            self.sum_pipeline = sum_pipeline

        async def statustest_simple_sum(self) -> None:
            results = await self.sum_pipeline('{"numbers": [1, 2, 3]}')
            self.assertEquals(json.loads(results[0])["sum"], 14)


@processor("test-three")
class ThreeProcessor(StatusTestProcessor):
    """Have one success, one failure, one skip."""

    class Three(StatusTestCase):
        number: int

        async def setUp(self, number: int) -> None:  # type: ignore[override] # its resources
            self.number = number

        def statustest_good(self) -> None:
            self.assertEqual(self.number, 3)

        def statustest_bad(self) -> None:
            self.assertEqual(self.number, 4)

        def statustest_never(self) -> None: ...

        statustest_never.skip = "not yet"  # type: ignore[attr-defined] # as in the original

    async def get_namespace(self, baton: Any) -> dict[str, Any]:
        return {"number": baton["number"]}


class Service:
    exit_code = 0


async def sums(text: str) -> list[str]:
    return [json.dumps({"sum": sum(n * n for n in json.loads(text)["numbers"])})]


def bind(component: Any, **resources: Any) -> Any:
    """Bind the dependencies of a component, by the last part of their names."""
    for each in dependencies_of(component):
        resource = Resource(each.name)
        if (value := resources.get(each.name.rpartition(".")[2])) is not None:
            resource.ready(value)
        each.resource = resource
    return component


def new_baton(**more: Any) -> tuple[dict[str, Any], io.StringIO]:
    stream = io.StringIO()
    create = CreateStatustestReporter(arguments={"stream_path": "stream"})
    return create.process({"stream": stream, **more}), stream


async def test_a_pipeline_is_called_with_a_baton_and_awaited() -> None:
    baton, stream = new_baton()
    client = bind(ClientProcessor(), sum=sums)

    returned = await client.process(baton)

    assert returned is baton
    assert stream.getvalue() == (
        "tests.status.test_processors\n"
        "  SumClient\n"
        "    statustest_simple_sum ...                                              [OK]\n"
    )


async def test_the_whole_run_is_reported_and_makes_the_process_exit_with_1() -> None:
    baton, stream = new_baton(number=3)
    service = Service()

    await bind(ThreeProcessor()).process(baton)
    bind(WaitForStatustestReporter(done=True), service=service).process(baton)

    report = stream.getvalue()
    tree = report.splitlines()[2:5]
    assert [" ".join(line.split()) for line in tree] == [
        "statustest_bad ... [FAIL]",
        "statustest_good ... [OK]",
        "statustest_never ... [SKIPPED]",
    ]
    assert {len(line) for line in tree} == {79}
    assert "AssertionError: 3 != 4" in report
    assert "unittest" not in report
    assert "cases.py" not in report
    assert re.search(
        r"Ran 3 tests in 0\.\d{3}s\n\nFAILED \(skips=1, failures=1, successes=1\)\n$", report
    )
    assert service.exit_code == 1


async def test_a_run_without_failures_leaves_the_exit_code_alone() -> None:
    baton, stream = new_baton()
    service = Service()

    await bind(ClientProcessor(), sum=sums).process(baton)
    bind(WaitForStatustestReporter(done=True), service=service).process(baton)

    assert stream.getvalue().endswith("\n\nPASSED (successes=1)\n")
    assert service.exit_code == 0


async def test_failures_count_even_where_nobody_asks_for_the_summary() -> None:
    baton, stream = new_baton(number=4)
    service = Service()

    await bind(ThreeProcessor()).process(baton)
    before = stream.getvalue()
    bind(WaitForStatustestReporter(), service=service).process(baton)

    assert stream.getvalue() == before
    assert service.exit_code == 1


class TestWithAClock:
    @pytest.fixture
    def anyio_backend(self, movable_loop: Any) -> Any:
        return movable_loop

    async def test_a_resource_that_stays_away_is_an_error_of_each_test(self, clock: Clock) -> None:
        baton, stream = new_baton()
        client = bind(ClientProcessor())
        next(iter(dependencies_of(client))).resource.lost("no peer")  # type: ignore[union-attr] # bound

        running = asyncio.create_task(client.process(baton))
        await clock.advance(0.0)
        await clock.advance(10.0)
        await running
        baton["reporter"].summary()

        assert "Unavailable: 'pipeline.zmq.sum' is not available: no peer" in stream.getvalue()
        assert stream.getvalue().endswith("FAILED (errors=1)\n")


async def test_a_namespace_that_fails_is_an_error_of_each_test() -> None:
    baton, stream = new_baton()

    await ThreeProcessor().process(baton)
    baton["reporter"].summary()

    assert "KeyError: 'number'" in stream.getvalue()
    assert stream.getvalue().endswith("FAILED (skips=1, errors=2)\n")


async def test_results_go_to_a_processor_one_by_one() -> None:
    batons: list[dict[str, Any]] = []
    create = bind(
        CreateStatustestReporter(
            processor=Dependency("pipeline.results"), arguments={"stream": io.StringIO()}
        ),
        results=batons.append,
    )
    baton = create.process({"number": 3})

    await ThreeProcessor().process(baton)

    assert [each["status"] for each in batons] == ["failure", "success", "skipped"]
    assert str(batons[0]["failure"]) == "3 != 4"
    assert batons[1]["test"].id().endswith("ThreeProcessor.Three.statustest_good")
    assert batons[2]["reason"] == "not yet"
    assert all(each["reporter"] is baton["reporter"] for each in batons)


async def test_a_result_that_cannot_be_delivered_is_logged() -> None:
    def fail(baton: Any) -> None:
        raise ValueError("no")

    create = CreateStatustestReporter(
        processor=Dependency("pipeline.results"), arguments={"stream": io.StringIO()}
    )
    baton = bind(create, results=fail).process({})

    with capture_logs() as lines:
        await bind(ClientProcessor(), sum=sums).process(baton)

    assert [(each["event"], each["to"]) for each in lines] == [
        ("test result not delivered", "pipeline.results")
    ]


def test_a_run_without_a_reporter_says_what_is_missing() -> None:
    with pytest.raises(BatonError) as caught:
        WaitForStatustestReporter().process({})

    assert str(caught.value) == (
        "expected a reporter at 'reporter', got nothing:"
        " create-statustest-reporter has to come before"
    )


def test_an_argument_that_is_not_in_the_baton_is_an_error() -> None:
    create = CreateStatustestReporter(arguments={"stream_path": "request"})

    with pytest.raises(BatonError) as caught:
        create.process({})

    assert str(caught.value) == "nothing at 'request' for the reporter's argument 'stream'"


class OwnReporter(Reporter):
    """A report of its own."""


def test_the_reporter_may_be_a_class_of_the_user() -> None:
    create = CreateStatustestReporter(
        reporter=f"{__name__}.OwnReporter", output_path=BatonPath("x.y")
    )

    baton = create.process({})

    assert type(baton["x"]["y"]).__name__ == "OwnReporter"


def problems_of(component: type, **parameters: Any) -> list[str]:
    spec = spec_of(component)
    assert spec is not None
    decoder = Decoder()
    node = Mapping(HERE, {key: Entry(HERE, value) for key, value in parameters.items()})
    decoder.component(spec, node, "p[0]")
    return [str(each) for each in decoder.problems]


def test_a_reporter_that_is_not_there_is_a_problem_of_the_document() -> None:
    arguments = Mapping(HERE, {"stream_path": Entry(HERE, Scalar(HERE, 3))})

    problems = problems_of(
        CreateStatustestReporter, reporter=Scalar(HERE, "json.Nope"), arguments=arguments
    )

    assert problems == [
        "service.yaml:1:1: error[wrong-value]: expected a path in 'stream_path', got 3\n"
        "    at: p[0]",
        "service.yaml:1:1: error[wrong-value]: 'json' has no 'Nope'\n"
        "    at: p[0]\n"
        "    hint: expected the dotted name of a class",
    ]


@processor("test-old")
class OldProcessor(StatusTestProcessor):
    """Written for Piped 0.x."""

    def configure(self, runtime_environment: Any) -> None: ...


def test_what_was_written_for_the_original_is_a_problem_of_the_document() -> None:
    problems = problems_of(OldProcessor)

    assert problems == [
        "service.yaml:1:1: error[old-interface]: 'OldProcessor.configure' is of Piped 0.x:"
        " nobody calls it\n"
        "    at: p[0]\n"
        "    hint: name resources in the class variable 'dependencies'; see docs/differences.md"
    ]
