"""The sentences of errors and notices, found in the source: what a reader may be shown in either language."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import medviewer
from medviewer.domain import errors

PACKAGE = Path(medviewer.__file__).parent
ERRORS = {
    name
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, errors.MedViewerError) and kind is not errors.Stopped
}
GAP = "GAP{n}"  # stands for a value
Assigned = dict[str, list[tuple[int, ast.expr]]]  # name to where it gets a literal


def sentences(*folders: str) -> dict[str, str]:
    """Every literal given to an error of ours or to ``notify``, with where it stands; values are ``GAP0``, ``GAP1``."""
    found = {}
    every = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}
    shared = {
        name: places for tree in every.values() for name, places in _assigned(tree).items() if name.strip("_").isupper()
    }
    for path, tree in every.items():
        if path.relative_to(PACKAGE).parts[0] in folders:
            known = {**shared, **_assigned(tree)}
            for node in ast.walk(tree):
                for words in _said(node, known):
                    found[words] = f"{path.relative_to(PACKAGE)}:{getattr(node, 'lineno', 0)}"
    return found


def words_of(node: ast.expr | None) -> list[str]:
    """What a literal says, with its values as ``GAP0``, ``GAP1``; nothing of what is no literal."""
    return _words(node, {}, 0) if isinstance(node, ast.Constant | ast.JoinedStr) else []


def _said(node: ast.AST, known: Assigned) -> Iterator[str]:
    if not isinstance(node, ast.Call) or not node.args:
        return
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if name in ERRORS or name == "notify":
        yield from filter(None, _words(node.args[-1 if name == "notify" else 0], known, node.lineno))


def _words(node: ast.expr, known: Assigned, line: int) -> list[str]:
    """What an expression may say; nothing where only the program's run decides."""
    if isinstance(node, ast.Name):
        before = [value for at, value in known.get(node.id, []) if at < line or node.id.strip("_").isupper()]
        return _words(before[-1], {}, line) if before else []
    if isinstance(node, ast.Constant):
        return [node.value] if isinstance(node.value, str) else []
    if isinstance(node, ast.IfExp):
        return _words(node.body, known, line) + _words(node.orelse, known, line)
    if isinstance(node, ast.JoinedStr):
        parts = [part.value if isinstance(part, ast.Constant) else None for part in node.values]
        return ["".join(GAP.format(n=i) if part is None else str(part) for i, part in enumerate(parts))]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return [a + b for a in _words(node.left, known, line) for b in _words(node.right, known, line)]
    return []


def _assigned(tree: ast.AST) -> Assigned:
    found: Assigned = {}
    for node in ast.walk(tree):
        is_one = isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        if is_one and isinstance(node.value, ast.Constant | ast.JoinedStr | ast.IfExp | ast.BinOp):
            found.setdefault(node.targets[0].id, []).append((node.lineno, node.value))
    return {name: sorted(places, key=lambda place: place[0]) for name, places in found.items()}
