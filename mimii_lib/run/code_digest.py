"""The code that a function reaches: what invalidates a kept result when it changes.

A stage's function is followed through the imports of its module, and of the modules that these import, within the
project. The digest is taken over their syntax trees, so that comments, docstrings and layout do not count. The
versions are those of the packages for computation that these modules import.
"""

import ast
import hashlib
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, requires, version
from pathlib import Path
from typing import Any

PROJECT = __name__.partition(".")[0]

COMPUTING = frozenset(
    {"efficientnet-lite-pytorch", "librosa", "matplotlib", "numpy", "pandas", "scikit-learn", "scipy", "soundfile"}
    | {"torch", "torchvision"}
)
"""Packages whose version can change a number. OpenVINO's is part of the engine's name, hence of the key."""


@cache
def code_digest(function: Callable[..., Any]) -> str:
    """Return a digest of the syntax trees of all modules of the project that a function reaches by imports."""
    modules = reached_modules(function.__module__)
    return hashlib.sha256("\n".join(sorted(map(_syntax, modules))).encode()).hexdigest()[:32]


@cache
def package_versions(function: Callable[..., Any]) -> dict[str, str]:
    """Return the versions of the packages for computation that a function reaches, by name."""
    imported = {name for module in reached_modules(function.__module__) for name in _imports(module)}
    distributions = packages_distributions()
    pending = {found for name in imported for found in distributions.get(name.partition(".")[0], ())}
    reached: set[str] = set()
    while pending:
        name = pending.pop()
        if name in COMPUTING and name not in reached:
            reached.add(name)
            pending |= {re.split(r"[^\w.-]", text)[0] for text in requires(name) or () if "extra ==" not in text}
    return {name: _version(name) for name in sorted(reached)}


@cache
def reached_modules(module: str) -> frozenset[str]:
    """Return a module of the project and all others that it imports, directly or not, also within functions."""
    reached, pending = set[str](), {module}
    while pending:
        name = pending.pop()
        reached.add(name)
        pending |= {other for other in _imports(name) if other.startswith(f"{PROJECT}.")} - reached
    return frozenset(reached)


@cache
def _imports(module: str) -> frozenset[str]:
    """Return the modules that a module of the project imports when it runs: not those for type checkers alone."""
    return frozenset(_imported(_tree(module)))


def _imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = str(node.module)
            submodules = [name for alias in node.names if _is_module(name := f"{package}.{alias.name}")]
            yield from submodules
            if len(submodules) < len(node.names):
                yield package
        elif not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            yield from _imported(node)


@cache
def _is_module(name: str) -> bool:
    """Tell whether a name is a module of the project; others matter by their package alone."""
    return name.startswith(f"{PROJECT}.") and _source(name) is not None


def _source(module: str) -> Path | None:
    """Return a module's file, beside this one: nothing is imported to find it."""
    base = Path(__file__).resolve().parents[1].joinpath(*module.split(".")[1:])
    files = (base.with_suffix(".py"), base / "__init__.py")
    return next((file for file in files if file.is_file()), None)


def _tree(module: str) -> ast.Module:
    file = _source(module)
    if file is None:  # a function of a notebook or a script: it has no file that others could import
        raise ValueError(f"{module}: not a module of {PROJECT}, so its code cannot be followed")
    return ast.parse(file.read_text(encoding="utf-8"))


@cache
def _syntax(module: str) -> str:
    """Return a module's syntax tree as a text, without its docstrings and without line numbers."""
    tree = _tree(module)
    for node in ast.walk(tree):
        for field in ("body", "orelse", "finalbody"):
            statements = getattr(node, field, None)
            if isinstance(statements, list):
                setattr(node, field, [statement for statement in statements if not _is_docstring(statement)])
    return ast.dump(tree)


def _is_docstring(statement: ast.AST) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def outside_code(*functions: Callable[..., Any]) -> list[str]:
    """Return the syntax of functions that a notebook or a script has registered; those of the project are left out."""
    outside = [function for function in functions if not function.__module__.startswith(PROJECT)]
    return [ast.dump(ast.parse(textwrap.dedent(inspect.getsource(function)))) for function in outside]
