"""Text made of templates."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, Final

from jinja2 import TemplateNotFound, TemplateSyntaxError, nodes
from jinja2.meta import find_referenced_templates

from piped.batons import Baton
from piped.errors import Place, Problem, suggest
from piped.processors._alternatives import not_one_of
from piped.processors._sandbox import Environment, renderer, words_of
from piped.spec import InputOutputProcessor, Meta, Size, processor

MARKUP: Final = (".html", ".htm", ".xhtml", ".xml", ".svg")


@processor("render-template")
class RenderTemplate(InputOutputProcessor):
    """Render a Jinja2 template.

    The names in it are the keys of the input where that is a dict, ``input``, which is the input
    itself, and ``baton``. A name that does not exist is an error. Jinja2's own filters are there,
    and ``json``. The output is ``str``.

    Example:
        render-template:
          template: "{{ name }} owes {{ '%.2f' | format(sum) }}{% if late %}, at once{% endif %}."
          output_path: text
        in:  {name: Ada, sum: 12.5, late: true}
        out: {name: Ada, sum: 12.5, late: true, text: "Ada owes 12.50, at once."}

    Raises:
        BatonError: The template does not fit the input, or makes too much text of it; the error
            tells the line of the template.
    """

    template: Annotated[str | None, Meta(description="The text of the template.")] = None
    file: Annotated[
        str | None,
        Meta(
            description="The file of the template, from the working directory on. It may include"
            " and extend what is in its folder."
        ),
    ] = None
    html: Annotated[
        bool | None,
        Meta(
            description="Escape values for HTML. If not given, the end of the file's name tells:"
            " .html, .htm, .xhtml, .xml and .svg are escaped."
        ),
    ] = None
    max_size: Annotated[Size, Meta(description="How many bytes the text may have.")] = Size(
        10 << 20
    )
    _reader: Environment | None = field(default=None, init=False)

    def check(self) -> Iterable[Problem]:
        if wrong := not_one_of("template", self.template, "file", self.file):
            yield wrong
        elif self.template is not None:
            yield from self._wrong_text(self.template)
        else:
            yield from self._wrong_files(Path(os.path.expanduser(self.file or "")))

    def _wrong_text(self, text: str) -> Iterator[Problem]:
        environment = self._environment()
        try:
            tree = environment.parse(text)
            environment.from_string(tree)
        except TemplateSyntaxError as error:
            yield _syntax(error, environment)
            return
        for _ in find_referenced_templates(tree):
            what = "a template that stands in the document can use no other"
            hint = "put it into a file, beside the others, and name that: file: page.html"
            yield Problem("template-syntax", what, at="template", hint=hint)
            return

    def _wrong_files(self, path: Path) -> Iterator[Problem]:
        """Yield what is wrong with a file, and with all that it is known to use."""
        environment = self._environment()
        ahead: list[tuple[str, Place | None]] = [(path.name, None)]
        seen = {path.name}
        while ahead:
            name, place = ahead.pop(0)
            file = path.parent / name
            try:
                tree = environment.tree(name)
            except TemplateNotFound:
                yield Problem("missing-file", f"no file '{file}'", place, at="file")
            except TemplateSyntaxError as error:
                yield _syntax(error, environment, str(file))
            except UnicodeDecodeError:
                yield Problem("not-utf-8", f"'{file}' is not UTF-8", place, at="file")
            except OSError as error:
                what = f"cannot read '{file}': {(error.strerror or str(error)).lower()}"
                yield Problem("unreadable-file", what, place, at="file")
            else:
                used = {other: line for other, line in _used(tree) if other not in seen}
                seen |= used.keys()
                ahead += [(other, Place(str(file), line, 1)) for other, line in used.items()]

    def _environment(self) -> Environment:
        """Return what reads the templates, which it does once."""
        if self._reader is None:
            path = None if self.file is None else Path(os.path.expanduser(self.file))
            html = self.html
            if html is None:
                html = path is not None and path.suffix.lower() in MARKUP
            folder = None if path is None else path.parent
            self._reader = Environment(folder, html, self.max_size)
        return self._reader

    def call(self) -> Callable[[Any, Baton], Any]:
        environment = self._environment()
        if self.template is not None:
            template = environment.from_string(self.template)
            render = renderer(
                template, self.max_size, lambda _, line: f"line {line} of the template"
            )
        else:
            template = environment.get_template(Path(self.file or "").name)
            render = renderer(template, self.max_size, lambda file, line: f"{file}:{line}")

        def call(value: Any, baton: Baton) -> str:
            names = {}
            if isinstance(value, Mapping):
                names = {key: each for key, each in value.items() if isinstance(key, str)}
            names["input"], names["baton"] = value, baton
            return render(names)

        return call


def _syntax(error: TemplateSyntaxError, environment: Environment, file: str = "") -> Problem:
    """Return what is wrong with a template: a file, or a text in the document."""
    what = words_of(error)
    unknown = re.match(r"no (filter|test) named '([^']*)'", what)
    known = environment.filters if unknown and unknown[1] == "filter" else environment.tests
    hint = suggest(unknown[2], known) if unknown else ""
    place, at = Place(file, error.lineno, 1), "file" if file else "template"
    return Problem("template-syntax", what, place, at=at, hint=hint)


def _used(tree: nodes.Template) -> Iterator[tuple[str, int]]:
    """Yield the names of the templates that a template needs in any case, and the lines."""
    for node in tree.find_all((nodes.Extends, nodes.Include, nodes.Import, nodes.FromImport)):
        given = getattr(node, "template", None)
        name = given.value if isinstance(given, nodes.Const) else None
        if isinstance(name, str) and not getattr(node, "ignore_missing", False):
            yield name, node.lineno
