"""A page that lists a folder."""

from __future__ import annotations

import html
import os
import stat
from collections.abc import Iterator
from itertools import islice
from time import gmtime, strftime, time
from typing import Final, NamedTuple
from urllib.parse import quote

from piped.providers.web.failures import NotTaken
from piped.providers.web.static.lookup import Opened, Root, answered

MOST: Final = 2000
"""How many entries are listed; of the others the page says that there are some."""

_PAGE: Final = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>body {{ font: 16px/1.5 system-ui, sans-serif; margin: 10vh auto; max-width: 50rem;
padding: 0 1rem }} td {{ padding-right: 2rem }} td + td {{ text-align: right; color: #777 }}</style>
<h1>{title}</h1>
<table>
{rows}</table>
{more}</html>
"""


class Entry(NamedTuple):
    """What is told of a file or of a folder."""

    is_file: bool  # so that folders come first
    name: str
    facts: os.stat_result


def page_of(folder: Opened, root: Root, segments: tuple[str, ...], title: str) -> bytes:
    """Return the page of an open folder.

    Args:
        folder: What is listed.
        root: Tells which names are shown, and where links may lead.
        segments: Lead from the root to the folder.
        title: The path that the client knows.
    """
    names = _names(folder, root, segments)
    entries = sorted(_entries(names[:MOST], folder, root, segments))
    above = ['<tr><td><a href="../">../</a><td><td>\n'] if segments else []
    return _PAGE.format(
        title=html.escape(title),
        rows="".join([*above, *map(_row, entries)]),
        more="<p>There are more.</p>\n" if len(names) > MOST else "",
    ).encode("utf-8", "replace")


def _names(folder: Opened, root: Root, segments: tuple[str, ...]) -> list[str]:
    """Return the names that are shown, and one more than are listed if there are so many."""
    with answered(segments):
        descriptor = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=folder.descriptor)
    try:
        with os.scandir(descriptor) as found:
            return [*islice(filter(root.shows, (each.name for each in found)), MOST + 1)]
    finally:
        os.close(descriptor)


def _entries(
    names: list[str], folder: Opened, root: Root, segments: tuple[str, ...]
) -> Iterator[Entry]:
    """Yield what would be sent if it was asked for."""
    for name in names:
        try:
            facts = os.stat(name, dir_fd=folder.descriptor, follow_symlinks=False)
            if stat.S_ISLNK(facts.st_mode):
                target = root.open((*segments, name))
                target.close()
                facts = target.facts
        except (OSError, NotTaken):
            continue  # it is gone already, or leads nowhere
        if stat.S_ISREG(facts.st_mode) or stat.S_ISDIR(facts.st_mode):
            yield Entry(stat.S_ISREG(facts.st_mode), name, facts)


def _row(entry: Entry) -> str:
    slash = "" if entry.is_file else "/"
    link = quote(os.fsencode(entry.name), safe="") + slash
    name = html.escape(os.fsencode(entry.name).decode("utf-8", "replace")) + slash
    size = f"{entry.facts.st_size}" if entry.is_file else ""
    changed = strftime("%Y-%m-%d %H:%M", gmtime(min(max(entry.facts.st_mtime, 0), time())))
    return f'<tr><td><a href="{link}">{name}</a><td>{size}<td>{changed}\n'
