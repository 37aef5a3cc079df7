from __future__ import annotations

from pathlib import Path

import pytest

from piped.document import Mapping, load, plain
from piped.errors import Level
from tests.document.conftest import Folder, told


def test_the_including_file_wins(folder: Folder) -> None:
    document = folder.load(
        "includes: [a.yaml]\nweb: {port: 1, tags: [main]}",
        a="web: {port: 2, host: a, tags: [a, b]}\nother: 3",
    )

    assert told(document) == []
    assert plain(document.root) == {
        "web": {"port": 1, "host": "a", "tags": ["main"]},
        "other": 3,
    }


def test_later_includes_win_over_earlier_ones(folder: Folder) -> None:
    document = folder.load("includes: [a.yaml, b.yaml]", a="x: {k: 1, l: 1}", b="x: {k: 2, m: 2}")

    assert plain(document.root) == {"x": {"k": 2, "l": 1, "m": 2}}


def test_a_mapping_and_something_else_replace_each_other(folder: Folder) -> None:
    document = folder.load(
        "includes: [a.yaml]\nx: text\ny: {k: 1}\nz: !alias y",
        a="x: {k: 2}\ny: [2]\nz: {k: 2, l: 2}",
    )

    assert plain(document.root) == {"x": "text", "y": {"k": 1}, "z": {"k": 1}}


def test_merged_values_keep_the_place_of_the_file_that_won(folder: Folder) -> None:
    document = folder.load("includes: [conf/a.yaml]\nweb: {port: 1}")
    folder.write("conf/a.yaml", "web:\n  host: a\n  port: 2\n")

    document = load("main.yaml", environment={})

    web = document.root.find("web")
    assert isinstance(web, Mapping)
    assert str(web.place) == "main.yaml:2:6"
    assert {key: str(entry.key_place) for key, entry in web.items()} == {
        "host": "conf/a.yaml:2:3",
        "port": "main.yaml:2:7",
    }
    assert {key: str(entry.node.place) for key, entry in web.items()} == {
        "host": "conf/a.yaml:2:9",
        "port": "main.yaml:2:13",
    }


def test_a_file_outside_the_working_directory_has_an_absolute_place(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.write("conf/main.yaml", "includes: [../a.yaml]\nx: 1")
    folder.write("a.yaml", "y: 1")
    (folder.path / "conf").mkdir(exist_ok=True)
    monkeypatch.chdir(folder.path / "conf")

    document = load("main.yaml", environment={})

    places = [str(entry.node.place) for _, entry in document.root.items()]
    assert places == [f"{folder.path}/a.yaml:1:4", "main.yaml:2:4"]
    assert document.files == (folder.path / "conf/main.yaml", folder.path / "a.yaml")


@pytest.mark.parametrize("includes", ["a.yaml", "[]", "", "{at.b: a.yaml}", "!filepath a.yaml"])
def test_one_include_needs_no_list(folder: Folder, includes: str) -> None:
    document = folder.load(f"includes: {includes}\nx: 1", a="y: 2")

    assert told(document) == []
    assert plain(document.root) in (
        {"y": 2, "x": 1},
        {"x": 1},
        {"at": {"b": {"y": 2}}, "x": 1},
    )


def test_content_can_be_mounted_below_a_path(folder: Folder) -> None:
    document = folder.load(
        """\
        includes:
          - a.yaml
          - pipelines.shop: a.yaml
            pipelines.bank: b.yaml
        pipelines: {shop: {x: 9}}
        """,
        a="includes: [{deep.er: b.yaml}]\nx: 1\ny: 1",
        b="z: [1]",
    )

    assert [problem.level for problem in document.problems] == [Level.WARNING] * 2
    assert plain(document.root) == {
        "deep": {"er": {"z": [1]}},
        "x": 1,
        "y": 1,
        "pipelines": {
            "shop": {"deep": {"er": {"z": [1]}}, "x": 9, "y": 1},
            "bank": {"z": [1]},
        },
    }
    bank = document.root.find("pipelines.bank")
    pipelines = document.root.get("pipelines")
    assert isinstance(bank, Mapping)
    assert isinstance(pipelines, Mapping)
    assert str(bank.place) == "b.yaml:1:1"
    assert str(pipelines.entries["bank"].key_place) == "main.yaml:4:5"


def test_problems_in_mounted_files_have_their_path_in_the_document(folder: Folder) -> None:
    document = folder.load("includes: [{pipelines.shop: a.yaml}]", a="x: {y: 1, y: 2}")

    assert told(document) == [
        "a.yaml:1:11: error[duplicate-key]: the key 'y' is written twice in line 1\n"
        "    at: pipelines.shop.x.y\n"
        "    hint: remove one of them"
    ]


def test_paths_start_at_the_including_file_then_at_the_working_directory(folder: Folder) -> None:
    folder.write("main.yaml", "includes: [conf/main.yaml]")
    folder.write("conf/main.yaml", "includes: [both.yaml, only.yaml]")
    folder.write("conf/both.yaml", "both: beside")
    folder.write("both.yaml", "both: working directory")
    folder.write("only.yaml", "only: working directory")

    document = load("main.yaml", environment={})

    assert told(document) == []
    assert plain(document.root) == {"both": "beside", "only": "working directory"}


def test_variables_and_the_home_directory_are_expanded(folder: Folder) -> None:
    folder.write("home/a.yaml", "a: 1")
    folder.write("etc/b.yaml", "b: 2")
    folder.write("etc/c.yaml", "c: 3")
    home, etc = str(folder.path / "home"), str(folder.path / "etc")

    document = folder.load(
        "includes: [~/a.yaml, $ETC/b.yaml, '${ETC}/c.yaml']",
        environment={"HOME": home, "ETC": etc},
    )

    assert told(document) == []
    assert plain(document.root) == {"a": 1, "b": 2, "c": 3}


def test_files_of_the_package_can_be_included(folder: Folder) -> None:
    document = folder.load("includes: [!pipedpath nope.yaml, !pipedpath ../nope.yaml]")

    package = Path(load.__code__.co_filename).parent.parent
    missing, escaped = told(document)
    assert missing == (
        "main.yaml:1:12: error[missing-include]: no file 'nope.yaml' to include\n"
        "    at: includes\n"
        f"    why: looked for {package}/nope.yaml\n"
        "    hint: a path starts at the folder of the file that includes, or the working directory"
    )
    assert escaped == (
        "main.yaml:1:34: error[path-escapes]: "
        "expected a path inside the piped package, got '../nope.yaml'\n"
        "    at: includes"
    )


def test_a_missing_include_says_where_it_was_looked_for(folder: Folder) -> None:
    folder.write("main.yaml", "includes: [conf/a.yaml]")
    folder.write("conf/a.yaml", "includes:\n  - $DIR/b.yaml\nx: 1")

    document = load("main.yaml", environment={})

    assert told(document) == [
        "conf/a.yaml:2:5: error[missing-include]: no file '$DIR/b.yaml' to include\n"
        "    at: includes\n"
        "    why: looked for conf/$DIR/b.yaml, $DIR/b.yaml\n"
        "    hint: a path starts at the folder of the file that includes, or the working directory"
    ]
    assert plain(document.root) == {"x": 1}


def test_a_folder_cannot_be_included(folder: Folder) -> None:
    (folder.path / "conf").mkdir()

    document = folder.load("includes: [conf]\nx: 1")

    assert told(document) == [
        "main.yaml:1:12: error[unreadable-file]: expected a file, got the folder 'conf'"
    ]
    assert plain(document.root) == {"x": 1}


@pytest.mark.parametrize(
    ("element", "got", "hint"),
    [
        ("5", "5", ""),
        ("''", "''", ""),
        ("[a.yaml]", "a list", ""),
        ("!path a.yaml", "'!path'", ""),
        ("{a: {b: c.yaml}}", "a mapping", ""),
        ("!env CONF", "'!env'", "\n    hint: paths may contain $VAR"),
        ("!alias conf", "'!alias'", ""),
        ("~", "nothing", ""),
    ],
)
def test_an_include_is_a_path(folder: Folder, element: str, got: str, hint: str) -> None:
    document = folder.load(f"includes:\n - {element}\n")

    assert [problem.what for problem in document.problems] == [
        f"expected the path of a file to include, got {got}"
    ]
    assert told(document)[0].endswith(f"\n    at: includes{hint}")


@pytest.mark.parametrize("prefix", ["a..b", "''", "5", "a."])
def test_a_prefix_is_a_dotted_path(folder: Folder, prefix: str) -> None:
    document = folder.load(f"includes: [{{{prefix}: a.yaml}}]", a="x: 1")

    assert told(document) == [
        "main.yaml:1:13: error[bad-includes]: expected a dotted path to include at, "
        f"got {prefix if prefix[0] == chr(39) else repr(prefix)}\n"
        "    at: includes"
    ]


def test_a_loop_is_an_error_with_the_chain_of_files(folder: Folder) -> None:
    document = folder.load(
        "includes: [a.yaml]\nx: 1",
        a="includes:\n - ./b.yaml\ny: 2",
        b="includes: a.yaml\nz: 3",
    )

    assert told(document) == [
        "b.yaml:1:11: error[include-loop]: include loop: "
        "main.yaml -> a.yaml -> b.yaml -> a.yaml\n"
        "    at: includes\n"
        "    hint: remove one of these includes"
    ]
    assert plain(document.root) == {"z": 3, "y": 2, "x": 1}


def test_a_file_may_not_include_itself_under_another_name(folder: Folder) -> None:
    (folder.path / "other.yaml").symlink_to("main.yaml")

    document = folder.load("includes: [other.yaml]")

    assert [problem.what for problem in document.problems] == [
        "include loop: main.yaml -> other.yaml"
    ]


def test_a_repeated_include_is_one_warning(folder: Folder) -> None:
    document = folder.load(
        "includes: [a.yaml, b.yaml, ./queues.yaml]",
        a="includes: [queues.yaml]\na: 1",
        b="includes: [queues.yaml]\nb: 1",
        queues="q: 1",
    )

    assert told(document) == [
        "b.yaml:1:12: warning[repeated-include]: "
        'configuration file loaded multiple times: "queues.yaml"\n'
        "    at: includes\n"
        "    why: the files were read in this order: "
        "main.yaml, a.yaml, queues.yaml, b.yaml, queues.yaml"
    ]
    assert plain(document.root) == {"q": 1, "a": 1, "b": 1}
    assert [file.name for file in document.files] == [
        "main.yaml",
        "a.yaml",
        "queues.yaml",
        "b.yaml",
    ]


def test_a_repeated_include_is_merged_again(folder: Folder) -> None:
    document = folder.load("includes: [a.yaml, b.yaml, a.yaml]", a="x: 1", b="x: 2")

    assert plain(document.root) == {"x": 1}


def test_an_error_in_one_file_does_not_hide_those_in_another(folder: Folder) -> None:
    (folder.path / "latin.yaml").write_bytes(b"x: 1\ny: a\xe9b\n")

    document = folder.load(
        "includes: [a.yaml, b.yaml, nope.yaml, latin.yaml, c.yaml]\nx: [1\n",
        a="a: 1\na: 2",
        b="b: {",
        c="- c",
    )

    assert [(str(each.place), each.code) for each in document.problems] == [
        ("main.yaml:3:1", "yaml-syntax"),
        ("a.yaml:2:1", "duplicate-key"),
        ("b.yaml:1:5", "yaml-syntax"),
        ("main.yaml:1:28", "missing-include"),
        ("latin.yaml:2:5", "not-utf-8"),
        ("c.yaml:1:1", "root-not-mapping"),
    ]


def test_a_problem_of_a_file_that_is_read_twice_is_told_once(folder: Folder) -> None:
    document = folder.load("includes: [a.yaml, {x: a.yaml}]", a="a: 1\na: 2")

    assert [problem.code for problem in document.problems] == ["duplicate-key", "repeated-include"]


def test_the_root_must_be_a_mapping(folder: Folder) -> None:
    document = folder.load("includes: [a.yaml, b.yaml, c.yaml]", a="- 1", b="# nothing", c="text")

    assert told(document) == [
        "a.yaml:1:1: error[root-not-mapping]: "
        "expected a mapping at the root of the file, got a list",
        "c.yaml:1:1: error[root-not-mapping]: "
        "expected a mapping at the root of the file, got 'text'",
    ]
    assert plain(document.root) == {}


def test_includes_that_double_are_bounded(folder: Folder) -> None:
    for number in range(40):
        name = f"f{number + 1}.yaml"
        folder.write(f"f{number}.yaml", f"includes: [{name}, {name}]")
    folder.write("f40.yaml", "x: 1")

    document = load("f0.yaml", environment={})

    errors = [each for each in document.problems if each.level is Level.ERROR]
    assert [(each.code, each.what) for each in errors] == [
        ("too-many-files", "more than 256 files included, or 64 one in another")
    ]


def test_chains_of_includes_are_bounded(folder: Folder) -> None:
    for number in range(100):
        folder.write(f"f{number}.yaml", f"includes: [f{number + 1}.yaml]\nk{number}: 1")

    document = load("f0.yaml", environment={})

    assert [each.code for each in document.problems] == ["too-many-files"]
    assert len(document.root.entries) == 64


def test_prefixes_count_for_the_depth(folder: Folder) -> None:
    deep = ".".join("a" * 40)

    document = folder.load(
        f"includes: [{{{deep}: a.yaml}}, {{{deep}.{deep}: b.yaml}}]",
        a=f"includes: [{{{deep}: b.yaml}}]\nx: {'[' * 23}{']' * 23}\ny: {'[' * 24}{']' * 24}",
        b="x: 1",
    )

    assert [(str(each.place), each.code) for each in document.problems] == [
        ("a.yaml:3:27", "too-deep"),
        ("a.yaml:1:94", "too-deep"),
        ("main.yaml:1:265", "too-deep"),
    ]


def test_all_files_together_have_one_bound_of_nodes(folder: Folder) -> None:
    many = "[" + "1," * 60_000 + "]"

    document = folder.load("includes: [a.yaml, b.yaml, a.yaml]", a=f"a: {many}", b=f"b: {many}")

    assert [each.code for each in document.problems if each.level is Level.ERROR] == [
        "too-many-nodes"
    ]
