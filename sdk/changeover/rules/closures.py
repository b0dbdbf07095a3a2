"""Rules as closures: each node of a rule becomes a function of (data in scope, second of the evaluation).

At the root the data in scope is the context itself: `$flagd` is answered without being put into it. Only a rule that
may look anywhere (`{"var": ""}`, a computed path) needs the whole data; the compiler says so in `needs_data`.
Inside map, filter, reduce, all, some and none the scope is the element and nothing else.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from typing import Any

from changeover.rules import bucketing as buckets
from changeover.rules import operators, versions
from changeover.rules.operators import OPERATORS, to_bool
from changeover.rules.tree import is_literal, is_literal_list, operation

Value = Callable[[Any, Any], Any]
Answer = Callable[[Any], Any]


class Split:
    """A `fractional` whose entries are plain: all its arms and weights stand in the rule."""

    __slots__ = ("arms", "edges", "entries", "is_shorthand", "seed")

    def __init__(self, *, seed: Any, entries: list[Any], is_shorthand: bool, edges: list[int]) -> None:
        self.seed = seed
        self.entries = entries
        self.is_shorthand = is_shorthand
        self.edges = edges
        self.arms = [entry[0] for entry in entries]

    @classmethod
    def read(cls, args: list[Any], bucketing: str) -> Split | None:
        if not args:
            return None
        is_shorthand = isinstance(args[0], list)
        entries = args if is_shorthand else args[1:]
        weights = buckets.weights_of(entries) if all(map(is_literal_list, entries)) else None
        if weights is None:
            return None
        edges = buckets.edges(weights, bucketing)
        return cls(seed=None if is_shorthand else args[0], entries=entries, is_shorthand=is_shorthand, edges=edges)


class Compiler:
    """Compiles the rules of one flag."""

    def __init__(self, *, flag_key: str, bucketing: str, salt: str) -> None:
        self.flag_key = flag_key
        self.bucketing = bucketing
        self.salt = salt
        self.hash_subject = buckets.subject_hash(bucketing, salt)
        self.needs_data = False
        self.time_dependent = False

    # Nodes

    def value(self, node: Any, root: bool = True) -> Value:
        """The function that answers this node's value."""
        if isinstance(node, list):
            items = [self.value(item, root) for item in node]
            return lambda data, now: [item(data, now) for item in items]
        found = operation(node)
        if found is None:
            return lambda data, now: node
        name, args = found
        special = SPECIAL.get(name)
        if special is not None:
            return special(self, args, root)
        return self.plain(name, args, root)

    def truth(self, node: Any, root: bool) -> Value:
        """The function that answers whether this node counts as true."""
        value = self.value(node, root)
        return lambda data, now: to_bool(value(data, now))

    def plain(self, name: str, args: list[Any], root: bool) -> Value:
        """An operator that is told all its arguments at once."""
        operator = OPERATORS.get(name)
        values = [self.value(arg, root) for arg in args]
        if operator is None:

            def unknown(data: Any, now: Any) -> Any:
                for value in values:
                    value(data, now)
                raise operators.unknown(name)

            return unknown
        if len(values) == 1:
            [only] = values
            return lambda data, now: operator(data, only(data, now))
        if len(values) == 2:
            left, right = values
            return lambda data, now: operator(data, left(data, now), right(data, now))
        return lambda data, now: operator(data, *[value(data, now) for value in values])

    def see_everything(self, root: bool) -> None:
        if root:
            self.needs_data = self.time_dependent = True

    # Reading

    def var(self, args: list[Any], root: bool) -> Value:
        key = args[0] if args else None
        if len(args) > 2 or not isinstance(key, str) or key == "":
            self.see_everything(root)
            return self.plain("var", args, root)
        read = self.path(tuple(key.split(".")), root)
        if len(args) == 1:
            return read
        default = self.value(args[1], root)

        def read_or_default(data: Any, now: Any) -> Any:
            otherwise = default(data, now)  # told beforehand, as every argument: it may raise
            value = read(data, now)
            return otherwise if value is None else value

        return read_or_default

    def path(self, names: tuple[str, ...], root: bool) -> Value:
        first = names[0]
        if root and first == "$flagd":
            return self.flagd(names[1:])
        if len(names) > 1 or not root:
            return lambda data, now: operators.walk(data, names)
        return lambda data, now: data.get(first)

    def flagd(self, names: tuple[str, ...]) -> Value:
        if names == ("flagKey",):
            key = self.flag_key
            return lambda data, now: key
        self.time_dependent = True
        if names == ("timestamp",):
            return lambda data, now: now
        return lambda data, now: operators.walk({"flagKey": self.flag_key, "timestamp": now}, names)

    def missing(self, args: list[Any], root: bool) -> Value:
        keys = args[0] if args and isinstance(args[0], list) else args
        if root and all(isinstance(key, str) and key and key.partition(".")[0] != "$flagd" for key in keys):
            return self.plain("missing", args, root)
        self.see_everything(root)
        return self.plain("missing", args, root)

    def missing_some(self, args: list[Any], root: bool) -> Value:
        self.see_everything(root)
        return self.plain("missing_some", args, root)

    # Choosing

    def if_(self, args: list[Any], root: bool) -> Value:
        branches = [(self.truth(args[at], root), self.value(args[at + 1], root)) for at in range(0, len(args) - 1, 2)]
        otherwise = self.value(args[-1], root) if len(args) % 2 else None

        def choose(data: Any, now: Any) -> Any:
            for condition, answer in branches:
                if condition(data, now):
                    return answer(data, now)
            return None if otherwise is None else otherwise(data, now)

        return choose

    def and_(self, args: list[Any], root: bool) -> Value:
        values = [self.value(arg, root) for arg in args]

        def every(data: Any, now: Any) -> Any:
            current = None
            for value in values:
                current = value(data, now)
                if not to_bool(current):
                    return current
            return current

        return every

    def or_(self, args: list[Any], root: bool) -> Value:
        values = [self.value(arg, root) for arg in args]

        def any_(data: Any, now: Any) -> Any:
            current = None
            for value in values:
                current = value(data, now)
                if to_bool(current):
                    return current
            return current

        return any_

    # Lists: the second argument sees one element. Too few arguments answer without evaluating anything.

    def filter_(self, args: list[Any], root: bool) -> Value:
        if len(args) < 2:
            return lambda data, now: []
        items, keep = self.value(args[0], root), self.truth(args[1], False)

        def kept(data: Any, now: Any) -> Any:
            found = items(data, now)
            return [item for item in found if keep(item, now)] if isinstance(found, list) else []

        return kept

    def map_(self, args: list[Any], root: bool) -> Value:
        if not args:
            return lambda data, now: []
        items, change = self.value(args[0], root), self.value(args[1] if len(args) > 1 else None, False)

        def changed(data: Any, now: Any) -> Any:
            found = items(data, now)
            return [change(item, now) for item in found] if isinstance(found, list) else []

        return changed

    def reduce_(self, args: list[Any], root: bool) -> Value:
        if not args:
            return lambda data, now: None
        items, step = self.value(args[0], root), self.value(args[1] if len(args) > 1 else None, False)
        first = args[2] if len(args) > 2 else None  # taken as it stands, never evaluated

        def reduced(data: Any, now: Any) -> Any:
            found = items(data, now)
            if not isinstance(found, list):
                return first
            scope = {"accumulator": first}
            for item in found:
                scope["current"] = item
                scope["accumulator"] = step(scope, now)
            return scope["accumulator"]

        return reduced

    def all_(self, args: list[Any], root: bool) -> Value:
        if len(args) < 2:
            return lambda data, now: False
        items, holds = self.value(args[0], root), self.truth(args[1], False)

        def for_all(data: Any, now: Any) -> Any:
            found = items(data, now)
            return isinstance(found, list) and bool(found) and all(holds(item, now) for item in found)

        return for_all

    def some(self, args: list[Any], root: bool) -> Value:
        if len(args) < 2:
            return lambda data, now: False
        items, holds = self.value(args[0], root), self.truth(args[1], False)

        def for_some(data: Any, now: Any) -> Any:
            found = items(data, now)
            return isinstance(found, list) and any(holds(item, now) for item in found)

        return for_some

    def none(self, args: list[Any], root: bool) -> Value:
        if len(args) < 2:
            return lambda data, now: True
        for_some = self.some(args, root)
        return lambda data, now: not for_some(data, now)

    # Operators that are often used with constants

    def in_(self, args: list[Any], root: bool) -> Value:
        if len(args) != 2 or not is_literal_list(args[1]):
            return self.plain("in", args, root)
        needle, haystack = self.value(args[0], root), args[1]
        if len(haystack) < 8 or not all(type(item) is str for item in haystack):
            return lambda data, now: needle(data, now) in haystack
        texts = frozenset(haystack)

        def contained(data: Any, now: Any) -> Any:
            value = needle(data, now)
            return value in texts if type(value) is str else value in haystack

        return contained

    def sem_ver(self, args: list[Any], root: bool) -> Value:
        if len(args) != 3 or not is_literal(args[1]) or not is_literal(args[2]):
            return self.plain("sem_ver", args, root)
        version, op, other = self.value(args[0], root), args[1], versions.parse(args[2])
        return lambda data, now: versions.compare(versions.parse(version(data, now)), op, other)

    # Splits

    def fractional(self, args: list[Any], root: bool) -> Value:
        return self.split(args, root, fixed=null_without_arm, found=null_without_arm)

    def split(self, args: list[Any], root: bool, *, fixed: Answer, found: Answer) -> Value:
        """The function that answers for the arm a subject is in: `fixed` turns an arm that stands in the rule into its
        answer once, now; `found` turns an arm into its answer at each evaluation."""
        split = Split.read(args, self.bucketing) if root else None
        if split is None:
            return self.computed_split(args, root, found)
        # One answer more than edges: v1 can point behind the last arm.
        answers = [*map(fixed, split.arms), fixed(buckets.NO_ARM)]
        return self.by_subject(split, answers) if split.is_shorthand else self.by_seed(split, answers, found)

    def by_subject(self, split: Split, answers: list[Any]) -> Value:
        edges, no_arm = split.edges, answers[-1]
        # Most requests pass here: the hash stands in line rather than behind a call.
        heads, hash_of = buckets.Heads(self.bucketing, self.salt), buckets.hash_of(self.bucketing)

        def of_subject(data: Any, now: Any) -> Any:
            subject = data.get("targetingKey")
            if not isinstance(subject, str) or not subject:
                return no_arm
            try:
                told = subject.encode()
            except UnicodeEncodeError:
                return no_arm
            return answers[bisect_right(edges, hash_of(heads[len(told)] + told))]

        return of_subject

    def by_seed(self, split: Split, answers: list[Any], found: Answer) -> Value:
        hash_subject, bucketing, edges, no_arm = self.hash_subject, self.bucketing, split.edges, answers[-1]
        seed = self.value(split.seed)

        def of_seed(data: Any, now: Any) -> Any:
            told = seed(data, now)
            if isinstance(told, list):  # then it stands where the shorthand has its first entry
                return found(buckets.fractional(bucketing, hash_subject, data, [told, *split.entries]))
            h = buckets.seed_hash(bucketing, told)
            return no_arm if h is None else answers[bisect_right(edges, h)]

        return of_seed

    def computed_split(self, args: list[Any], root: bool, found: Answer) -> Value:
        bucketing, hash_subject = self.bucketing, self.hash_subject
        values = [self.value(arg, root) for arg in args]

        def computed(data: Any, now: Any) -> Any:
            told = [value(data, now) for value in values]
            if root or not told or not isinstance(told[0], list):
                return found(buckets.fractional(bucketing, hash_subject, data, told))
            # Inside a list operator the element is all there is: the flag's key is not there either.
            key = data.get("$flagd", {}).get("flagKey", "")
            return found(buckets.fractional(bucketing, buckets.subject_hash(bucketing, key), data, told))

        return computed


def null_without_arm(arm: Any) -> Any:
    return None if arm is buckets.NO_ARM else arm


SPECIAL: dict[str, Callable[[Compiler, list[Any], bool], Value]] = {
    "var": Compiler.var,
    "missing": Compiler.missing,
    "missing_some": Compiler.missing_some,
    "if": Compiler.if_,
    "?:": Compiler.if_,
    "and": Compiler.and_,
    "or": Compiler.or_,
    "filter": Compiler.filter_,
    "map": Compiler.map_,
    "reduce": Compiler.reduce_,
    "all": Compiler.all_,
    "some": Compiler.some,
    "none": Compiler.none,
    "in": Compiler.in_,
    "sem_ver": Compiler.sem_ver,
    "fractional": Compiler.fractional,
}
