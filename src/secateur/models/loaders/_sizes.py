"""The texts of a ``.pt2`` that torch evaluates, sizes and the conditions on them: read by a grammar of their own."""

from __future__ import annotations

import ast
import re

LONGEST = 1 << 14
HIGHEST = 8
_FUNCTIONS = {"Max", "Min", "Mod", "PythonMod", "FloorDiv", "CeilDiv", "CleanDiv", "ModularIndexing", "Where", "Eq",
              "Ne", "Gt", "Ge", "Lt", "Le", "And", "Or", "Not", "IntTrueDiv", "FloatTrueDiv", "ToFloat", "TruncToInt",
              "Integer", "Rational", "Add", "Mul", "floor", "max", "min", "int"}
_POWERS = {"Pow", "PowByNatural"}
_WORDS = {"true", "false", "oo", "int_oo"}
_FACTS = {"positive", "integer", "nonnegative", "real", "finite"}
_LETTERS = re.compile(r"[\w ()\[\].,+\-*/%<>=!&|~'\"]*", re.ASCII)
_NAME = re.compile(r"[suz]\w*\d+", re.ASCII)
_PLACES = {"size", "stride"}
_TYPES = re.compile(r"(float|bfloat|int|uint|complex)\d+|bool")
_PARTS = (ast.Add, ast.Sub, ast.Mult, ast.FloorDiv, ast.Div, ast.Mod, ast.USub, ast.UAdd, ast.Not, ast.And, ast.Or,
          ast.BitAnd, ast.BitOr, ast.Invert, ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE)


def plain(text: str) -> bool:
    """Whether a text is made of symbols, numbers and known functions, so that evaluating it computes a size.

    A power is a symbol or a sum times itself, at most :data:`HIGHEST` times, with no power in its base: a tower of
    powers is a number that nobody can write down.

    >>> plain("Max(1, s0//2)"), plain("L['x'].size()[0] >= 2"), plain("__import__('os')"), plain("9**9**9**9")
    (True, True, False, False)
    >>> plain("Pow(Symbol('s27', integer=True), Integer(2))"), plain("Pow(Integer(9), Integer(8))")
    (True, False)
    """
    if len(text) > LONGEST or not _LETTERS.fullmatch(text):
        return False
    try:
        return _is_size(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False


def _is_size(node: ast.AST, powers: bool = True) -> bool:
    """Whether a part of an expression is arithmetic on sizes; ``powers`` says that it may be a power."""
    if isinstance(node, ast.Constant):
        return isinstance(node.value, (bool, int, float)) and abs(node.value) < 1 << 63
    if isinstance(node, ast.Name):
        return node.id in _WORDS or _NAME.fullmatch(node.id) is not None
    if isinstance(node, (ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare)):
        return all(_is_size(part, powers) if isinstance(part, ast.expr) else isinstance(part, _PARTS)
                   for part in ast.iter_child_nodes(node))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return _is_function(node.func.id, node, powers)
    return _is_place(node)


def _is_function(name: str, node: ast.Call, powers: bool) -> bool:
    """Whether a call is a symbol, a power that is allowed, or another known function of sizes."""
    args, words = node.args, {one.arg: one.value for one in node.keywords}
    if name in ("Symbol", "Float"):
        facts = _FACTS if name == "Symbol" else {"precision"}
        kinds = (bool,) if name == "Symbol" else (int,)
        return (len(args) == 1 and isinstance(args[0], ast.Constant) and isinstance(args[0].value, str)
                and re.fullmatch(r"[\w.+-]{1,40}", args[0].value) is not None and words.keys() <= facts
                and all(isinstance(v, ast.Constant) and type(v.value) in kinds for v in words.values()))
    if name in _POWERS:
        return (powers and not words and len(args) == 2 and _holds_name(args[0]) and _is_size(args[0], powers=False)
                and _exponent(args[1]) in (-1, *range(1, HIGHEST + 1)))
    flags = all(key == "evaluate" and isinstance(v, ast.Constant) and type(v.value) is bool for key, v in words.items())
    return name in _FUNCTIONS and flags and all(_is_size(one, powers) for one in args)


def _exponent(node: ast.AST) -> int | None:
    """The whole number that an exponent is; None where it is anything else."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Integer" and (
            len(node.args) == 1 and not node.keywords):
        return _exponent(node.args[0])
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = _exponent(node.operand)
        return None if inner is None else -inner
    return node.value if isinstance(node, ast.Constant) and type(node.value) is int else None


def _holds_name(node: ast.AST) -> bool:
    """Whether a symbol stands in an expression."""
    return any(isinstance(n, ast.Name) and (n.id == "Symbol" or _NAME.fullmatch(n.id)) for n in ast.walk(node))


def _is_place(node: ast.AST) -> bool:
    """Whether an expression is a size, stride, offset or type of an input, such as ``L['x'].size()[0]``."""
    if isinstance(node, ast.Attribute):
        if isinstance(node.value, ast.Name) and node.value.id == "torch":
            return _TYPES.fullmatch(node.attr) is not None
        return node.attr == "dtype" and _is_input(node.value)
    if isinstance(node, ast.Subscript):
        return (_is_key(node.slice, int) and _is_method(node.value, _PLACES)) or _is_input(node)
    return _is_method(node, {"storage_offset"})


def _is_method(node: ast.AST, names: set[str]) -> bool:
    """Whether a call without arguments asks an input for one of these."""
    return (isinstance(node, ast.Call) and not node.args and not node.keywords and isinstance(node.func, ast.Attribute)
            and node.func.attr in names and _is_input(node.func.value))


def _is_input(node: ast.AST) -> bool:
    """Whether an expression names an input: ``L['x']``, and what lies in it by name or position."""
    if not isinstance(node, ast.Subscript) or not _is_key(node.slice, int, str):
        return False
    return (isinstance(node.value, ast.Name) and node.value.id == "L") or _is_input(node.value)


def _is_key(node: ast.AST, *kinds: type) -> bool:
    """Whether a subscript is a plain name or position."""
    return isinstance(node, ast.Constant) and type(node.value) in kinds and (
        not isinstance(node.value, str) or re.fullmatch(r"\w{1,200}", node.value) is not None)
