"""Dead letters, taken out of the file to which append-to-file has written them."""

from __future__ import annotations

import itertools
import os
import shutil
from pathlib import Path
from typing import Annotated, Any

from piped import Baton, BatonPath, Meta, Processor, processor
from piped.batons import getter, setter
from piped.spec import Step

FILE = Meta(min_length=1, description="The file of the letters, one a line.")


@processor("take-letters")
class TakeLetters(Processor):
    """Set the file of the letters aside, as ``FILE.taken``, and put its first lines into the baton.

    From now on letters are written to a new file. What was set aside earlier and is not dropped yet
    comes first. Changes the baton in place.

    Example:
        take-letters: {file: dead-letters.jsonl, output_path: lines}
        in:  {}
        out: {lines: []}

    Raises:
        OSError: The file cannot be moved or read.
    """

    file: Annotated[str, FILE]
    most: Annotated[int, Meta(ge=1, description="How many lines are taken at most.")] = 1000
    output_path: Annotated[BatonPath, Meta(description="Where the lines go.")] = BatonPath("lines")

    def step(self) -> Step:
        file, taken, put = Path(self.file), taken_of(self.file), setter(self.output_path)

        def step(baton: Baton) -> Baton:
            if not taken.exists():
                if not file.exists():
                    return put(baton, [])
                os.replace(file, taken)
            with taken.open("rb") as lines:
                return put(baton, list(itertools.islice(lines, self.most)))

        return step


@processor("drop-letters")
class DropLetters(Processor):
    """Remove from ``FILE.taken`` the lines that were taken; the baton stays as it is.

    Example:
        drop-letters: {file: dead-letters.jsonl, lines_path: lines}
        in:  {lines: []}
        out: {lines: []}

    Raises:
        OSError: What is left cannot be written.
    """

    file: Annotated[str, FILE]
    lines_path: Annotated[BatonPath, Meta(description="Where the lines are.")] = BatonPath("lines")

    def step(self) -> Step:
        taken, get = taken_of(self.file), getter(self.lines_path)

        def step(baton: Baton) -> Baton:
            lines: list[Any] = get(baton)
            if lines:
                drop(taken, sum(map(len, lines)))
            return baton

        return step


def taken_of(file: str) -> Path:
    """Return the file of the letters that were set aside."""
    return Path(f"{file}.taken")


def drop(path: Path, size: int) -> None:
    """Remove the first bytes of a file; without any left, the file."""
    rest = path.with_name(f"{path.name}.rest")
    with path.open("rb") as source, rest.open("wb") as target:
        source.seek(size)
        shutil.copyfileobj(source, target)
    if rest.stat().st_size:
        os.replace(rest, path)
    else:
        path.unlink()
        rest.unlink()
