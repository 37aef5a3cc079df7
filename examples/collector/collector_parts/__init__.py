"""What the collector has of its own: files that are whole, or not there."""

from __future__ import annotations

import asyncio
import os
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from piped import Baton, BatonError, InputOutputProcessor, Meta, processor

NAME = Meta(pattern="^[^/\x00]*$", max_length=100, description="How the names of the files begin.")


@processor("write-file")
class WriteFile(InputOutputProcessor):
    """Write bytes into a new file of a folder, which is whole as soon as it has its name.

    Takes bytes, gives the name of the file: prefix, time in UTC, a random part, suffix. The bytes
    are on the disk when the next step begins, as far as the disk tells the truth. The folder is
    made where there is none. A process that is killed meanwhile leaves a file whose name begins
    with a dot.

    Example:
        write-file: {folder: collected, prefix: events-, suffix: .jsonl.gz, output_path: file}

    Raises:
        BatonError: The input is not bytes.
        OSError: There is no permission, or no space.
    """

    folder: Annotated[str, Meta(min_length=1, description="The folder.")]
    prefix: Annotated[str, NAME] = ""
    suffix: Annotated[
        str, Meta(pattern="^[^/\x00]*$", max_length=100, description="How their names end.")
    ] = ""

    async def process_input(self, content: Any, baton: Baton) -> str:
        if not isinstance(content, bytes):
            raise BatonError(f"expected bytes, got {type(content).__name__}")
        moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
        name = f"{self.prefix}{moment}-{secrets.token_hex(4)}{self.suffix}"
        await asyncio.to_thread(write, Path(self.folder), name, content)
        return name


def write(folder: Path, name: str, content: bytes) -> None:
    """Write a file under another name, bring it to the disk, and give it its own."""
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / f".{name}"
    try:
        with unfinished.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, folder / name)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise
    directory = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(directory)  # the new name, too, must outlive a loss of power
    finally:
        os.close(directory)
