"""The code that a function reaches: a kept result is invalid when it changes.

A stage's function is followed through the imports of its module, and of the modules that these import, within the
project. The digest is of their syntax trees: comments, docstrings and layout do not count. The versions are those of
the packages for computation that these modules import.
"""

import ast
import hashlib
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from functools import cache, partial
from importlib.metadata import distribution, packages_distributions
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

PROJECT = __name__.partition(".")[0]
ROOT = Path(__file__).resolve().parents[1]

COMPUTING = frozenset(
    {"efficientnet-lite-pytorch", "librosa", "matplotlib", "numpy", "pandas", "scikit-learn", "scipy", "soundfile"}
    | {"torch", "torchvision"}
)
"""Packages whose version can change a number. OpenVINO's is part of the engine's name, hence of the key."""
# Each reads files of all that is installed.
_packages, _package = cache(packages_distributions), cache(distribution)


@cache
def code_digest(function: Callable[..., Any]) -> str:
    """Return a digest of the syntax trees of all modules of the project that a function reaches by imports."""
    return syntax_digest(*reached_modules(function.__module__))


@cache
def syntax_digest(*modules: str) -> str:
    """Return a digest of the syntax trees of modules of the project, without what they import."""
    trees = sorted(ast.dump(_tree(module)) for module in modules)
    return hashlib.sha256("\n".join(trees).encode()).hexdigest()[:32]


@cache
def package_versions(function: Callable[..., Any]) -> dict[str, str]:
    """Return the versions of the packages for computation that a function reaches, by name."""
    imported = {name.partition(".")[0] for module in reached_modules(function.__module__) for name in _imports(module)}
    pending = {package for name in imported for package in _packages().get(name, ())} & COMPUTING
    versions: dict[str, str] = {}
    while pending:
        package = _package(pending.pop())
        versions[package.name] = package.version
        required = {re.split(r"[^\w.-]", text)[0] for text in package.requires or () if "extra ==" not in text}
        pending |= required & COMPUTING - set(versions)
    return dict(sorted(versions.items()))


@cache
def reached_modules(module: str) -> frozenset[str]:
    """Return a module of the project and all others that it imports, directly or not, also within functions."""
    reached, pending = set[str](), {module}
    while pending:
        reached.add(name := pending.pop())
        pending |= {other for other in _imports(name) if other.startswith(f"{PROJECT}.")} - reached
    return frozenset(reached)


def described(value: Any, around: tuple[Any, ...] = ()) -> Any:
    """Return as plain data what a registered value is: a dataclass such as an extractor, with its functions.

    A function of a notebook or a script is its instructions and the values that it refers to; one of the project or of
    an installed package is its name. Either is described with the values that it was made with. Of other objects the
    type alone is described. `around` are the functions and classes within which a value stands.
    """
    if isinstance(value, (str, int, float, type(None))):
        return value
    if isinstance(value, (list, tuple)):
        return [described(item, around) for item in value]
    if isinstance(value, dict):
        return {str(name): described(item, around) for name, item in value.items()}
    if isinstance(value, partial):
        return described([value.func, value.args, value.keywords], around)
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: described(getattr(value, field.name), around) for field in fields(value)}
    if isinstance(value, ModuleType):
        return value.__name__
    if not isinstance(value, (type, FunctionType)):
        return described(type(value), around)
    name = f"{value.__module__}.{value.__qualname__}"
    if value in around:
        return name
    inside = (*around, value)
    if isinstance(value, type):
        return [name, described([*value.__bases__, dict(vars(value))] if _is_outside(value) else [], inside)]
    made_with: list[Any] = [value.__defaults__, value.__kwdefaults__, inspect.getclosurevars(value).nonlocals]
    if _is_outside(value):
        made_with += [_instructions(value.__code__), inspect.getclosurevars(value).globals]
    return [name, described(made_with, inside)]


def _is_outside(value: Any) -> bool:
    """Return whether a function or class is of a notebook or a script, not of the project or an installed package."""
    module = value.__module__
    file = str(getattr(sys.modules.get(module), "__file__", ""))  # a notebook has none
    installed = module in sys.builtin_module_names or file.startswith((sys.base_prefix, sys.prefix))
    return not (installed or module.startswith(f"{PROJECT}."))


def _instructions(code: CodeType) -> list[Any]:
    constants = [_instructions(one) if isinstance(one, CodeType) else one for one in code.co_consts]
    # The order of a set is that of this process.
    texts = [repr(sorted(map(repr, one)) if isinstance(one, frozenset) else one) for one in constants]
    return [hashlib.sha256(code.co_code).hexdigest()[:32], code.co_names, texts]


@cache
def _imports(module: str) -> frozenset[str]:
    return frozenset(_imported(_tree(module)))


def _imported(tree: ast.AST) -> Iterator[str]:
    """Yield what is imported when a module runs: not what it imports for type checkers alone."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            modules = {name for name in names if name.startswith(f"{PROJECT}.") and _source(name).is_file()}
            yield from modules
            if names - modules:
                yield str(node.module)
        elif not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            yield from _imported(node)


def _source(module: str) -> Path:
    """Return a module's file, beside this one: nothing is imported to find it."""
    path = ROOT.joinpath(*module.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@cache
def _tree(module: str) -> ast.Module:
    """Return a module's syntax tree without statements that are a constant, such as docstrings."""
    tree = ast.parse(_source(module).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        for field in ("body", "orelse", "finalbody"):
            if isinstance(statements := getattr(node, field, None), list):
                constants = [s for s in statements if isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant)]
                setattr(node, field, [statement for statement in statements if statement not in constants])
    return tree
