"""Names that lead to other names, such as pipelines that call or inline one another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from typing import TypeAlias

Ways: TypeAlias = Mapping[str, Sequence[str] | Set[str]]


def groups(ways: Ways) -> Iterator[list[str]]:
    """Yield all names in groups: those that lead to one another are in the same one.

    What a group leads to comes before it. Each name and each way is looked at once (Tarjan 1972).
    """
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}  # the first name that leads here, as far as is known
    open_: list[str] = []  # those in no group yet
    done: set[str] = set()
    for start in ways:
        path = [] if start in number else [(start, iter(ways[start]))]
        while path:
            name, ahead = path[-1]
            if name not in number:
                number[name] = lowest[name] = len(number)
                open_.append(name)
            following = next((each for each in ahead if each in ways and each not in done), None)
            if following is None:
                path.pop()
                if path:
                    above = path[-1][0]
                    lowest[above] = min(lowest[above], lowest[name])
                if lowest[name] == number[name]:
                    group = [open_.pop()]
                    while group[-1] != name:
                        group.append(open_.pop())
                    done.update(group)
                    yield group
            elif following in number:
                lowest[name] = min(lowest[name], number[following])
            else:
                path.append((following, iter(ways[following])))


def is_cycle(group: Sequence[str], ways: Ways) -> bool:
    """Tell whether the names of a group lead back to themselves."""
    return len(group) > 1 or group[0] in ways[group[0]]


def way_back(ways: Ways, start: str) -> list[str]:
    """Return the names on a shortest way from a name of a cycle to itself, both ends included."""
    came_from: dict[str, str] = {}
    ahead = [start]
    for name in ahead:
        for following in ways[name]:
            if following in ways and following not in came_from:
                came_from[following] = name
                ahead.append(following)
        if start in came_from:
            break
    way = [start]
    while len(way) == 1 or way[-1] != start:
        way.append(came_from[way[-1]])
    return way[::-1]
