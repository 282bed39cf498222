"""The statements of the paper's sections 3 to 5, each beside the code, the setting and the test that checks it.

A statement is a mark on its test: ``@pytest.mark.paper("§5", "64 Mel bands", code="imaging.log_mel",
setting="imaging.n_mels")``. The command ``pytest --collect-only -q --paper-statements FILE`` writes them as JSON.
"""

from collections.abc import Sequence
from html import escape
from inspect import getdoc
from operator import attrgetter
from pkgutil import resolve_name
from typing import Any

from IPython.display import HTML

from mimii_lib.errors import MimiiError
from mimii_lib.pages.run_box import by_machine
from mimii_lib.pages.tables import word_table
from mimii_lib.run import Run
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
    try:
        value = _value(Profile(), setting) if setting else None
        does = getdoc(resolve_name(f"mimii_lib.{code}")) or ""
    except (AttributeError, ImportError) as error:
        raise MimiiError(f"the mark “{says}” names what does not exist: {error}") from None
    row = {"section": section, "statement": says, "code": code, "does": does, "test": test, "checks": docstring or ""}
    row |= {"setting": f"{setting} = {value}" if setting else "", "remark": remark}
    return {name: text.strip().partition("\n")[0] for name, text in row.items()}


def _value(profile: Profile, setting: str) -> Any:
    return attrgetter(setting)(profile.settings if "." in setting else profile)


def _used(profile: Profile, setting: str) -> str:
    """Return a value as text: beside the seeds those of the auto-encoders, where these are fewer."""
    value, fewer = _value(profile, setting), profile.settings.autoencoders.seeds
    if setting != "seeds" or fewer is None or {*profile.seeds} <= {*fewer}:
        return str(value)
    return f"{value}, of the auto-encoders {tuple(seed for seed in profile.seeds if seed in fewer)}"


def used_otherwise(statements: Sequence[dict[str, str]], runs: Sequence[Run]) -> dict[str, str]:
    """Return the values that runs use, by the setting of a statement, where they are not those that the tests check."""
    names = dict.fromkeys(row["setting"].partition(" = ")[0] for row in statements if row["setting"])
    values = {name: {run.machine: _used(run.profile, name) for run in runs} for name in names}
    return {
        name: by_machine(of_runs)
        for name, of_runs in values.items()
        if any(value != _used(Profile(), name) for value in of_runs.values())
    }


def statements_table(statements: Sequence[dict[str, str]], runs: Sequence[Run] = ()) -> HTML:
    """Show statements in the paper's order, each beside what checks it, and the value of `runs` where it is another."""
    used, rows = used_otherwise(statements, runs), []
    for row in sorted(statements, key=lambda row: (row["section"], MODULES.index(row["code"].partition(".")[0]))):
        text = {name: escape(cell) for name, cell in row.items()}
        remark = f"<br><em>{text['remark']}</em>" if row["remark"] else ""
        setting = f"<code>{text['setting']}</code><br>" if row["setting"] else ""
        if (name := row["setting"].partition(" = ")[0]) in used:
            setting += f'<strong class="used">this run: {escape(used[name])}</strong><br>'
        code = f"{setting}<code>{text['code']}</code><br>{text['does']}"
        test = f"<code>{text['test']}</code><br>{text['checks']}"
        rows.append((f"{text['section']}: {text['statement']}{remark}", code, test))
    return word_table("Statements of the paper", ("the paper states", "setting and code", "test"), rows)
