"""The type of a file by its name, the same on every machine: none is asked for its own table."""

from __future__ import annotations

from functools import lru_cache
from mimetypes import MimeTypes
from typing import Final

UNKNOWN: Final = "application/octet-stream"

OWN: Final = {
    ".7z": "application/x-7z-compressed",
    ".avif": "image/avif",
    ".br": UNKNOWN,
    ".bz2": "application/x-bzip2",
    ".csv": "text/csv",
    ".flac": "audio/flac",
    ".gz": "application/gzip",
    ".ico": "image/vnd.microsoft.icon",
    ".js": "text/javascript",
    ".jsonld": "application/ld+json",
    ".m4a": "audio/mp4",
    ".map": "application/json",
    ".md": "text/markdown",
    ".mjs": "text/javascript",
    ".oga": "audio/ogg",
    ".ogg": "audio/ogg",
    ".ogv": "video/ogg",
    ".opus": "audio/ogg",
    ".otf": "font/otf",
    ".rtf": "application/rtf",
    ".svg": "image/svg+xml",
    ".toml": "application/toml",
    ".ttf": "font/ttf",
    ".wasm": "application/wasm",
    ".wav": "audio/wav",
    ".webm": "video/webm",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
    ".xml": "application/xml",
    ".xz": "application/x-xz",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
    ".zst": "application/zstd",
}
"""What Python's table lacks, or does not say in every version of Python."""


@lru_cache(maxsize=1)
def _table() -> dict[str, str]:
    """Return Python's own table under ours, without what is in the files of this machine."""
    return {**MimeTypes().types_map[True], **OWN}


def kind_of(name: str) -> str:
    """Return the content type of a file; of text it says that it is UTF-8."""
    stem, dot, ending = name.rpartition(".")
    kind = _table().get(f".{ending.lower()}", UNKNOWN) if stem and dot else UNKNOWN
    return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind
