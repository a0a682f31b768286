"""Every place in the provisioner's code where a problem gets its code."""

import ast
from collections.abc import Iterator
from pathlib import Path

from provisioner.service.http.problems import STATUS_OF

ROOT = Path(__file__).parents[2] / "provisioner"
_MAKERS = ("Refusal", "HttpError", "answer")
"""Called with a kind or status, and the code."""
_STATUS_OF_NAME = {f"RefusalKind.{kind.name}": status for kind, status in STATUS_OF.items()}


def problem_sites() -> set[tuple[str, int]]:
    """(code, status) of every refusal and HTTP error that is written down."""
    return {
        site for path in sorted(ROOT.rglob("*.py")) for site in _sites(ast.parse(path.read_text()))
    }


def _sites(tree: ast.Module) -> Iterator[tuple[str, int]]:
    helpers = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    for call in _calls(tree):
        if _name(call) in _MAKERS:
            yield from _written(*call.args[:2])
        elif _name(call) in helpers:
            yield from _through(helpers[_name(call)], call)


def _through(helper: ast.FunctionDef, call: ast.Call) -> Iterator[tuple[str, int]]:
    """What a helper makes of the arguments of one call."""
    given = dict(zip((a.arg for a in helper.args.args), call.args, strict=False))
    for made in _calls(helper):
        if _name(made) in _MAKERS and "code" in given:
            status, code = made.args[:2]
            yield from _written(given.get(ast.unparse(status), status), given[ast.unparse(code)])


def _calls(tree: ast.AST) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def _name(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else ""


def _written(status: ast.expr, code: ast.expr) -> Iterator[tuple[str, int]]:
    """The pair if both are constants; `A if x else B` are two pairs."""
    if isinstance(status, ast.IfExp) and isinstance(code, ast.IfExp):
        yield from _written(status.body, code.body)
        yield from _written(status.orelse, code.orelse)
    elif isinstance(code, ast.Constant):
        yield code.value, _STATUS_OF_NAME.get(ast.unparse(status)) or ast.literal_eval(status)
