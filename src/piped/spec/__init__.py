"""What a component says of itself: one declaration that feeds parsing, checks and documentation."""

from __future__ import annotations

from msgspec import Meta

from piped.spec.code import Code, Lambda, Namespace, find_python, identify
from piped.spec.components import (
    SAME_AS_INPUT,
    DecidingProcessor,
    InputOutputProcessor,
    Parameter,
    Processor,
    Provider,
    Spec,
    Step,
    part,
    processor,
    provider,
    spec_of,
    undeclared,
)
from piped.spec.decode import INVALID, Decoder, words
from piped.spec.dependency import (
    Dependencies,
    Dependency,
    PipelineName,
    Provided,
    absolute,
    dependencies_of,
)
from piped.spec.types import Duration, Input, Size, WrongValue

__all__ = [
    "INVALID",
    "SAME_AS_INPUT",
    "Code",
    "DecidingProcessor",
    "Decoder",
    "Dependencies",
    "Dependency",
    "Duration",
    "Input",
    "InputOutputProcessor",
    "Lambda",
    "Meta",
    "Namespace",
    "Parameter",
    "PipelineName",
    "Processor",
    "Provided",
    "Provider",
    "Size",
    "Spec",
    "Step",
    "WrongValue",
    "absolute",
    "dependencies_of",
    "find_python",
    "identify",
    "part",
    "processor",
    "provider",
    "spec_of",
    "undeclared",
    "words",
]
