"""Random pipelines, run by the engine and by a naive evaluator of the same rules.

The evaluator reads the definitions by itself and walks the graph recursively, so it shares nothing
with the engine but the document.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from random import Random
from typing import Any, TypeAlias

from hypothesis import assume, given, note, settings
from hypothesis import strategies as st

from piped.batons import Baton
from piped.engine import Results
from piped.spec import DecidingProcessor, Processor, Step, processor
from tests.engine.conftest import compiled, send, specs

MAX_LOG = 1500
FUEL = 4


class Exhausted(BaseException):
    """Raised when a graph has too many ways to walk them all."""


class World:
    """What all batons of one run share: what happened, and how many turns of loops are left."""

    def __init__(self, sees_errors: bool) -> None:
        self.log: list[str] = []
        self.fuel = FUEL
        self.sees_errors = sees_errors

    def note(self, name: str, error: BaseException | None) -> None:
        if len(self.log) > MAX_LOG:
            raise Exhausted
        self.log.append(f"{name} {error!r}" if self.sees_errors else name)


def act(kind: str, name: str, baton: Baton, error: BaseException | None) -> Baton:
    """Do what a step of a random pipeline does."""
    world: World = baton["world"]
    world.note(name, error)
    baton["marks"].append(name)
    if kind == "fail" or (kind == "flaky" and len(world.log) % 2):
        raise ValueError(f"{name} {len(world.log)}")
    return {"world": world, "marks": [name]} if kind == "replace" else baton


def decide(kind: str, indexes: Sequence[int], baton: Baton, consumers: int) -> list[int]:
    """Return what a decider of a random pipeline chooses."""
    world: World = baton["world"]
    world.note(kind, None)
    if kind == "choose":
        chosen = [index % consumers for index in indexes]
        return chosen if consumers > 1 else chosen[:1]
    if world.fuel:  # the first consumer is the way back
        world.fuel -= 1
        return list(range(consumers))
    return list(range(1, consumers))


@processor("act")
class Act(Processor):
    """Do something, at once."""

    kind: str
    name: str
    slow: bool

    def process(self, baton: Baton) -> Baton:
        return act(self.kind, self.name, baton, sys.exc_info()[1])


@processor("act")
class SlowAct(Act):
    """Do something, and wait where ``slow`` is set."""

    @property
    def is_async(self) -> bool:
        return self.slow

    def step(self) -> Step:
        async def step(baton: Baton) -> Baton:
            await asyncio.sleep(0)
            return self.process(baton)

        return step if self.slow else self.process


@processor("decide")
class Decide(DecidingProcessor):
    """Decide something."""

    kind: str
    indexes: list[int]

    def choose(self, baton: Baton, consumers: int) -> Sequence[int]:
        return decide(self.kind, self.indexes, baton, consumers)


# --- random documents


Definition: TypeAlias = dict[str, Any]


@dataclass
class Maker:
    """Makes random pipelines; the steps are numbered in the order in which they are made."""

    chance: Random
    number: int = 0
    loops: bool = False
    made: list[Definition] = field(default_factory=list)

    def document(self) -> dict[str, Definition]:
        self.loops = self.chance.random() < 0.5
        document: dict[str, Definition] = {}
        for name in ("a", "b", "p"):
            self.made = []
            document[name] = self.pipeline(list(document))
            self.join()
        return document

    def pipeline(self, known: list[str]) -> Definition:
        made: Definition = {"chained_consumers": self.steps(known, 0, least=1)}
        if self.chance.randrange(4) == 0:
            made["consumers"] = self.steps(known, 1)
        self.errors(made, known, 0)
        return made

    def steps(self, known: list[str], depth: int, least: int = 0) -> list[Definition]:
        most = 3 if depth == 0 else 2 if depth < 3 else 0
        return [self.step(known, depth) for _ in range(self.chance.randint(least, most))]

    def errors(self, made: Definition, known: list[str], depth: int) -> None:
        if self.chance.randrange(3) == 0:
            made["error_consumers"] = self.steps(known, depth + 1)
        if self.chance.randrange(6) == 0:
            made["chained_error_consumers"] = self.steps(known, depth + 1)

    def step(self, known: list[str], depth: int) -> Definition:
        kinds = ["note", "replace", "fail", "flaky", "choose", *(["inline"] if known else [])]
        kinds += ["again"] if self.loops and self.made else []
        kind = self.chance.choice(kinds)
        made: Definition = {}
        if kind == "inline":
            made["inline-pipeline"] = self.chance.choice(known)
        elif kind in ("choose", "again"):
            indexes = self.chance.sample(range(4), self.chance.randrange(3))
            made["decide"] = {"kind": kind, "indexes": indexes}
        else:
            slow = self.chance.random() < 0.5
            made["act"] = {"kind": kind, "name": f"{kind}{self.number}", "slow": slow}
        if kind != "inline":
            self.number += 1
            made["id"] = f"id{self.number}"
            self.made.append(made)
        if kind == "again":
            made["consumers"] = [{"existing": self.chance.choice(self.made)["id"]}]
        for key in ("chained_consumers", "consumers"):
            if kind != "again" and self.chance.randrange(4) == 0:
                made[key] = self.steps(known, depth + 1)
        self.errors(made, known, depth)
        return made

    def join(self) -> None:
        """Let some steps have later ones, which exist already, as consumers too."""
        for _ in range(self.chance.randrange(3) if len(self.made) > 1 else 0):
            first, later = sorted(self.chance.sample(range(len(self.made)), 2))
            target = {"existing": self.made[later]["id"]}
            self.made[first].setdefault("consumers", []).append(target)


# --- the naive evaluator


@dataclass(eq=False)
class Naive:
    """A step, its consumers and error consumers."""

    definition: Definition
    consumers: list[Naive] = field(default_factory=list)
    errors: list[Naive] = field(default_factory=list)


class Reader:
    """Reads one pipeline of a document into a graph of naive steps."""

    def __init__(self, document: dict[str, Definition], name: str) -> None:
        self.document = document
        self.top = document[name]
        self.steps: dict[int, Naive] = {}
        self.ids: dict[str, Naive] = {}
        self.collect(self.top)

    def collect(self, definition: Definition) -> None:
        for step in below(definition):
            if "id" in step:
                self.steps[id(step)] = self.ids[step["id"]] = Naive(step)
            self.collect(step)

    def sources(self) -> list[Naive]:
        sources = self.chain(self.top.get("chained_consumers", []))
        for step in self.top.get("consumers", []):
            sources = sources + self.read(step)[0]
        errors = self.errors(self.top)
        for source in unique(sources):
            source.errors += errors
        return sources

    def chain(self, steps: list[Definition]) -> list[Naive]:
        read = [self.read(step) for step in steps]
        for (_, exits), (entries, _) in pairwise(read):
            for each in exits:
                each.consumers += entries
        return read[0][0] if read else []

    def errors(self, definition: Definition) -> list[Naive]:
        found = self.chain(definition.get("chained_error_consumers", []))
        for step in definition.get("error_consumers", []):
            found = found + self.read(step)[0]
        return found

    def read(self, step: Definition) -> tuple[list[Naive], list[Naive]]:
        """Return where batons enter a step, and where they leave it."""
        if "existing" in step:
            return [self.ids[step["existing"]]], [self.ids[step["existing"]]]
        if "inline-pipeline" in step:
            entries = Reader(self.document, step["inline-pipeline"]).sources()
            exits = [each for each in everything(entries) if not each.consumers]
        else:
            entries = exits = [self.steps[id(step)]]
        following = self.chain(step.get("chained_consumers", []))
        for consumer in step.get("consumers", []):
            following = following + self.read(consumer)[0]
        for each in exits:
            each.consumers += following
        errors = self.errors(step)
        for each in unique(entries):
            each.errors += errors
        return entries, exits


FLOW = ("chained_consumers", "consumers", "chained_error_consumers", "error_consumers")


def below(definition: Definition) -> Iterator[Definition]:
    for key in FLOW:
        yield from definition.get(key, [])


def unique(steps: list[Naive]) -> list[Naive]:
    return list(dict.fromkeys(steps))


def everything(steps: list[Naive]) -> list[Naive]:
    found: list[Naive] = []

    def visit(step: Naive) -> None:
        if step not in found:
            found.append(step)
            for each in (*step.consumers, *step.errors):
                visit(each)

    for step in steps:
        visit(step)
    return found


def evaluate(step: Naive, baton: Baton, error: Exception | None, results: Results) -> None:
    """Send a baton through a step and all that follows it."""
    try:
        output, following = baton, step.consumers
        if "act" in step.definition:
            options = step.definition["act"]
            output = act(options["kind"], options["name"], baton, error)
        else:
            options = step.definition["decide"]
            count = max(len(following), 1)
            chosen = decide(options["kind"], options["indexes"], baton, count)
            results.stopped += not chosen
            following = [following[index] for index in chosen] if following else []
        if not following:
            results.append(output)
        for consumer in following:
            evaluate(consumer, output, error, results)
    except Exception as failure:
        if not step.errors:
            raise
        for consumer in step.errors:
            evaluate(consumer, baton, failure, results)


# --- the comparison


def outcome_of(run: Callable[[Baton], Results], sees_errors: bool) -> Any:
    """Return everything that can be seen of a run."""
    world = World(sees_errors)
    try:
        results = run({"world": world, "marks": []})
    except Exception as error:
        return repr(error), world.log
    return [each["marks"] for each in results], results.stopped, world.log


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32))
def test_the_engine_does_what_the_rules_say(seed: int) -> None:
    maker = Maker(Random(seed))
    document = maker.document()
    note(json.dumps(document))
    quick, problems = compiled(json.dumps(document), specs(Act, Decide))
    assume(not [each for each in problems if each.code == "duplicate-consumer"])
    assert not [each for each in problems if each.code != "unreachable-step"]
    slow, _ = compiled(json.dumps(document), specs(SlowAct, Decide))

    def naive(baton: Baton) -> Results:
        results = Results()
        for source in Reader(document, "p").sources():
            evaluate(source, baton, None, results)
        return results

    try:
        expected = outcome_of(naive, not maker.loops)
    except (Exhausted, RecursionError):
        assume(False)
    assert outcome_of(lambda baton: send(quick["p"], baton), not maker.loops) == expected
    assert outcome_of(lambda baton: send(slow["p"], baton), not maker.loops) == expected
