"""From ``module:name`` to an ASGI application."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeAlias

from piped.errors import Misconfigured, suggest
from piped.spec import find_python

Message: TypeAlias = dict[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

Application: TypeAlias = Callable[[Message, Receive, Send], Any]
"""What is called with a scope, ``receive`` and ``send``, and gives what is to be awaited."""


class WrongApplication(Misconfigured):
    """Raised when a name leads to no application; ``code`` is that of the problem."""

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        self.code, self.hint = code, hint
        super().__init__(message)


def find_application(text: str) -> Application:
    """Import and return an application.

    Raises:
        WrongApplication: There is none of that name.
        NotImported: It is of a module of the user, and nothing may be imported.
    """
    return application_of(_found(text), text)


def find_factory(text: str) -> Callable[[], Any]:
    """Import and return a function that returns an application; it raises as the other one."""
    found = _found(text)
    if not _takes(found):
        what = f"expected a function without parameters at '{text}', got {_kind(found)}"
        raise WrongApplication("wrong-value", what)
    factory: Callable[[], Any] = found
    return factory


def application_of(found: Any, text: str) -> Application:
    """Return what was found, if an ASGI server can call it.

    Raises:
        WrongApplication: It cannot.
    """
    if _takes(found, "scope", "receive", "send"):
        application: Application = found
        return application
    what = f"expected an ASGI application at '{text}', got {_kind(found)}"
    hint = "say factory: true if it returns the application" if _takes(found) else ""
    raise WrongApplication("wrong-value", what, hint)


def _found(text: str) -> Any:
    module, _, names = text.partition(":")
    if not module or not all(names.split(".")):
        what = f"expected an application such as module:name, got {text!r}"
        raise WrongApplication("wrong-value", what)
    try:
        found = find_python(module)
    except ValueError as error:
        if str(error).startswith("cannot import"):
            raise WrongApplication("cannot-import", f"{error}") from error
        hint = _near_module(module)
        raise WrongApplication("unknown-application", f"{error}", hint) from error
    for name in names.split("."):
        if not hasattr(found, name):
            known = [each for each in dir(found) if not each.startswith("_")]
            what = f"'{module}' has no '{name}'"
            raise WrongApplication("unknown-application", what, _near(name, known))
        found = getattr(found, name)
    return found


def _near_module(dotted: str) -> str:
    """Return a hint if some module is named much like one that is not there."""
    import pkgutil  # which takes longer to import than all of this

    parts = dotted.split(".")
    lengths = range(len(parts) - 1, 0, -1)
    known = next((each for n in lengths if (each := ".".join(parts[:n])) in sys.modules), "")
    path = getattr(sys.modules[known], "__path__", ()) if known else None
    prefix = f"{known}." if known else ""
    missing = prefix + dotted.removeprefix(prefix).partition(".")[0]
    return _near(missing, [each.name for each in pkgutil.iter_modules(path, prefix)])


def _near(name: str, known: Iterable[str]) -> str:
    """Return a hint if some known name is much like another; all that a module has is too much."""
    hint = suggest(name, known)
    return f"{hint.partition('?')[0]}?" if hint.startswith("did you mean") else ""


def _takes(found: Any, *parameters: str) -> bool:
    """Tell whether something can be called with so many values."""
    if not callable(found):
        return False
    try:
        inspect.signature(found).bind(*parameters)
    except TypeError:
        return False
    except ValueError:  # it does not tell
        return True
    return True


def _kind(found: Any) -> str:
    """Return in a few words what something is."""
    if inspect.isfunction(found) or inspect.isclass(found):
        return f"{found.__name__}{_signature_of(found)}"
    return type(found).__name__


def _signature_of(found: Any) -> str:
    try:
        return str(inspect.signature(found))
    except ValueError:
        return "()"
