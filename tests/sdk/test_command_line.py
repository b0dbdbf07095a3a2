"""`changeover evaluate` on the command line."""

from __future__ import annotations

import json

import pytest

from changeover.__main__ import main

from .conftest import ROUTE


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "flags.json"
    path.write_text(json.dumps({"flags": {"f": ROUTE}}))
    return str(path)


def test_it_prints_the_answer(file, capsys):
    assert main(["evaluate", file, "f", "--context", '{"plan": "beta"}']) == 0

    told = json.loads(capsys.readouterr().out)
    assert (told["variant"], told["reason"], told["assigned_by"]) == ("flash-lite", "TARGETING_MATCH", "rule")


def test_an_evaluation_that_failed_is_exit_code_1(file, capsys):
    assert main(["evaluate", file, "nothing"]) == 1
    assert json.loads(capsys.readouterr().out)["error_code"] == "FLAG_NOT_FOUND"


def test_a_file_that_cannot_be_read_is_exit_code_2(tmp_path, capsys):
    assert main(["evaluate", str(tmp_path / "absent.json"), "f"]) == 2
    assert "absent.json" in capsys.readouterr().err


@pytest.mark.parametrize("context", ["{", "[]"])
def test_a_context_that_is_no_object_is_refused(file, context, capsys):
    with pytest.raises(SystemExit):
        main(["evaluate", file, "f", "--context", context])
