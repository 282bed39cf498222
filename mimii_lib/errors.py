"""The error for input that the user can correct."""

import re
from collections.abc import Iterable
from difflib import get_close_matches
from reprlib import Repr
from typing import TYPE_CHECKING, get_args

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError


LONGEST = 80  # characters of a value that an error shows
_repr = Repr()
_repr.maxstring = _repr.maxother = _repr.maxlong = LONGEST
_repr.maxlevel = 2


class MimiiError(ValueError):
    """Input that cannot be used: one sentence with what was found, what was expected and what to do."""


class NotRun(MimiiError):
    """Choices that are valid and leave nothing for a page to show: its message completes "not run, because …"."""


def unknown_value(parameter: str, value: object, allowed: Iterable[object]) -> MimiiError:
    """Return the error for a `parameter` whose `value` is not one of the names `allowed`, with the closest one."""
    names, text = [str(name) for name in allowed], str(value)[:LONGEST]
    close = get_close_matches(text, names, n=1)
    hint = f"; did you mean '{close[0]}'?" if close else ""
    return MimiiError(f"{parameter}: {text!r} is not known; expected one of {', '.join(names)}{hint}")


def shown(value: object) -> str:
    """Return a value as an error shows it: on one line, cut where it is long, and its lists where they are deep."""
    try:
        return _repr.repr(value)
    except ValueError:  # a number with more digits than Python prints
        return "a number of very many digits"


def invalid_input(error: "ValidationError", model: "type[BaseModel]", where: str) -> MimiiError:
    """Return the first problem of values for a `model` as one sentence; `where` is their file or parameter."""
    problem = error.errors(include_url=False)[0]
    *groups, name = problem["loc"] or ("",)
    cause = problem.get("ctx", {}).get("error")
    if isinstance(cause, MimiiError):
        return MimiiError(_place(where, *groups, cause))
    if problem["type"] == "extra_forbidden":
        for group in groups:  # the annotation of the field is a model, or a model or None
            annotation = model.model_fields[str(group)].annotation
            model = next(part for part in (annotation, *get_args(annotation)) if hasattr(part, "model_fields"))
        return unknown_value(_place(where, *groups) or "parameter", name, model.model_fields)
    expected = re.sub(
        "^Input should be |^Input is not |^Tuple should have |( or inst| for <| after|, unab).*", "", problem["msg"]
    )
    expected = expected.replace("a valid dictionary", "values by name")
    return MimiiError(f"{_place(where, *groups, name)}: found {shown(problem['input'])}, expected {expected}")


def _place(*parts: object) -> str:
    """Return the names that lead to a value; positions in a list are left out."""
    return ": ".join(str(part) for part in parts if str(part) and not isinstance(part, int))
