"""What a step costs: `python bench/engine.py` prints a Markdown table.

Each case runs three ways in one process: compiled by the engine, by a naive recursive evaluator of
the same graph, and written out by hand. The best of several passes counts; the ratios hold on any
machine, the nanoseconds only on this one.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from machine import heading

from piped.batons import Baton
from piped.document import parse
from piped.engine import DefinitionReader, GraphBuilder, GraphNode, Pipeline, link
from piped.processors.code import EvalLambda
from piped.processors.flow import Passthrough
from piped.processors.json_text import EncodeJson
from piped.processors.pipelines import RunPipeline
from piped.spec import DecidingProcessor, Step, spec_of

PASSES = 15
SECONDS_A_PASS = 0.02

Run = Callable[[Baton], Any]


@dataclass
class Case:
    """Pipelines, the one to call, how many steps a baton takes, and the same by hand."""

    name: str
    steps: int
    text: str
    by_hand: Callable[[list[Step]], Run]
    baton: Callable[[], Baton] = dict


def chain(steps: list[Step]) -> Run:
    def run(baton: Baton) -> Any:
        results = []
        for step in steps:
            baton = step(baton)
        results.append(baton)
        return results

    return run


def branch(steps: list[Step]) -> Run:
    begin, one, two = steps

    def run(baton: Baton) -> Any:
        baton = begin(baton)
        return [one(baton), two(baton)]

    return run


def scope(steps: list[Step]) -> Run:
    first, second, third, on_error = steps

    def run(baton: Baton) -> Any:
        given = first(baton)
        try:
            return [third(second(given))]
        except Exception:
            return [on_error(given)]

    return run


def tutorial(_steps: list[Step]) -> Run:
    def diff(baton: Baton) -> Baton:
        baton["diff"] = abs(baton["square"] - baton["sum"])
        return baton

    def run(baton: Baton) -> Any:
        numbers = baton["numbers"]
        baton["sum"] = sum(n * n for n in numbers)
        baton["square"] = sum(numbers) ** 2
        diff(baton)
        answer = {key: baton[key] for key in ("sum", "square", "diff")}
        baton["content"] = json.dumps(answer)
        return [baton]

    return run


TUTORIAL = """
diff:
  - eval-lambda: {output_path: diff, lambda: "b: abs(b['square'] - b['sum'])"}
p:
  - eval-lambda: {input_path: numbers, output_path: sum, lambda: "ns: sum(n * n for n in ns)"}
  - eval-lambda: {input_path: numbers, output_path: square, lambda: "ns: sum(ns) ** 2"}
  - run-pipeline: {pipeline: diff}
  - eval-lambda:
      output_path: content
      lambda: "b: {key: b[key] for key in ('sum', 'square', 'diff')}"
  - encode-json: {input_path: content}
"""

NOTHING = "passthrough"
SCOPED = "[passthrough, {passthrough: {error_consumers: [passthrough]}}, passthrough]"

CASES = [
    Case("chain of 6", 6, f"p: [{', '.join([NOTHING] * 6)}]", chain),
    Case("branch of 2", 3, "p: [{passthrough: {consumers: [passthrough, passthrough]}}]", branch),
    Case("error scope", 3, f"p: {SCOPED}", scope),
    Case("the tutorial's job", 6, TUTORIAL, tutorial, lambda: {"numbers": [1, 2, 3]}),
]


def built(text: str) -> Pipeline:
    """Return the pipeline `p` of a YAML text, ready to run."""
    node, problems = parse(text)
    components = (Passthrough, EvalLambda, EncodeJson, RunPipeline)
    specs = {spec.name: spec for each in components if (spec := spec_of(each))}
    reader = DefinitionReader(specs)
    reader.read(node)
    builder = GraphBuilder(reader, specs)
    graphs = [graph for name in reader.definitions if (graph := builder.build(name))]
    if problems or reader.problems or builder.problems:
        raise SystemExit("\n".join(map(str, [*problems, *reader.problems, *builder.problems])))
    pipelines = {graph.name: Pipeline(graph) for graph in graphs}
    link(pipelines)
    for pipeline in pipelines.values():
        pipeline.compile()
    return pipelines["p"]


def naive(pipeline: Pipeline) -> Run:
    """Return a recursive evaluator that looks everything up for each baton."""
    steps = {node: node.processor.step() for node in pipeline.graph.nodes()}

    def visit(node: GraphNode, baton: Baton, results: list[Any]) -> None:
        try:
            output = steps[node](baton)
            consumers = node.consumers
            if isinstance(node.processor, DecidingProcessor):
                chosen = node.processor.choose(output, len(consumers))
                consumers = [consumers[index] for index in chosen]
            if not consumers:
                results.append(output)
            for consumer in consumers:
                visit(consumer, output, results)
        except Exception:
            if not node.error_consumers:
                raise
            for consumer in node.error_consumers:
                visit(consumer, baton, results)

    def run(baton: Baton) -> list[Any]:
        results: list[Any] = []
        for source in pipeline.graph.sources:
            visit(source, baton, results)
        return results

    return run


def best(runs: list[Run], make: Callable[[], Baton]) -> list[float]:
    """Return the nanoseconds of one call of each, the best of several passes taken in turn."""
    counts, found = [], [float("inf")] * len(runs)
    for run in runs:
        count = 1
        while timed(run, make, count) < SECONDS_A_PASS * 1e9:
            count *= 2
        counts.append(count)
    for _ in range(PASSES):
        for i, run in enumerate(runs):
            found[i] = min(found[i], timed(run, make, counts[i]) / counts[i])
    return found


def timed(run: Run, make: Callable[[], Baton], count: int) -> float:
    baton = make()
    begun = time.perf_counter_ns()
    for _ in range(count):
        run(baton)
    return time.perf_counter_ns() - begun


def main() -> None:
    """Measure every case and print the table."""
    print(f"{heading('piped-server')}\n")
    print("| case | steps | engine ns/step | naive | by hand | engine : naive | engine : by hand |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    for case in CASES:
        pipeline = built(case.text)
        steps = [node.processor.step() for node in pipeline.graph.nodes()]
        runs = [pipeline.now, naive(pipeline), case.by_hand(steps)]
        engine, naively, by_hand = (each / case.steps for each in best(runs, case.baton))
        print(
            f"| {case.name} | {case.steps} | {engine:.0f} | {naively:.0f} | {by_hand:.0f}"
            f" | {engine / naively:.2f} | {engine / by_hand:.2f} |"
        )


if __name__ == "__main__":
    main()
