"""Rules as Python: one function per rule, faster than closures. In: the same rule. Out: the same answer.

The source is made from the rule's shape alone. Every literal, name and number of a rule is bound as a global (`c0`,
`c1` …), every part that is not written out here is a closure (`k0` …), so no text of a rule ever stands in the source,
and rules of one shape share one code object. The finished source is parsed and checked against a list of what may
stand in it before it is compiled.

Where a comparison is written out (`t == c0`), the types are tested first: for any others the operator is called.
"""

from __future__ import annotations

import ast
import re
from bisect import bisect_right
from collections.abc import Callable
from functools import lru_cache, partial
from types import CodeType, FunctionType
from typing import Any

from changeover.rules import bucketing as buckets
from changeover.rules import operators
from changeover.rules.answering import RuleCompiler
from changeover.rules.closures import Split, Value
from changeover.rules.tree import holds_fractional, is_literal, is_literal_list, operation

MAX_SOURCE = 50_000
FEW = 3  # texts in a list before a set is faster
MANY = 8  # arms of a split before a search is faster

NUMBERS = frozenset((int, float))
ORDERS = {"<": "lt", "<=": "le", ">": "gt", ">=": "ge"}
TESTS = {"starts_with": "startswith", "ends_with": "endswith"}
# Operators that answer true, false or null: Python takes those as JSONLogic does.
PLAIN_TRUTHS = {"==", "!=", "===", "!==", "!", "!!", "in", "all", "some", "none", "sem_ver", *ORDERS, *TESTS}

HELPERS: dict[str, Any] = {
    "lt": operators.less,
    "le": operators.less_or_equal,
    "gt": operators.greater,
    "ge": operators.greater_or_equal,
    "eq": operators.equals,
    "contains": operators.contains,
    "text": operators.to_text,
    "true": operators.to_bool,
    "walk": operators.walk,
    "numbers": NUMBERS,
    "bisect": bisect_right,
    "isinstance": isinstance,
    "len": len,
    "str": str,
    "type": type,
    "unencodable": UnicodeEncodeError,
}

NAMES = re.compile(rf"(?:rule|data|now|[ckt]\d+|by_rule|by_split|{'|'.join(HELPERS)})\Z")
METHODS = {"get", "encode", *TESTS.values()}
NODES = (
    *(ast.Module, ast.FunctionDef, ast.arguments, ast.arg, ast.Return, ast.If, ast.Assign, ast.IfExp, ast.NamedExpr),
    *(ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.BinOp, ast.Add, ast.Compare, ast.Eq, ast.Lt, ast.LtE),
    *(ast.Gt, ast.GtE, ast.In, ast.Is, ast.IsNot, ast.Call, ast.Name, ast.Load, ast.Store, ast.Attribute, ast.List),
    *(ast.Subscript, ast.Try, ast.ExceptHandler),
)


class CannotGenerate(ValueError):
    """This rule stays a closure."""


def compile_rule(compiler: RuleCompiler, rule: Any) -> Value:
    generator = Generator(compiler)
    generator.answer(rule, False, 1)
    source = "\n".join(["def rule(data, now):", *generator.lines, ""])
    if len(source) > MAX_SOURCE:
        raise CannotGenerate("the rule is too long")
    try:
        code = code_of(source)
    except (SyntaxError, RecursionError, MemoryError) as fault:
        raise CannotGenerate(str(fault)) from fault
    return FunctionType(code, {"__builtins__": {}, **HELPERS, **generator.bound})


@lru_cache(maxsize=1024)
def code_of(source: str) -> CodeType:
    tree = ast.parse(source)
    check(tree)
    module = compile(tree, "<rule>", "exec", dont_inherit=True)
    return next(constant for constant in module.co_consts if isinstance(constant, CodeType))


def check(tree: ast.AST) -> None:
    """Raises unless every node, name, method and constant is one that this module writes."""
    for node in ast.walk(tree):
        fits = isinstance(node, NODES)
        match node:
            case ast.Name(id=name) | ast.arg(arg=name) | ast.FunctionDef(name=name):
                fits = NAMES.match(name) is not None
            case ast.Attribute(attr=method):
                fits = method in METHODS
            case ast.Constant(value=value):
                fits = value is None
        if not fits:
            raise CannotGenerate(f"{ast.dump(node)} may not stand in a rule")


class Generator:
    def __init__(self, compiler: RuleCompiler) -> None:
        self.compiler = compiler
        self.lines: list[str] = []
        self.temporaries = 0
        found = compiler.answers.found
        self.bound: dict[str, Any] = {
            "by_rule": partial(found, is_split=False),
            "by_split": partial(found, is_split=True),
        }

    # Names

    def constant(self, value: Any) -> str:
        return self.bind("c", value)

    def closure(self, value: Value) -> str:
        return f"{self.bind('k', value)}(data, now)"

    def bind(self, letter: str, value: Any) -> str:
        name = f"{letter}{len(self.bound)}"
        self.bound[name] = value
        return name

    def temporary(self) -> str:
        self.temporaries += 1
        return f"t{self.temporaries}"

    def write(self, depth: int, line: str) -> None:
        self.lines.append(" " * depth + line)

    # Answers: statements that end in `return`

    def answer(self, node: Any, is_split: bool, depth: int) -> None:
        name, args = operation(node) or ("", [])
        if is_literal(node):
            self.write(depth, f"return {self.constant(self.compiler.answers.fixed(node, is_split=is_split))}")
        elif name in ("if", "?:"):
            self.answer_of_if(args, is_split, depth)
        elif name in ("and", "or") and args:
            self.answer_of_either(name, args, is_split, depth)
        elif name == "fractional":
            split = Split.read(args, self.compiler.bucketing)
            if split is not None and split.is_shorthand:
                self.answer_of_split(split, depth)
            else:
                self.write(depth, f"return {self.closure(self.compiler.answer(node, is_split))}")
        else:
            by = "by_split" if is_split or holds_fractional(node) else "by_rule"
            self.write(depth, f"return {by}({self.value(node)})")

    def answer_of_if(self, args: list[Any], is_split: bool, depth: int) -> None:
        for at in range(0, len(args) - 1, 2):
            is_split = holds_fractional(args[at])
            self.write(depth, f"if {self.truth(args[at])}:")
            self.answer(args[at + 1], is_split, depth + 1)
        self.answer(args[-1] if len(args) % 2 else None, is_split, depth)

    def answer_of_either(self, name: str, args: list[Any], is_split: bool, depth: int) -> None:
        *early, last = args
        for arg in early:
            current = self.temporary()
            by = "by_split" if is_split or holds_fractional(arg) else "by_rule"
            self.write(depth, f"{current} = {self.value(arg)}")
            self.write(depth, f"if {'' if name == 'or' else 'not '}true({current}):")
            self.write(depth + 1, f"return {by}({current})")
        self.answer(last, is_split, depth)

    def answer_of_split(self, split: Split, depth: int) -> None:
        """Written out, since most requests pass here: from the subject to the arm without a call of ours."""
        compiler, fixed = self.compiler, self.compiler.answers.fixed
        numbers = [fixed(arm, is_split=True) for arm in split.arms]
        no_arm = fixed(buckets.NO_ARM, is_split=True)
        subject, told = self.temporary(), self.temporary()
        heads = self.constant(buckets.Heads(compiler.bucketing, compiler.salt))
        digest = self.constant(buckets.hash_of(compiler.bucketing))
        h = f"{digest}({heads}[len({told})] + {told})"
        self.write(depth, f"{subject} = data.get({self.constant('targetingKey')})")
        self.write(depth, f"if isinstance({subject}, str) and {subject}:")
        self.write(depth + 1, "try:")
        self.write(depth + 2, f"{told} = {subject}.encode()")
        self.write(depth + 1, "except unencodable:")
        self.write(depth + 2, f"return {self.constant(no_arm)}")
        if len(numbers) > MANY:
            found = self.constant([*numbers, no_arm])  # v1 can point behind the last arm
            self.write(depth + 1, f"return {found}[bisect({self.constant(split.edges)}, {h})]")
        else:
            it = self.temporary()
            self.write(depth + 1, f"{it} = {h}")
            arms = zip(numbers, split.edges, strict=True)
            chain = "".join(f"{self.constant(n)} if {it} < {self.constant(edge)} else " for n, edge in arms)
            self.write(depth + 1, f"return {chain}{self.constant(no_arm)}")
        self.write(depth, f"return {self.constant(no_arm)}")

    # Values: expressions

    def value(self, node: Any) -> str:
        if is_literal(node):
            return self.constant(node)
        name, args = operation(node) or ("", [])
        write = WRITERS.get(name)
        written = write(self, name, args) if write is not None else None
        return written if written is not None else self.closure(self.compiler.value(node))

    def truth(self, node: Any) -> str:
        """An expression that Python takes for true exactly where JSONLogic takes the node for true."""
        if is_literal(node):
            return self.constant(operators.to_bool(node))
        name, args = operation(node) or ("", [])
        if name in ("and", "or") and args:
            return f"({f' {name} '.join(map(self.truth, args))})"
        if name in PLAIN_TRUTHS:
            return self.value(node)
        return f"true({self.value(node)})"

    def tested(self, node: Any, test: str, then: str, otherwise: str) -> str:
        """`then` if the node's value passes the test, else `otherwise`; each speaks of the value as {it}."""
        value, it = self.value(node), self.temporary()
        return f"({then.format(it=it)} if {test.format(it=f'({it} := {value})')} else {otherwise.format(it=it)})"

    def var(self, name: str, args: list[Any]) -> str | None:
        key = args[0] if args else None
        if not isinstance(key, str) or key == "" or len(args) > 2 or (len(args) == 2 and not is_literal(args[1])):
            return None
        path = tuple(key.split("."))
        if path[0] == "$flagd" and path != ("$flagd", "timestamp"):
            return None
        if path[0] == "$flagd":
            self.compiler.time_dependent = True
            return "now"
        default = args[1] if len(args) == 2 else None
        if len(path) > 1:
            return f"walk(data, {self.constant(path)}, {self.constant(default)})"
        read = f"data.get({self.constant(key)})"
        if default is None:
            return read
        it = self.temporary()
        return f"({it} if ({it} := {read}) is not None else {self.constant(default)})"

    def equality(self, name: str, args: list[Any]) -> str | None:
        if len(args) != 2:
            return None
        if name in ("===", "!=="):
            written = f"({self.value(args[0])} == {self.value(args[1])})"
        else:
            written = self.compared(args, "==", "eq")
        return written if name in ("==", "===") else f"(not {written})"

    def order(self, name: str, args: list[Any]) -> str | None:
        return self.compared(args, name, ORDERS[name]) if len(args) == 2 else None

    def compared(self, args: list[Any], sign: str, helper: str) -> str:
        left, right = args
        for literal, other, form in ((right, left, "{it} {sign} {c}"), (left, right, "{c} {sign} {it}")):
            if type(literal) is str and not is_literal(other):
                test = "type({it}) is str"
            elif type(literal) in NUMBERS and not is_literal(other):
                test = "type({it}) in numbers"
            else:
                continue
            c = self.constant(literal)
            then = form.replace("{sign}", sign).replace("{c}", c)
            return self.tested(other, test, then, f"{helper}({form.replace('{sign}', ',').replace('{c}', c)})")
        return f"{helper}({self.value(left)}, {self.value(right)})"

    def negation(self, name: str, args: list[Any]) -> str | None:
        if len(args) != 1:
            return None
        return f"(not {self.truth(args[0])})" if name == "!" else f"(not (not {self.truth(args[0])}))"

    def either(self, name: str, args: list[Any]) -> str | None:
        if not args or not all((operation(arg) or ("",))[0] in PLAIN_TRUTHS for arg in args):
            return None
        return f"({f' {name} '.join(map(self.value, args))})"

    def condition(self, name: str, args: list[Any]) -> str | None:
        if not args:
            return None
        pairs = [(args[at], args[at + 1]) for at in range(0, len(args) - 1, 2)]
        written = [f"{self.value(then)} if {self.truth(test)} else " for test, then in pairs]
        return f"({''.join(written)}{self.value(args[-1] if len(args) % 2 else None)})"

    def membership(self, name: str, args: list[Any]) -> str | None:
        if len(args) != 2:
            return None
        needle, haystack = args
        if not is_literal_list(haystack):
            return f"contains({self.value(needle)}, {self.value(haystack)})"
        items = self.constant(haystack)
        if len(haystack) < FEW or not all(type(item) is str for item in haystack):
            return f"({self.value(needle)} in {items})"
        texts = self.constant(frozenset(haystack))
        return self.tested(needle, "type({it}) is str", f"{{it}} in {texts}", f"{{it}} in {items}")

    def text_test(self, name: str, args: list[Any]) -> str | None:
        if len(args) != 2 or type(args[1]) is not str or is_literal(args[0]):
            return None
        c = self.constant(args[1])
        return self.tested(args[0], "isinstance({it}, str)", f"{{it}}.{TESTS[name]}({c})", "None")

    def joined(self, name: str, args: list[Any]) -> str | None:
        if not args:
            return None
        return f"({' + '.join(map(self.as_text, args))})"

    def as_text(self, node: Any) -> str:
        if is_literal(node):
            return self.constant(operators.to_text(node))
        return self.tested(node, "type({it}) is str", "{it}", "text({it})")


WRITERS: dict[str, Callable[[Generator, str, list[Any]], str | None]] = {
    "var": Generator.var,
    **dict.fromkeys(("==", "!=", "===", "!=="), Generator.equality),
    **dict.fromkeys(ORDERS, Generator.order),
    **dict.fromkeys(TESTS, Generator.text_test),
    **dict.fromkeys(("!", "!!"), Generator.negation),
    **dict.fromkeys(("and", "or"), Generator.either),
    **dict.fromkeys(("if", "?:"), Generator.condition),
    "in": Generator.membership,
    "cat": Generator.joined,
}
