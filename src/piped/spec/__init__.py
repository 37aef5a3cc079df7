"""What a component says of itself: one declaration that feeds parsing, checks and documentation."""

from __future__ import annotations

from msgspec import Meta

from piped.spec.bases import (
    SAME_AS_INPUT,
    DecidingProcessor,
    InputOutputProcessor,
    Processor,
    Provider,
    Step,
    undeclared,
)
from piped.spec.code import Code, Lambda, Namespace, identify
from piped.spec.components import STEP_KEYS, Parameter, Spec, part, processor, provider, spec_of
from piped.spec.decode import INVALID, Decoder
from piped.spec.dependency import (
    Dependencies,
    Dependency,
    PipelineName,
    PoolName,
    Provided,
    absolute,
    dependencies_of,
    elsewhere,
)
from piped.spec.error_types import ErrorTypes, UnknownException, exception_named
from piped.spec.imports import find_python
from piped.spec.types import Duration, Input, Size, WrongValue
from piped.spec.words import words

__all__ = [
    "INVALID",
    "SAME_AS_INPUT",
    "STEP_KEYS",
    "Code",
    "DecidingProcessor",
    "Decoder",
    "Dependencies",
    "Dependency",
    "Duration",
    "ErrorTypes",
    "Input",
    "InputOutputProcessor",
    "Lambda",
    "Meta",
    "Namespace",
    "Parameter",
    "PipelineName",
    "PoolName",
    "Processor",
    "Provided",
    "Provider",
    "Size",
    "Spec",
    "Step",
    "UnknownException",
    "WrongValue",
    "absolute",
    "dependencies_of",
    "elsewhere",
    "exception_named",
    "find_python",
    "identify",
    "part",
    "processor",
    "provider",
    "spec_of",
    "undeclared",
    "words",
]
