"""Replacing aliases by copies of what they point to."""

from __future__ import annotations

from itertools import islice
from typing import Final

from piped.document.nodes import Mapping, Node, Scalar
from piped.document.pending import Alias
from piped.document.report import (
    MAX_DEPTH,
    MAX_NODES,
    Report,
    suggestion,
    too_deep,
    too_many_nodes,
)
from piped.document.tree import Slot, copy, described, height, key_like, shortened, size, slots
from piped.errors import Problem

# Looking through targets is bounded too: aliases that contain each other copy nothing.
_MAX_STEPS: Final = 2 * MAX_NODES
_MAX_CHAIN: Final = 10


def resolve(root: Mapping, report: Report) -> None:
    """Replace every alias below a root; what cannot be replaced becomes a null, and a problem."""
    if Alias not in report.kinds:
        return
    report.kinds.remove(Alias)
    aliases = _Aliases(root, report)
    for slot in slots(root, Alias):
        aliases.settle(slot)


class _Aliases:
    """Settles aliases depth first, without recursion: a chain of them may be very long."""

    def __init__(self, root: Mapping, report: Report) -> None:
        self._root = root
        self._report = report
        self._steps = 0
        self._is_exhausted = False
        self._begun: dict[int, Slot] = {}
        self._lost: dict[int, Node] = {}

    def settle(self, slot: Slot) -> None:
        """Replace the alias in a slot, and all those that it needs first."""
        waiting = [slot]
        while waiting:
            current = waiting[-1]
            alias = current.node
            if not isinstance(alias, Alias):
                waiting.pop()
                continue
            self._begun[id(alias)] = current
            made = self._made(current, alias)
            if isinstance(made, list):
                waiting += reversed(made)
                continue
            del self._begun[id(alias)]
            current.put(self._reported(current, alias, made))

    def _reported(self, slot: Slot, alias: Alias, made: Node | Problem | None) -> Node:
        if isinstance(made, Problem):
            self._report.add(made.located(alias.place, slot.at))
        elif made is not None:
            return made
        lost = Scalar(alias.place, None)
        self._lost[id(lost)] = lost
        return lost

    def _made(self, slot: Slot, alias: Alias) -> Node | Problem | list[Slot] | None:
        """Return what replaces an alias, or the aliases to settle first, or what is wrong.

        None means that something is wrong which is reported already.
        """
        if self._is_exhausted or self._report.is_full:
            return None
        target = self._target(alias)
        if not isinstance(target, Slot):
            return target
        needed = self._needed(slot, alias, target)
        if self._steps > _MAX_STEPS:
            return self._exhausted()
        loop = next((each for each in needed if id(each.node) in self._begun), None)
        if loop:
            return self._circular(loop, alias)
        return needed or self._replacement(slot, alias, target.node)

    def _target(self, alias: Alias) -> Slot | Problem | None:
        """Return the position that an alias points to, or that of another alias on the way."""
        slot: Slot | None = None
        node: Node = self._root
        for part in alias.value.split("."):
            key = key_like(node, part) if isinstance(node, Mapping) else None
            if not isinstance(node, Mapping) or key not in node.entries:
                return self._missing(alias, slot, node)
            slot = Slot(node, key, slot, slot.depth + 1 if slot else 1)
            node = slot.node
            if isinstance(node, Alias):
                break
        return slot

    def _missing(self, alias: Alias, last: Slot | None, node: Node) -> Problem | None:
        # What is missing may stand in a file, or below an alias, that was reported already.
        if not self._report.is_complete or id(node) in self._lost:
            return None
        what = f"nothing is at '{shortened(alias.value)}', where the alias points to"
        if not isinstance(node, Mapping):
            why = f"'{last.at if last else ''}' is {described(node)}"
            return Problem("missing-alias-target", what, why=why)
        above = f"{last.at}." if last else ""
        names = (f"{above}{key}" for key in islice(node.entries, 500))
        return Problem("missing-alias-target", what, hint=suggestion(alias.value, names))

    def _needed(self, slot: Slot, alias: Alias, target: Slot) -> list[Slot]:
        if isinstance(target.node, Alias):
            return [target]
        self._steps += size(target.node)
        needed = list(slots(target.node, Alias, target))
        if alias.defaults:
            self._steps += size(alias.defaults)
            needed += slots(alias.defaults, Alias, slot)
        return needed

    def _replacement(self, slot: Slot, alias: Alias, target: Node) -> Node | Problem | None:
        self._report.aliased.add(alias.value.partition(".")[0])
        if id(target) in self._lost:
            return None
        if slot.depth + height(target) > MAX_DEPTH:
            return too_deep()
        if not self._report.has_room(size(target)):
            return self._exhausted()
        made = copy(target)
        if alias.defaults is None:
            return made
        if not isinstance(made, Mapping):
            where = shortened(alias.value)
            what = f"expected a mapping at '{where}' to complete, got {described(target)}"
            hint = "remove the defaults of the alias"
            return Problem("bad-alias", what, hint=hint)
        return Mapping(made.place, alias.defaults.entries | made.entries)

    def _exhausted(self) -> Problem:
        self._is_exhausted = True
        return too_many_nodes()

    def _circular(self, loop: Slot, alias: Alias) -> Problem:
        begun = list(self._begun.values())
        first = next(i for i, each in enumerate(begun) if each.node is loop.node)
        chain = [f"{each.at} ({each.node.place})" for each in begun[first:][:_MAX_CHAIN]]
        if len(begun) - first > _MAX_CHAIN:
            chain.append("...")
        target = shortened(alias.value)
        why = " -> ".join([*chain, target])
        return Problem("circular-alias", f"the alias of '{target}' contains itself", why=why)
