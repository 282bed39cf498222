"""The statements of the paper: marks on the tests, collected with what holds them."""

import pytest

from mimii_lib.errors import MimiiError
from mimii_lib.pages import conformance
from mimii_lib.pages.open_points import POINTS, SOURCES
from mimii_lib.run import Run


def test_every_value_of_the_paper_is_held_by_a_test(statements):
    """Each setting with the paper's value is named by a mark, and a remark names a point that is open."""
    named = {row["setting"].partition(" = ")[0] for row in statements}
    assert {name for name, source in SOURCES.items() if not source.is_assumption} <= named
    numbers = {row["remark"].partition("open point ")[2] for row in statements} - {""}
    assert numbers <= {str(point.number) for point in POINTS}
    assert conformance.statements_table(statements).data.count("</tr>") == len(statements) + 1


def test_values_of_a_run_stand_beside_those_of_the_tests(tiny, quick):
    """Only settings that the run changes are named, with its value; the table shows them."""
    run = Run("fan", data=tiny, profile=quick)
    rows = [
        conformance.statement("test_a.py::test_a", "Doc.", "§5", name, code="imaging.log_mel", setting=name)
        for name in ("autoencoders.epochs", "imaging.n_mels", "seeds")
    ]
    assert conformance.used_otherwise(rows, [run]) == {"autoencoders.epochs": "1", "seeds": "(0,)"}
    assert "autoencoders.epochs = 80" in rows[0]["setting"]
    assert conformance.statements_table(rows, [run]).data.count("this run: ") == 2
    assert "this run" not in conformance.statements_table(rows).data
    run = run.with_overrides(seeds=[0, 1], settings={"autoencoders.seeds": [1]})
    assert conformance.used_otherwise(rows, [run])["seeds"] == "(0, 1), of the auto-encoders (1,)"


@pytest.mark.parametrize("names", [{"code": "imaging.sound"}, {"code": "imaging.log_mel", "setting": "imaging.mels"}])
def test_a_mark_that_names_what_does_not_exist_is_an_error(names):
    """Code or a setting that is gone stops the collection."""
    with pytest.raises(MimiiError, match="“64 Mel bands” names what does not exist"):
        conformance.statement("test_imaging.py::test_mel", "A docstring.", "§5", "64 Mel bands", **names)
