from __future__ import annotations

import importlib

import pytest


def test_the_import_of_the_original_says_where_it_went() -> None:
    with pytest.raises(ImportError) as caught:
        importlib.import_module("piped.plugins.status_testing")

    assert str(caught.value) == (
        "piped.plugins.status_testing is of Piped 0.x: a test module now says"
        " 'from piped.status import ...'; see docs/differences.md"
    )
