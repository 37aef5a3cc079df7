"""`piped new`: what it makes runs, is right, and passes its tests at once."""

from __future__ import annotations

import errno
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from piped.cli.new import FILES, TEMPLATES
from tests.cli.conftest import Invoke
from tests.stories.processes import PIPED, Processes

DOCS = Path(__file__).parents[2] / "docs"
MADE = """\
made my-shop/ with 8 files: README.md tells what is in them
run it:   cd my-shop && piped run --watch service.yaml
test it:  piped run test.yaml
"""


@pytest.fixture
def made(invoke: Invoke, folder: Path) -> Path:
    """A new service."""
    assert invoke("new", "my-shop").exit_code == 0
    return folder / "my-shop"


def run(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=30)


def test_new_tells_what_it_has_made_and_what_to_do(invoke: Invoke, folder: Path) -> None:
    result = invoke("new", "my-shop")

    assert (result.stdout, result.stderr, result.exit_code) == (MADE, "", 0)
    assert os.listdir(folder) == ["my-shop"]
    files = [str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()]
    assert sorted(files) == [
        "my-shop/.gitignore",
        "my-shop/README.md",
        "my-shop/my_shop_bundle/__init__.py",
        "my-shop/my_shop_bundle/greeting.py",
        "my-shop/my_shop_tests/__init__.py",
        "my-shop/my_shop_tests/answers.py",
        "my-shop/service.yaml",
        "my-shop/test.yaml",
    ]


def test_every_template_is_used_and_filled(made: Path) -> None:
    texts = [each.read_text(encoding="utf-8") for each in made.rglob("*") if each.is_file()]

    assert sorted(FILES.values()) == sorted(each.name for each in TEMPLATES.iterdir())
    assert not any("%" in each for each in texts)


@pytest.mark.parametrize("name", ["my-shop", "null", "true", "email", "Shop2", "a"])
def test_nothing_is_wrong_with_it(invoke: Invoke, folder: Path, name: str) -> None:
    invoke("new", name)

    done = run(PIPED, "check", "--strict", "service.yaml", "test.yaml", cwd=folder / name)

    assert (done.stdout, done.stderr) == ("", "2 documents: no problems\n")
    assert done.returncode == 0


def test_it_answers(made: Path, start: Processes) -> None:
    process = start("run", "-O", "web.site.port:0", "service.yaml", cwd=made)

    answer = httpx.get(process.url(), params={"name": "Ada"}, trust_env=False, timeout=10)
    refused = httpx.get(process.url(), trust_env=False, timeout=10)

    assert answer.json() == {"greeting": "Hello, Ada!"}
    assert answer.headers["content-type"] == "application/json"
    assert refused.status_code == 400
    assert process.terminated() == 0


def test_its_tests_pass(made: Path, start: Processes) -> None:
    process = start("run", "test.yaml", cwd=made)

    assert process.ended() == 0
    assert process.stdout.endswith("PASSED (successes=3)\n")


def test_its_tests_fail_when_it_is_wrong(made: Path, start: Processes) -> None:
    greeting = made / "my_shop_bundle" / "greeting.py"
    greeting.write_text(greeting.read_text().replace('= "Hello"', '= "Hi"'))

    process = start("run", "test.yaml", cwd=made)

    assert process.ended() == 1
    assert "FAILED (failures=1, successes=2)\n" in process.stdout


def test_its_readme_says_what_is_so(made: Path, start: Processes) -> None:
    readme = (made / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)]+)\)", readme)
    commands = re.findall(r"^\$ (piped .*)\n((?:[^$`].*\n)?)", readme, re.MULTILINE)

    checked = run(PIPED, "check", "service.yaml", "test.yaml", cwd=made)
    called = run(PIPED, "call", "service.yaml", "greet", '{"name": "Ada"}', cwd=made)

    assert len(links) == 4
    assert [each for each in links if not (made / each).exists()] == []
    assert commands == [
        ("piped run --watch service.yaml", ""),
        ("piped check service.yaml test.yaml", checked.stderr),
        ("""piped call service.yaml greet '{"name": "Ada"}'""", called.stdout),
        ("piped run test.yaml", ""),
    ]


def test_the_first_page_of_the_docs_shows_what_is_made(made: Path) -> None:
    page = (DOCS / "start.md").read_text(encoding="utf-8")
    fragments = re.findall(
        r"^```(?:yaml|python) fragment\n(.*?)^```", page, re.DOTALL | re.MULTILINE
    )
    files = ("service.yaml", "my_shop_bundle/greeting.py")
    texts = [(made / each).read_text(encoding="utf-8") for each in files]

    lines = [re.sub(" +# .*", "", text).splitlines() for text in texts]
    shown = [each.replace('name."""', "name.").splitlines() for each in fragments]

    assert [{*some} - {*all_} for some, all_ in zip(shown, lines, strict=True)] == [set(), set()]


def test_the_example_of_its_processor_is_right(made: Path) -> None:
    code = "import my_shop_bundle.greeting as g; print(g.Greet.__doc__)"
    doc = run(sys.executable, "-c", code, cwd=made).stdout
    text = doc.split("Example:\n")[1].split("\n\n")[0]
    example: dict[str, Any] = yaml.safe_load(inspect.cleandoc("\n" + text))
    document = {
        "plugins": {"bundles": {"own": ["my_shop_bundle"]}},
        "pipelines": {"p": [{"greet": example["greet"]}]},
    }
    (made / "example.yaml").write_text(yaml.safe_dump(document))

    called = run(PIPED, "call", "example.yaml", "p", json.dumps(example["in"]), cwd=made)

    assert json.loads(called.stdout) == [example["out"]]


def test_python_warns_of_nothing(made: Path) -> None:
    code = "import my_shop_bundle.greeting, my_shop_tests.answers"

    done = run(sys.executable, "-W", "error", "-c", code, cwd=made)

    assert (done.stderr, done.returncode) == ("", 0)


@pytest.mark.parametrize("arguments", [("check",), ("format", "--check")])
def test_its_python_is_in_good_style(made: Path, arguments: tuple[str, ...]) -> None:
    ruff = Path(sys.executable).with_name("ruff")

    done = run(str(ruff), *arguments, "--isolated", "--no-cache", ".", cwd=made)

    assert done.returncode == 0, done.stdout


def test_its_types_are_right(made: Path) -> None:
    mypy = Path(sys.executable).with_name("mypy")

    done = run(str(mypy), "--strict", "--cache-dir", os.devnull, ".", cwd=made)

    assert done.stdout == "Success: no issues found in 4 source files\n"


@pytest.mark.parametrize("name", ["", "1st", "a b", "a/b", "..", "_a", "é", "a.b", "a\n", "%a"])
def test_a_name_that_is_none_is_refused(invoke: Invoke, folder: Path, name: str) -> None:
    result = invoke("new", name)

    assert result.exit_code == 2
    assert result.stderr.endswith(
        f"Error: expected a name of letters, digits, '-' and '_', a letter first, got {name!r}\n"
    )
    assert os.listdir(folder) == []


def test_an_empty_folder_is_filled(invoke: Invoke, folder: Path) -> None:
    (folder / "shop").mkdir()

    result = invoke("new", "shop")

    assert result.exit_code == 0
    assert (folder / "shop" / "service.yaml").exists()


def test_what_is_there_is_left_alone(invoke: Invoke, folder: Path) -> None:
    (folder / "shop").mkdir()
    (folder / "shop" / "mine").touch()
    (folder / "file").touch()
    (folder / "link").symlink_to("nowhere")

    results = [invoke("new", name) for name in ("shop", "file", "link")]

    assert [each.exit_code for each in results] == [2, 2, 2]
    assert [each.stderr.splitlines()[-1] for each in results] == [
        "Error: 'shop' is there already, and is not empty",
        "Error: 'file' is there already, and is no folder",
        "Error: 'link' is there already, and is no folder",
    ]
    assert sorted(os.listdir(folder)) == ["file", "link", "shop"]
    assert os.listdir(folder / "shop") == ["mine"]


def test_a_name_that_is_too_long_is_told(invoke: Invoke, folder: Path) -> None:
    result = invoke("new", "a" * 300)

    assert result.exit_code == 2
    assert result.stderr.endswith(f"Error: cannot make '{'a' * 300}': file name too long\n")
    assert os.listdir(folder) == []


def test_a_place_that_is_gone_is_told(invoke: Invoke, folder: Path) -> None:
    shutil.rmtree(folder)

    result = invoke("new", "shop")

    assert result.exit_code == 2
    assert result.stderr.endswith("Error: cannot make 'shop': no such file or directory\n")


def test_nothing_half_made_is_left_when_the_disk_is_full(
    invoke: Invoke, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_text = Path.write_text

    def full(path: Path, text: str, **options: Any) -> int:
        if path.name == "test.yaml":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return write_text(path, text, **options)

    monkeypatch.setattr(Path, "write_text", full)
    result = invoke("new", "shop")

    assert result.exit_code == 2
    assert result.stderr.endswith("Error: cannot make 'shop': no space left on device\n")
    assert os.listdir(folder) == []


def test_what_is_made_is_for_all_who_may_read_what_its_maker_writes(made: Path) -> None:
    (made.parent / "other").mkdir()

    assert made.stat().st_mode == (made.parent / "other").stat().st_mode
