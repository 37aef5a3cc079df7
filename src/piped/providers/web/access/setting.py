"""What a document says of the access log of a site."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from piped.spec import Meta, part

AccessFormat: TypeAlias = Literal["combined", "json"]


@part
class AccessLogging:
    """What is written of each request, and where."""

    format: Annotated[
        AccessFormat,
        Meta(description="combined, as of Apache and nginx, or json: one object a line."),
    ] = "combined"
    file: Annotated[
        str | None,
        Meta(min_length=1, description="The file; null is the standard output."),
    ] = None
