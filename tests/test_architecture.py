"""The arrows between the rooms point one way: every import is read, nothing is imported."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

import piped

HOUSE: Final = Path(piped.__file__).parent

ORDER: Final = (
    "errors",
    "batons",
    "sampling",
    "document",
    "spec",
    "resources",
    "engine",
    "processors",
    "providers",
    "workers",
    "status",  # it brings processors, as bundles do; nobody imports it but by its name
    "shipped",
    "bundles",
    "blueprint",
    "pool_checks",
    "checks",
    "drawing",
    "chart",
    "wiring",
    "difference",
    "reload",
    "app",
    "observe",
    "console",
    "cli",
    "testing",
)
"""The rooms, from the top down: each imports from those above it only."""


NEVER: Final = {
    "processors": ("engine", "document", "providers", "resources"),
    "providers": ("processors", "engine", "workers"),
    "status": ("console", "cli"),
    "console": ("status", "cli"),
}

EXCEPT: Final = {
    ("providers", "engine.journey"),  # who makes batons gives each journey its number
}

OUTSIDE: Final = ("", "__main__", "plugins")  # the front door: it may name any room


def imports_of(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the line and the dotted name of each thing of Piped that a module imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            for each in node.names:
                yield node.lineno, f"{node.module}.{each.name}"
        elif isinstance(node, ast.Import):
            for each in node.names:
                yield node.lineno, each.name


def name_of(path: Path) -> str:
    """Return the dotted name of a module below `piped`."""
    parts = path.relative_to(HOUSE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES: Final = {name_of(path): path for path in sorted(HOUSE.rglob("*.py"))}
FOLDERS: Final = {name_of(path) for path in MODULES.values() if path.name == "__init__.py"}


def target_of(dotted: str) -> str | None:
    """Return the module below `piped` that a dotted name belongs to; None outside of Piped."""
    name = dotted.removeprefix("piped.")
    if name == dotted:
        return "" if dotted == "piped" else None
    while name and name not in MODULES:
        name = name.rpartition(".")[0]
    return name


def edges() -> Iterator[tuple[str, int, str, str]]:
    """Yield who imports what: module, line, the module imported from, the dotted name."""
    for module, path in MODULES.items():
        for line, dotted in imports_of(path):
            target = target_of(dotted)
            if target:
                yield module, line, target, dotted


def room(module: str) -> str:
    return module.partition(".")[0]


def broken(rule: str) -> list[str]:
    """Return the sentences that the imports break."""
    return [
        f"src/piped/{MODULES[module].relative_to(HOUSE)}:{line}: {sentence}"
        for module, line, target, dotted in edges()
        if (sentence := RULES[rule](module, target, dotted))
    ]


def upwards(module: str, target: str, _dotted: str) -> str:
    own, other = room(module), room(target)
    if own in OUTSIDE or own == other or ORDER.index(other) < ORDER.index(own):
        return ""
    return f"{own} imports {other}, which is below it: a room imports only from rooms above it"


def strangers(module: str, target: str, _dotted: str) -> str:
    own = room(module)
    if (own, target) in EXCEPT:
        return ""
    for other in NEVER.get(own, ()):
        if f"{target}.".startswith(f"{other}."):
            return f"{own} imports {other}: they reach each other through spec and resources only"
    return ""


def neighbours(module: str, target: str, _dotted: str) -> str:
    """Tell of topics and systems that import one another.

    What declares no component is no topic, but a base that several of them share.
    """
    own, other = module.split(".")[:2], target.split(".")[:2]
    if own == other or own[0] != other[0] or len(other) < 2:
        return ""
    text = MODULES[target].read_text()
    if own[0] == "providers" and ("\n@provider(" in text or MODULES[target].name == "__init__.py"):
        return f"{module} imports {target}: a provider never imports another"
    if own[0] == "processors" and "\n@processor(" in text:
        return f"{module} imports {target}: a topic never imports another"
    return ""


def private(module: str, _target: str, dotted: str) -> str:
    parts = dotted.removeprefix("piped.").split(".")
    hidden = next((i for i, part in enumerate(parts) if is_private(part)), None)
    if hidden is None:
        return ""
    folder = ".".join(parts[:hidden])
    if folder in FOLDERS:
        own = module if module in FOLDERS else module.rpartition(".")[0]
        return "" if f"{own}.".startswith(f"{folder}.") else f"{dotted} is private to its folder"
    return "" if module == folder else f"{dotted} is private to its module"


def is_private(part: str) -> bool:
    return part.startswith("_") and not part.startswith("__")


RULES: Final = {
    "upwards": upwards,
    "strangers": strangers,
    "neighbours": neighbours,
    "private": private,
}


@pytest.mark.parametrize("rule", RULES)
def test_no_import_breaks_a_rule_of_the_house(rule: str) -> None:
    assert broken(rule) == []


def test_every_room_is_in_the_order() -> None:
    rooms = {room(module) for module in MODULES} - set(OUTSIDE)

    assert rooms <= set(ORDER)


def test_imports_are_absolute() -> None:
    relative = [
        f"{module}:{node.lineno}"
        for module, path in MODULES.items()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.level
    ]

    assert relative == []
