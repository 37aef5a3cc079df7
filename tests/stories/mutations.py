"""Wrong documents that nobody wrote: those of the project, damaged as hands and editors do it.

What is damaged, and how, is chosen by whoever asks: hypothesis, or a seeded ``random.Random``.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, TypeAlias, TypeVar

import yaml

from piped.cli.catalog import everything
from piped.spec.described import prose_of

ROOT: Final = Path(__file__).parents[2]
FOLDERS: Final = ("examples", "tests/stories/tutorial")
BLOCK: Final = re.compile(r"^```yaml(?: part| wrong| fragment)?\n(.*?)^```$", re.MULTILINE | re.S)
BETWEEN: Final = re.compile(r"\n| {2}")
WORD: Final = re.compile(r"[\w!-]+")

T = TypeVar("T")
Pick: TypeAlias = Callable[[int], int]
"""Returns a number below another one."""

ODD_TEXTS: Final = [
    *("\t", "\0", "\x85", "\u2028", "\ufeff", "\ud83d", "é", "\U0001f600", "\x1b[31m", " "),
    *("\n", "\r", "\r\n", "---\n", "...\n", "[" * 100, "{a: " * 70, "9" * 5000),
    *BETWEEN.split(
        r"""
{  }  [  ]  -  :  ?  |  >  &a  *a  #  "  '  %  @  ,  \  <<:  !env  !env {}  !alias
!alias:pipelines  !path  !!  !file /dev/zero  !secret a  !!binary  !!float
!!python/object:os.system  ..  !env {name: HOME, default: {a: [1]}}  1e999  ~
"""
    ),
]
"""What somebody may paste or type anywhere."""

ODD_NODES: Final = [
    "9" * 400,
    *BETWEEN.split(
        r"""
"a\0b"  "\e[31m"  "a\nb"  "\r"  ~no-such-user/x  /dev/zero  /  .  null  true  0  -1  1.5  .inf
.nan  1e308  '9'  ''  a  []  {}  [[]]  [{}]  {a: 1}  [a, b]  {a: {b: {c: d}}}  [null]  {1: 2}
[1, a]  !path a.b  !path a..b  !path ''  !env HOME  !env {name: NO_SUCH, default: 3}  !env X
!file nothing  !file .  !secret nothing  !alias pipelines  !alias x.y  !filepath ~
!alias:pipelines {a: 1}  !alias contexts  2s  -2s  1d  1MiB  -1B  1e9d  soon  a..b  .a  a.  ..
...a  a.b.c  pipeline.a  pipeline.  context.a  é  'n: n'  'n: n +'  'n: no_such'
'lambda n: n'  'a, b: a'  ': 1'  'n: (yield)'  'n: await n'  KeyError  os.path  no.such.name
json.dumps  ..x  '{a!r:>{b}}'  '{'  [passthrough]  {passthrough: }
[{passthrough: {id: a}}, {existing: a}]  [nothing]  {provider: pipeline.a}
{chained_consumers: [stop]}  {inherits: a}  [{inline-pipeline: a}]  '* * * * *'  '0 0 30 2 *'
'@daily'  Europe/Oslo  Mars/Base  tcp://127.0.0.1:1  tcp://  http://a/{b}  http://[
http://a:99999/  ftp://a  '{% if %}'  '{{ a'  '[a-'  utf-9  {type: object, properties: 3}
{$ref: '#/nowhere'}  {type: objekt}  127.0.0.1:99999
"""
    ),
]
"""What somebody may write in place of a value."""


class Corpus:
    """The documents of the project: files with their neighbours in a folder, and texts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in FOLDERS:
            shutil.copytree(ROOT / name, folder / name)
        (folder / "texts").mkdir()
        pages = sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md")])
        blocks = [text for page in pages for text in BLOCK.findall(page.read_text("utf-8"))]
        files = sorted(each for name in FOLDERS for each in (folder / name).rglob("*.yaml"))
        self.documents: list[tuple[Path, str]] = [
            *((path.parent, path.read_text("utf-8")) for path in files),
            *((folder / "texts", text) for text in (*blocks, *examples())),
        ]

    def mutated(self, pick: Pick) -> tuple[Path, str]:
        """Return a document that was damaged once or more, and the folder where it belongs."""
        folder, text = self.documents[pick(len(self.documents))]
        for _ in range(1 + pick(4)):
            text = WAYS[pick(len(WAYS))](text, pick)
        return folder, text


def examples() -> Iterator[str]:
    """Yield the example of every component, as a document."""
    for spec in everything().specs():
        node = yaml.compose(prose_of(spec.component).example)
        if spec.kind == "processor" and isinstance(node, yaml.MappingNode):
            node.value = [pair for pair in node.value if pair[0].value == spec.name]
            step = yaml.serialize(node).replace("\n", "\n      ")
            yield f"pipelines:\n  p:\n    - {step}\n  math: {{double: [stop], square: [stop]}}\n"


def some(values: Sequence[T], pick: Pick) -> T:
    return values[pick(len(values))]


def insert_odd_text(text: str, pick: Pick) -> str:
    at = pick(len(text) + 1)
    return text[:at] + some(ODD_TEXTS, pick) + text[at:]


def cut_off(text: str, pick: Pick) -> str:
    return text[: pick(len(text) + 1)]


def remove_some_signs(text: str, pick: Pick) -> str:
    at = pick(len(text) + 1)
    return text[:at] + text[at + 1 + pick(5) :]


def swap_words(text: str, pick: Pick) -> str:
    words = [*WORD.finditer(text)] or [*re.finditer("", text)]
    target, source = some(words, pick), some(words, pick)
    return text[: target.start()] + source[0] + text[target.end() :]


def misspell_word(text: str, pick: Pick) -> str:
    words = [*WORD.finditer(text)] or [*re.finditer("", text)]
    word = some(words, pick)
    at = word.start() + pick(len(word[0]) + 1)
    return text[:at] + some(("", "s", "_", "-", ".", "E"), pick) + text[at + pick(2) :]


def change_lines(text: str, pick: Pick) -> str:
    lines = text.splitlines(keepends=True) or [""]
    at, other = pick(len(lines)), pick(len(lines))
    line = lines[at]
    match pick(6):
        case 0:
            lines[at] = ""
        case 1:
            lines.insert(other, line)
        case 2:
            lines[at], lines[other] = lines[other], line
        case 3:
            lines[at] = " " * (1 + pick(5)) + line
        case 4:
            lines[at] = line[pick(5) :]
        case 5:
            lines[at:] = [f"    {each}" for each in lines[at:]]
    return "".join(lines)


def change_node(text: str, pick: Pick) -> str:
    """Change one mapping or list of a document that can be read; tags stay."""
    try:
        root = yaml.compose(text, Loader=yaml.CSafeLoader)
    except (yaml.YAMLError, ValueError, UnicodeError, RecursionError):
        return text
    holders = collections(root) if root else []
    if not holders:
        return text
    holder, other = some(holders, pick), some(holders, pick)
    change_collection(holder, other, pick)
    try:
        made: str = yaml.serialize(root, allow_unicode=True)
    except (yaml.YAMLError, RecursionError):
        return text
    return made


def collections(root: yaml.Node) -> list[yaml.CollectionNode]:
    """Return the mappings and lists in a node that have something in them, each once."""
    found: dict[int, yaml.CollectionNode] = {}
    ahead = [root]
    while ahead:
        node = ahead.pop()
        if isinstance(node, yaml.CollectionNode) and node.value and id(node) not in found:
            found[id(node)] = node
            for each in node.value:
                ahead += each if isinstance(each, tuple) else [each]
    return [*found.values()]


def change_collection(holder: yaml.CollectionNode, other: yaml.CollectionNode, pick: Pick) -> None:
    values = holder.value
    at = pick(len(values))
    whole = values[at]
    pairs = isinstance(whole, tuple)
    key, node = whole if pairs else (None, whole)
    stranger = some(other.value, pick)
    strange = stranger[1] if isinstance(stranger, tuple) else stranger
    odd = yaml.compose(some(ODD_NODES, pick)) or node
    new: list[yaml.Node] = [
        odd,
        strange,
        yaml.SequenceNode("tag:yaml.org,2002:seq", [node]),
        yaml.MappingNode("tag:yaml.org,2002:map", [(key or odd, node)]),
    ]
    match pick(8):
        case 0:
            del values[at]
        case 1:
            values.insert(pick(len(values) + 1), whole)
        case 2 if pairs:
            values[at] = (odd if isinstance(odd, yaml.ScalarNode) else key, node)
        case 3 if pairs and isinstance(stranger, tuple):
            values[at] = (stranger[0], node)
        case 4 if pairs and isinstance(stranger, tuple):
            values.append(stranger)
        case _:
            made = some(new, pick)
            values[at] = (key, made) if pairs else made


WAYS: Final = (
    *(change_node, change_node, change_node, change_node, change_lines, misspell_word),
    *(insert_odd_text, remove_some_signs, swap_words, cut_off),
)
