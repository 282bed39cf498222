"""The statements of the paper's sections 3 to 5, each beside the code, the setting and the test that hold it.

A statement is a mark on its test: ``@pytest.mark.paper("§5", "64 Mel bands", code="imaging.log_mel",
setting="imaging.n_mels")``. The command ``pytest --collect-only -q --paper-statements FILE`` writes them as JSON.
"""

from collections.abc import Sequence
from html import escape
from inspect import getdoc
from operator import attrgetter
from pkgutil import resolve_name

from IPython.display import HTML

from mimii_lib.errors import MimiiError
from mimii_lib.pages.tables import word_table
from mimii_lib.run.profiles import Profile

MODULES = ("paper", "dataset", "imaging", "data", "extractors", "run", "detectors", "autoencoders", "evaluation")
"""Order of the statements of a section: that of the pipeline, by the module of their code."""


def statement(
    test: str, docstring: str | None, section: str, says: str, *, code: str, setting: str = "", remark: str = ""
) -> dict[str, str]:
    """Return a mark and its test as a row of the table.

    `code` is a name below ``mimii_lib``, `setting` a name such as ``imaging.n_mels``, or a field of a profile such as
    ``seeds``. Raises :class:`MimiiError` if one of them does not exist.
    """
    profile = Profile()
    try:
        value = attrgetter(setting)(profile.settings if "." in setting else profile) if setting else None
        does = getdoc(resolve_name(f"mimii_lib.{code}")) or ""
    except (AttributeError, ImportError) as error:
        raise MimiiError(f"the mark “{says}” names what does not exist: {error}") from None
    row = {"section": section, "statement": says, "code": code, "does": does, "test": test, "checks": docstring or ""}
    row |= {"setting": f"{setting} = {value}" if setting else "", "remark": remark}
    return {name: text.strip().partition("\n")[0] for name, text in row.items()}


def statements_table(statements: Sequence[dict[str, str]]) -> HTML:
    """Show statements in the paper's order, each beside what holds it."""
    rows = []
    for row in sorted(statements, key=lambda row: (row["section"], MODULES.index(row["code"].partition(".")[0]))):
        text = {name: escape(cell) for name, cell in row.items()}
        remark = f"<br><em>{text['remark']}</em>" if row["remark"] else ""
        setting = f"<code>{text['setting']}</code><br>" if row["setting"] else ""
        code = f"{setting}<code>{text['code']}</code><br>{text['does']}"
        test = f"<code>{text['test']}</code><br>{text['checks']}"
        rows.append((f"{text['section']}: {text['statement']}{remark}", code, test))
    return word_table("Statements of the paper", ("the paper states", "setting and code", "test"), rows)
