"""Write the docstrings of the API page out: the fields of settings with their sources, and the modules' conventions."""

import re
from typing import Any

from pydantic import BaseModel
from sphinx.application import Sphinx

from mimii_lib import settings

SECTION = re.compile(r"^(\w+)\n-{4,}$", re.MULTILINE)


def is_model(obj: Any) -> bool:
    """Return whether an object is a group of settings."""
    return isinstance(obj, type) and issubclass(obj, BaseModel)


def write_out(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Change the lines of a docstring in place, before numpydoc reads them."""
    if what == "module":  # a section on a page with several modules would be in its contents once for each
        lines[:] = SECTION.sub(r".. rubric:: \1\n", "\n".join(lines)).split("\n")
    elif is_model(obj) and obj.model_fields and obj is not settings.Settings:
        lines += ["Parameters", "----------"]
        for field, source in settings.sources(obj()).items():
            default = obj.model_fields[field].default
            lines += [f"{field} : default {default!r}", f"    {'Assumed: ' * source.is_assumption}{source.text}"]


def leave_out_types(app: Sphinx, what: str, name: str, obj: Any, *signature: Any) -> tuple[str, None] | None:
    """Return no signature for a group of settings, whose fields follow."""
    return ("", None) if is_model(obj) else None


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("autodoc-process-docstring", write_out, priority=400)
    app.connect("autodoc-process-signature", leave_out_types, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
