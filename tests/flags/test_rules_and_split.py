"""Rules first, the split for the rest, whatever the rule looks like; and everybody where the segments say."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.flags.domain import definition, segments
from apps.flags.domain.definition import FlagParts, RouteParts
from changeover import Snapshot
from changeover.murmur3 import murmur3_32

VARIANTS = {"base": 0, "cand": 1, "vip": 2}
contexts = st.fixed_dictionaries(
    {"targetingKey": st.text("abc0123456789", min_size=1, max_size=6)},
    optional={"plan": st.sampled_from(["beta", "free", ""]), "tenant": st.text(max_size=3) | st.none()},
)
answers = st.sampled_from(["base", "cand", "vip", None])
conditions = st.sampled_from([
    {"==": [{"var": "plan"}, "beta"]}, {"!!": [{"var": "tenant"}]}, {"in": ["1", {"var": "targetingKey"}]}, True, False,
])  # fmt: skip


@st.composite
def rules(draw: st.DrawFn, depth: int = 2) -> Any:
    inner = answers if depth == 0 else answers | rules(depth - 1)
    form = draw(st.sampled_from(["if", "if", "else", "or", "and"]))
    if form in ("or", "and"):
        return {form: [draw(conditions), draw(inner)] if form == "and" else [draw(inner), draw(inner)]}
    arguments: list[Any] = []
    for _ in range(draw(st.integers(1, 2))):
        arguments += [draw(conditions), draw(inner)]
    if form == "else":
        arguments.append(draw(inner))
    return {"if": arguments}


def answer(rule: Any, context: dict[str, Any], **parts: Any) -> Any:
    flag = FlagParts(key="f", default_variant="base", targeting=rule, **({"variants": VARIANTS} | parts))
    document = {"flags": {"f": definition.definition(flag)}}
    return Snapshot.from_flagd(document).evaluate("f", context)


@given(rules(), contexts, st.integers(1, 9999))
def test_who_gets_an_answer_from_a_rule_keeps_it_and_the_others_are_split(rule, context, share):
    split = (("cand", share), ("base", segments.WHOLE - share))

    alone = answer(rule, context)
    by_split = answer({}, context, segments=split)
    together = answer(rule, context, segments=split)

    if alone.error_code:  # a condition's own true or false as an answer
        assert together.error_code == alone.error_code or together.variant == by_split.variant
    elif alone.reason == "TARGETING_MATCH":
        assert (together.variant, together.assigned_by) == (alone.variant, alone.assigned_by)
    else:
        assert together.variant in (by_split.variant, "base")  # an else that says null means the default


def test_a_null_rule_result_leaves_the_subject_to_the_split():
    rule = {"if": [{"==": [{"var": "plan"}, "beta"]}, "vip"]}
    split = (("cand", 10_000),)

    assert answer(rule, {"targetingKey": "u", "plan": "beta"}, segments=split).variant == "vip"
    rest = answer(rule, {"targetingKey": "u", "plan": "free"}, segments=split)
    assert (rest.variant, rest.assigned_by) == ("cand", "split")


@given(st.text(min_size=1, max_size=20).filter(lambda text: text.isprintable()), st.integers(1, 9999))
def test_everybody_is_where_the_segments_say(subject, share):
    from changeover import cbor

    layout = (("cand", share), ("base", segments.WHOLE - share))
    point = murmur3_32(cbor.encode(["f", subject])) * segments.WHOLE >> 32

    assert answer({}, {"targetingKey": subject}, segments=layout).variant == segments.at(layout, point)


@pytest.mark.parametrize(
    "context", [{"targetingKey": "u"}, {"targetingKey": "u", "tenant": ""}, {"targetingKey": "u", "tenant": None}]
)
def test_a_subject_without_the_bucketing_attribute_gets_the_default(context):
    route = RouteParts(fallback_variant="", unit="tenant")
    variants = {name: {"model": name} for name in VARIANTS}

    told = answer({}, context, segments=(("cand", 10_000),), route=route, variants=variants)
    known = answer({}, context | {"tenant": "acme"}, segments=(("cand", 10_000),), route=route, variants=variants)

    assert (told.variant, told.assigned_by) == ("base", "default")
    assert (known.variant, known.assigned_by) == ("cand", "split")


def test_one_tenant_stays_together_whatever_the_request():
    route = RouteParts(fallback_variant="", unit="tenant")
    variants = {name: {"model": name} for name in VARIANTS}
    split = (("cand", 5000), ("base", 5000))

    seen = {
        answer({}, {"targetingKey": f"r-{n}", "tenant": "acme"}, segments=split, route=route, variants=variants).variant
        for n in range(50)
    }

    assert len(seen) == 1
