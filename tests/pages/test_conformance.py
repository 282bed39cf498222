"""The list of the paper's statements: it names what is there, and leaves out nothing that is stated."""

from dataclasses import fields, replace

import pytest

from mimii_lib.errors import MimiiError
from mimii_lib.pages import conformance, open_points
from mimii_lib.pages.conformance import STATEMENTS
from mimii_lib.settings import Settings


@pytest.mark.parametrize("statement", STATEMENTS, ids=lambda each: each.says)
def test_a_statement_is_held_by_what_it_names(statement):
    """Setting, function and test of every statement are there, and say what they do."""
    setting, does, tells = conformance.check(statement)
    assert setting.startswith(statement.setting)
    assert does.endswith((".", ")", "`"))
    assert tells.endswith(".")


def test_every_stated_setting_is_on_the_list():
    """No setting that claims to be the paper's is missing from the list of statements."""
    stated = {
        f"{group.name}.{item.name}"
        for group in fields(Settings())
        for item in fields(getattr(Settings(), group.name))
        if "stated" in item.metadata
    }
    assert stated <= {statement.setting for statement in STATEMENTS}


def test_every_remark_names_a_point_that_is_open():
    """Where a statement can be read in several ways, the remark leads to one of the open points."""
    numbers = {point.number for point in open_points.POINTS}
    for statement in STATEMENTS:
        _, found, number = statement.remark.partition("open point ")
        assert not found or int(number) in numbers


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"value": 65}, "imaging.n_mels: is 64"),
        ({"function": "imaging.no_such"}, "mimii_lib.imaging.no_such: no such function"),
        ({"test": "test_imaging.py::test_no_such"}, "test_no_such: no such test"),
        ({"test": "test_no_such.py::test_no_such"}, "test_no_such.py: no such file"),
    ],
)
def test_a_line_that_no_longer_holds_is_an_error(change, said):
    """A statement whose setting, function or test is not what it was cannot be shown."""
    statement = next(each for each in STATEMENTS if each.setting == "imaging.n_mels")
    with pytest.raises(MimiiError, match=said):
        conformance.check(replace(statement, **change))
