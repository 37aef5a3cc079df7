"""Where blocks begin and end."""

from __future__ import annotations

import pytest

from piped.engine.blocks import Block, Compiler
from tests.engine.conftest import OTHERS, QUICK, SLOW, compiled, specs


def blocks_of(text: str, *components: type) -> list[Block]:
    """Return the blocks of the pipeline `p` of a YAML text."""
    pipelines, problems = compiled(text, specs(*OTHERS, *components))
    assert problems == []
    compiler = Compiler()
    compiler.compile(pipelines["p"].graph.sources)
    return list(compiler.blocks.values())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("p: [passthrough, passthrough, passthrough]", [3]),
        ("p: {consumers: [passthrough, passthrough]}", [1, 1]),
        ("p: [passthrough, {passthrough: {consumers: [passthrough]}}, passthrough]", [2, 1, 1]),
        (
            "p: [passthrough, {passthrough: {error_consumers: [passthrough]}}, passthrough]",
            [1, 2, 1],
        ),
        ("p: [passthrough, stop, passthrough]", [1, 1]),
        ("p: [passthrough, {passthrough: {id: b}}, {existing: b}]", [1, 1]),
        ("p: [{again: {id: b}}, {existing: b}]", [0]),
        ("p: {consumers: [passthrough, {passthrough: {id: b}}, {existing: b}]}", [1, 1]),
    ],
    ids=["line", "sources", "branch", "scope", "decider", "loop", "own loop", "joined source"],
)
def test_a_block_ends_at_branches_joins_deciders_and_before_error_scopes(
    text: str, expected: list[int]
) -> None:
    assert [len(block.steps) for block in blocks_of(text, *QUICK)] == expected


def test_a_block_is_cut_at_the_steps_that_wait() -> None:
    text = "p: [passthrough, {note: {name: a}}, {note: {name: b}}, passthrough, passthrough]"

    [block] = blocks_of(text, *SLOW)

    assert [(len(steps), waiting is not None) for steps, waiting in block.runs] == [
        (1, True),
        (0, True),
        (2, False),
    ]


def test_only_ways_back_are_the_heads_of_loops() -> None:
    text = """
        p:
          - passthrough: {consumers: [{passthrough: {id: b, consumers: [{existing: e}]}}]}
          - passthrough: {id: e, error_consumers: [{passthrough: {consumers: [{existing: b}]}}]}
    """

    blocks = blocks_of(text, *QUICK)

    assert [(each.nodes[0].at[-30:], each.is_main) for each in blocks if each.is_loop_head] == [
        ("passthrough.consumers[0].passthrough"[-30:], True)
    ]


def test_what_only_error_consumers_reach_is_not_main() -> None:
    text = "p: [{passthrough: {error_consumers: [passthrough]}}, passthrough]"

    assert [each.is_main for each in blocks_of(text, *QUICK)] == [True, False]
