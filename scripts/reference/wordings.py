"""What texts a source file can make, read from the code without running it.

Numbers and what only running code knows are written as …, and single words by the names of their
variables in angle brackets: `f'{topic} is silent for {timeout:g} s'` becomes
'<topic> is silent for … s'.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

OPEN = '…'
_MOST = 6
"""Of a sentence that has more wordings, the parts that differ stand beside each other."""
_SAME = ('lower', 'lstrip', 'rstrip', 'strip', 'upper')
"""Methods of texts that change nothing of what is said."""

Environment = Mapping[str, ast.expr]
"""Variables whose values belong together, as those of a loop over written tuples do."""


def name_of(node: ast.AST) -> str:
    """The name of a variable or of an attribute; '' for all else."""
    return getattr(node, 'id', '') or getattr(node, 'attr', '')


def constants(trees: Iterable[ast.Module]) -> dict[str, ast.expr]:
    """Numbers and texts that modules give a name, which has one value everywhere."""
    found: dict[str, dict[str, ast.expr]] = {}
    for tree in trees:
        for node in tree.body:
            if isinstance(node, ast.Assign) and isinstance(
                node.value, (ast.Constant, ast.JoinedStr)
            ):
                values = found.setdefault(name_of(node.targets[0]), {})
                values[ast.dump(node.value)] = node.value
    return {name: next(iter(of.values())) for name, of in found.items() if len(of) == 1}


class Wordings:
    """Reads the texts of one file.

    Args:
        tree: the file.
        known: constants of all files, by name.
    """

    def __init__(self, tree: ast.Module, known: Mapping[str, ast.expr]) -> None:
        self._tree = tree
        # a name that this file gives by a tuple means something else in others
        own = {name_of(part) for node in tree.body for part in _in_tuple(node)}
        self._known = {name: value for name, value in known.items() if name not in own}
        self._parents = {
            child: parent for parent in ast.walk(tree) for child in ast.iter_child_nodes(parent)
        }
        self._functions = {
            node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)
        }

    def calls(self) -> Iterator[ast.Call]:
        """All calls of the file."""
        return (node for node in ast.walk(self._tree) if isinstance(node, ast.Call))

    def environments(self, node: ast.AST) -> list[Environment]:
        """What variables can be at a node because of loops over written tuples, or choices."""
        given: list[dict[str, ast.expr]] = [{}]
        for target, values in self._joint(node):
            given = [before | _bound(target, value) for before in given for value in values]
        return given

    def _joint(self, node: ast.AST) -> Iterator[tuple[ast.expr, list[ast.expr]]]:
        for above in self._above(node):
            if isinstance(above, ast.For) and isinstance(above.iter, ast.Tuple):
                yield above.target, above.iter.elts
            if isinstance(above, ast.FunctionDef):
                for x in above.body:
                    choice = isinstance(x, ast.Assign) and isinstance(x.value, ast.IfExp)
                    if choice and isinstance(x.targets[0], ast.Tuple):
                        yield x.targets[0], [x.value.body, x.value.orelse]

    def _above(self, node: ast.AST) -> Iterator[ast.AST]:
        while node in self._parents:
            node = self._parents[node]
            yield node

    def texts(self, node: ast.expr, given: Environment) -> list[str]:
        """All wordings of an expression; none where only running code knows it."""
        found = self._texts(node, given)
        return [text for text in dict.fromkeys(found) if text.strip(f'{OPEN} ')]

    def _texts(self, node: ast.expr, given: Environment) -> list[str]:
        match node:
            case ast.Constant():
                return [f'{node.value:g}' if isinstance(node.value, float) else str(node.value)]
            case ast.JoinedStr():
                return _joined(*(self._texts(part, given) for part in node.values))
            case ast.FormattedValue(value=ast.Name(id=name)) if name in self._known:
                return self._texts(self._known[name], given)
            case ast.FormattedValue():
                return [OPEN] if node.format_spec else self._texts(node.value, given)
            case ast.BinOp(op=ast.Add()):
                return _joined(self._texts(node.left, given), self._texts(node.right, given))
            case ast.IfExp():
                return [*self._texts(node.body, given), *self._texts(node.orelse, given)]
            case ast.Call(func=ast.Attribute(attr=method, value=value)) if method in _SAME:
                return self._texts(value, given)
            case ast.Call():
                return self._returned(node) or [OPEN]
            case ast.Name():
                return self._of_variable(node, given)
            case ast.Attribute():
                return [_word(node)]
        return [OPEN]

    def _of_variable(self, node: ast.Name, given: Environment) -> list[str]:
        texts: list[str] = []
        for value in self.values(node, given):
            if value is node or not _makes_text(value):
                return [_word(node)]
            texts += self._texts(value, given)
        added = [value for value, adds in self._reaching(node) if adds]
        return _joined(texts, [x for value in added for x in self._texts(value, given)] or [''])

    def values(self, node: ast.expr, given: Environment) -> list[ast.expr]:
        """What a variable was set to; the expression itself where it is no variable of here."""
        if not isinstance(node, ast.Name):
            return [node]
        if node.id in given:
            return [given[node.id]]
        return [value for value, adds in self._reaching(node) if not adds] or [node]

    def _reaching(self, node: ast.Name) -> list[tuple[ast.expr, bool]]:
        """What was assigned or added (True) to a variable before, up to a sure assignment."""
        found: list[tuple[ast.expr, bool]] = []
        for above in [node, *self._above(node)]:
            parent = self._parents.get(above)
            for block in ('body', 'orelse', 'finalbody'):
                statements = getattr(parent, block, None)
                if isinstance(statements, list) and above in statements:
                    for before in reversed(statements[: statements.index(above)]):
                        found += [x for x in _assignments(before, node.id) if x not in found]
                        if _surely_sets(before, node.id):
                            return found
            if isinstance(parent, ast.FunctionDef):
                break
        return found

    def _returned(self, call: ast.Call) -> list[str]:
        """The texts that a function of this file returns."""
        function = self._functions.get(name_of(call.func))
        if function is None:
            return []
        values = [x.value for x in ast.walk(function) if isinstance(x, ast.Return)]
        return [text for x in values if x and _makes_text(x) for text in self._texts(x, {})]


def _in_tuple(node: ast.stmt) -> list[ast.expr]:
    """The targets of an assignment of several values."""
    target = node.targets[0] if isinstance(node, ast.Assign) else None
    return target.elts if isinstance(target, ast.Tuple) else []


def _word(node: ast.expr) -> str:
    name = name_of(node).strip('_')
    return OPEN if name.isupper() else f'<{name.replace("_", " ")}>'


def _bound(target: ast.expr, value: ast.expr) -> dict[str, ast.expr]:
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        return {name_of(x): y for x, y in zip(target.elts, value.elts, strict=True)}
    return {name_of(target): value}


def _makes_text(node: ast.expr) -> bool:
    match node:
        case ast.BinOp():
            return _makes_text(node.left) or _makes_text(node.right)
        case ast.IfExp():
            return _makes_text(node.body) and _makes_text(node.orelse)
        case ast.Constant():
            return isinstance(node.value, str)
    return isinstance(node, ast.JoinedStr)


def _assignments(statement: ast.stmt, name: str) -> list[tuple[ast.expr, bool]]:
    """What a statement assigns or adds to a variable, at any depth."""
    return [
        (node.value, isinstance(node, ast.AugAssign))
        for node in ast.walk(statement)
        if (isinstance(node, ast.Assign) and name_of(node.targets[0]) == name)
        or (isinstance(node, ast.AugAssign) and name_of(node.target) == name)
    ]


def _surely_sets(statement: ast.stmt, name: str) -> bool:
    if isinstance(statement, ast.If):
        return all(
            any(_surely_sets(x, name) for x in block)
            for block in (statement.body, statement.orelse)
        )
    return isinstance(statement, ast.Assign) and name_of(statement.targets[0]) == name


def _joined(*parts: list[Any]) -> list[str]:
    """Join texts in all ways, unless these are too many."""
    wordings = ['']
    for part in parts:
        texts = list(dict.fromkeys(part))
        if len(wordings) * len(texts) > _MOST:
            texts = [' / '.join(filter(None, texts))]
        wordings = [before + text for before in wordings for text in texts]
    return wordings
