"""Generated Python, closures and flagd's plain interpreter agree on whatever hypothesis thinks of: NaN, -0.0, integers
beyond any float, texts beyond the basic plane, nested lists, attributes that are missing."""

from __future__ import annotations

from typing import Any

import time_machine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from changeover import Snapshot

from .chance import EAGER, LAZY, ORDER, TEXTUAL, VARIANTS
from .flagd_core import ask, load
from .older_core import NOW
from .test_flagd_agreement import as_closures, told

texts = st.sampled_from(["", "a", "beta", "1", "1.5", "zoë", "🦀", "1.2.3", "v1.2", "true"]) | st.text(max_size=4)
finite = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
scalars = finite | texts
names = st.sampled_from(["plan", "n", "tags", "user", "user.name", "tags.0", "tags.length", "nothing", "", 0, None])


def operations(rules: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    arms = st.sampled_from(["a", "b", "c", "zzz", True, None, 1]) | rules
    entries = st.lists(st.tuples(arms, st.integers(-1, 100) | scalars).map(list), min_size=1, max_size=3)
    splits = entries | st.tuples(rules, entries).map(lambda both: [both[0], *both[1]])
    many = st.sampled_from(["if", "?:", "and", "or", *ORDER, *EAGER, *LAZY, *TEXTUAL])
    return st.one_of(
        names.map(lambda name: {"var": name}),
        st.tuples(names, rules).map(lambda both: {"var": list(both)}),
        splits.map(lambda arguments: {"fractional": arguments}),
        st.tuples(many, st.lists(rules, max_size=4)).map(lambda both: {both[0]: both[1]}),
    )


rules = operations(st.recursive(scalars | st.lists(scalars, max_size=3), operations, max_leaves=12))
values = st.recursive(
    scalars | st.sampled_from([float("nan"), float("inf"), -0.0]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "a", "0"]), inner, max_size=2),
    max_leaves=6,
)
contexts = st.dictionaries(st.sampled_from(["plan", "n", "tags", "user"]), values) | st.fixed_dictionaries(
    {"targetingKey": texts, "plan": values}
)
defaults = st.sampled_from(["a", "b", "", None, "zzz"])


@time_machine.travel(NOW, tick=False)
@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(rule=rules, context=contexts, default=defaults)
def test_all_three_answer_the_same(rule: dict[str, Any], context: dict[str, Any], default: str | None):
    definition = {
        "state": "ENABLED",
        "variants": VARIANTS,
        "targeting": rule,
        "defaultVariant": default,
        "metadata": {},
    }
    document = {"flags": {"f": definition}}

    generated = Snapshot.from_flagd(document).evaluate("f", dict(context), now=NOW)
    closures = as_closures(definition, "v3").evaluate(dict(context), NOW)

    assert (told(closures), closures.assigned_by) == (told(generated), generated.assigned_by)
    assert told(generated) == repr(ask(load(document), "f", context))
