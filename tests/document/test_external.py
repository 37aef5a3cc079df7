from __future__ import annotations

from pathlib import Path

import pytest

from piped.document import Scalar, Secret, load, plain
from tests.document.conftest import Folder, told


def test_a_variable_is_text_from_outside(folder: Folder) -> None:
    document = folder.load("port: !env PORT", environment={"PORT": "8080"})

    assert told(document) == []
    port = document.root.get("port")
    assert isinstance(port, Scalar)
    assert (port.value, port.external) == ("8080", True)
    assert str(port.place) == "main.yaml:1:7"


def test_a_variable_may_be_empty(folder: Folder) -> None:
    document = folder.load("a: !env {name: A, default: 1}", environment={"A": ""})

    assert plain(document.root) == {"a": ""}


def test_a_default_keeps_its_own_type(folder: Folder) -> None:
    document = folder.load(
        """\
        port: !env {name: PORT, default: 8080}
        hosts: !env {name: HOSTS, default: [a, b]}
        none: !env {name: NONE, default: ~}
        set: !env {name: SET, default: 1}
        chain: !env {name: A, default: !env {name: B, default: !alias port}}
        """,
        environment={"SET": "2"},
    )

    assert told(document) == []
    assert plain(document.root) == {
        "port": 8080,
        "hosts": ["a", "b"],
        "none": None,
        "set": "2",
        "chain": 8080,
    }
    port = document.root.get("port")
    assert isinstance(port, Scalar)
    assert not port.external


def test_a_missing_variable_is_an_error(folder: Folder) -> None:
    document = folder.load("web: [{port: !env PORT}]")

    assert told(document) == [
        "main.yaml:1:14: error[missing-variable]: the environment variable 'PORT' is not set\n"
        "    at: web[0].port\n"
        "    hint: set it, or write !env {name: PORT, default: ...}"
    ]
    assert plain(document.root) == {"web": [{"port": ""}]}


def test_a_variable_that_an_alias_repeats_is_missed_once(folder: Folder) -> None:
    document = folder.load("a: {k: !env X}\nb: !alias a\nc: !alias a")

    assert [problem.at for problem in document.problems] == ["a.k"]


def test_a_replaced_variable_is_never_missing(folder: Folder) -> None:
    document = folder.load(
        "includes: [a.yaml]\nx: 1",
        a="x: !env X\ny: !file nope\nz: {k: !secret Z}",
        overrides=["y:2", "z:3"],
    )

    assert told(document) == []
    assert plain(document.root) == {"x": 1, "y": 2, "z": 3}


def test_variables_come_from_this_process_by_default(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIPED_TEST_PORT", "1")
    folder.write("main.yaml", "port: !env PIPED_TEST_PORT")

    assert plain(load("main.yaml").root) == {"port": "1"}


def test_a_file_is_text_from_outside_without_its_last_newline(folder: Folder) -> None:
    folder.write("conf/a.yaml", "a: !file text.txt\nb: !file $DIR/b.txt\n")
    folder.write("conf/text.txt", "beside\n\n")
    folder.write("text.txt", "working directory")
    folder.write("other/b.txt", "å")
    (folder.path / "dos.txt").write_bytes(b"dos\r\n")

    document = folder.load(
        "includes: [conf/a.yaml]\nc: !file text.txt\nd: !file dos.txt\n",
        environment={"DIR": "other"},
    )

    assert told(document) == []
    assert plain(document.root) == {
        "a": "beside\n",
        "b": "å",
        "c": "working directory",
        "d": "dos",
    }
    node = document.root.get("a")
    assert isinstance(node, Scalar)
    assert node.external
    assert [str(file.relative_to(folder.path)) for file in document.files] == [
        "main.yaml",
        "conf/a.yaml",
        "conf/text.txt",
        "other/b.txt",
        "text.txt",
        "dos.txt",
    ]


def test_files_that_cannot_be_read_are_errors(folder: Folder) -> None:
    (folder.path / "conf").mkdir()
    (folder.path / "latin.txt").write_bytes(b"one\ntwo \xff")
    (folder.path / "large.txt").write_bytes(b"x" * (1024 * 1024 + 1))

    document = folder.load(
        """\
        a: !file conf
        b: !file latin.txt
        c: !file large.txt
        d: !file conf/nope
        e: !file latin.txt
        """
    )

    assert told(document) == [
        "main.yaml:1:4: error[unreadable-file]: expected a file, got the folder 'conf'\n    at: a",
        "latin.txt:2:5: error[not-utf-8]: 'latin.txt' is not UTF-8 from this place on\n"
        "    at: b\n"
        "    hint: save the file as UTF-8",
        "large.txt:1:1: error[file-too-large]: 'large.txt' is larger than 1048576 bytes\n    at: c",
        "main.yaml:4:4: error[missing-file]: no file 'conf/nope'\n"
        "    at: d\n"
        "    why: looked for conf/nope",
    ]


def test_a_file_named_in_an_override_starts_at_the_working_directory(folder: Folder) -> None:
    folder.write("a.txt", "text")

    document = folder.load("x: 1", overrides=["x:!file a.txt"])

    assert plain(document.root) == {"x": "text"}


def test_a_secret_is_a_variable_or_a_file(folder: Folder) -> None:
    folder.write("secrets/DB", "from a file\n")
    folder.write("secrets/BOTH", "from a file\n")

    document = folder.load(
        "db: !secret DB\nboth: !secret BOTH",
        environment={"PIPED_SECRETS": "secrets", "BOTH": "from a variable"},
    )

    assert told(document) == []
    for name, text in (("db", "from a file"), ("both", "from a variable")):
        node = document.root.get(name)
        assert isinstance(node, Scalar)
        assert isinstance(node.value, Secret)
        assert node.value == text
        assert node.external
    assert "from a" not in repr(document)


def test_a_missing_secret_is_an_error(folder: Folder) -> None:
    document = folder.load("db: !secret PIPED_TEST_NOPE")

    assert told(document) == [
        "main.yaml:1:5: error[missing-secret]: "
        "the secret 'PIPED_TEST_NOPE' is neither an environment variable nor a file\n"
        "    at: db\n"
        "    why: looked for /run/secrets/PIPED_TEST_NOPE\n"
        "    hint: set PIPED_TEST_NOPE, or name the folder of the file in PIPED_SECRETS"
    ]


def test_an_error_about_a_secret_does_not_show_it(folder: Folder) -> None:
    (folder.path / "DB").write_bytes(b"hunter2\xff")

    document = folder.load("db: !secret DB", environment={"PIPED_SECRETS": "."})

    assert told(document) == [
        "DB:1:8: error[not-utf-8]: 'DB' is not UTF-8 from this place on\n"
        "    at: db\n"
        "    hint: save the file as UTF-8"
    ]


def test_paths_are_text_of_the_document(folder: Folder) -> None:
    document = folder.load(
        "a: !filepath ~/x/$NAME\nb: !pipedpath document/reader.py\nc: !filepath $NOPE/x",
        environment={"HOME": "/home/me", "NAME": "y"},
    )

    assert told(document) == []
    package = Path(load.__code__.co_filename).parent.parent
    assert plain(document.root) == {
        "a": "/home/me/x/y",
        "b": f"{package}/document/reader.py",
        "c": "$NOPE/x",
    }
    node = document.root.get("a")
    assert isinstance(node, Scalar)
    assert not node.external


@pytest.mark.parametrize("path", ["..", "../x", "a/../../x", "/etc/passwd", "../piped-other"])
def test_a_path_of_the_package_stays_inside(folder: Folder, path: str) -> None:
    document = folder.load(f"a: !pipedpath {path}")

    assert told(document) == [
        "main.yaml:1:4: error[path-escapes]: "
        f"expected a path inside the piped package, got '{path}'\n"
        "    at: a"
    ]
