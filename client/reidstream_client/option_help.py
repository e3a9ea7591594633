"""What each option means, for `help()`.

The meanings stand in the source, below the names, where editors show them. Python drops them there, so they are read
from the source once, when the client is imported. Trap: without sources (a program that was frozen) there are none;
then help has names, types and defaults only.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Mapping
from functools import cache
from itertools import pairwise
from textwrap import indent, wrap
from types import ModuleType

_WIDTH = 100


def with_options(doc: str | None, module: ModuleType, options: str) -> str | None:
    """A docstring with the options of a TypedDict, by its name in the module, one a paragraph."""
    if doc is None:  # as with python -OO
        return None
    paragraphs = [
        "\n".join(wrap(f"{name}: {meaning}", _WIDTH, subsequent_indent="    "))
        for name, meaning in _meanings(module, options).items()
    ]
    return inspect.cleandoc(doc) + ("\n\nOptions:\n" + indent("\n".join(paragraphs), "  ") if paragraphs else "")


def _meanings(module: ModuleType, options: str) -> Mapping[str, str]:
    """Those of the bases first."""
    classes = _classes(module)
    found: dict[str, str] = {}
    if options in classes:
        for base in classes[options].bases:
            found |= _meanings(module, base.id) if isinstance(base, ast.Name) else {}
        body = classes[options].body
        for field, text in pairwise(body):
            match field, text:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(meaning))):
                    found[name] = " ".join(meaning.split())
                case _:
                    pass
    return found


@cache
def _classes(module: ModuleType) -> Mapping[str, ast.ClassDef]:
    try:
        source = inspect.getsource(module)
    except (OSError, TypeError):
        return {}
    return {node.name: node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)}
