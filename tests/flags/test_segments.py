import itertools

from hypothesis import given
from hypothesis import strategies as st

from apps.flags.domain import segments
from apps.flags.domain.segments import WHOLE

VARIANTS = ["a", "b", "base"]


@st.composite
def weights(draw: st.DrawFn) -> dict[str, int]:
    first, second = sorted([draw(st.integers(0, WHOLE)), draw(st.integers(0, WHOLE))])
    return dict(zip(VARIANTS, [first, second - first, WHOLE - second], strict=True))


def laid_out(steps: list[dict[str, int]]) -> segments.Segments:
    layout = segments.whole("base")
    for step in steps:
        layout = segments.reweigh(layout, step, "base")
    return layout


@given(st.lists(weights(), max_size=6))
def test_the_segments_have_the_asked_weights_and_fill_the_range(steps):
    layout = laid_out(steps)

    assert sum(size for _, size in layout) == WHOLE
    assert all(size > 0 for _, size in layout)
    assert all(left[0] != right[0] for left, right in itertools.pairwise(layout))
    if steps:
        assert all(segments.weights_of(layout).get(name, 0) == size for name, size in steps[-1].items())


@given(st.lists(weights(), max_size=4), weights())
def test_nobody_moves_who_need_not_move(steps, after):
    before = laid_out(steps)
    have = {name: segments.weights_of(before).get(name, 0) for name in VARIANTS}
    layout = segments.reweigh(before, after, "base")

    moved = segments.moves(before, layout)

    growth = sum(max(after[name] - have[name], 0) for name in VARIANTS)
    assert all(after[came] > have[came] for came in {to for _, to in moved} - {"base"})
    assert all(after[left] < have[left] for left in {start for start, _ in moved} - {"base"})
    assert sum(moved.values()) <= growth + sum(max(have[n] - after[n], 0) for n in ("a", "b"))


@given(st.lists(weights(), max_size=4), st.sampled_from(["a", "b"]), st.integers(0, WHOLE))
def test_growth_takes_from_the_baseline_only(steps, variant, more):
    before = laid_out(steps)
    more = min(more, segments.weights_of(before).get("base", 0))

    layout = segments.grow(before, variant, more, "base")

    assert segments.moves(before, layout) == ({("base", variant): more} if more else {})


@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.integers(1, 4000)), max_size=8))
def test_shrinking_undoes_growing_in_the_reverse_order(grown):
    layouts = [segments.whole("base")]
    done = []
    for variant, more in grown:
        if segments.weights_of(layouts[-1]).get("base", 0) > more:
            layouts.append(segments.grow(layouts[-1], variant, more, "base"))
            done.append((variant, more))

    for variant, more in reversed(done):
        layout = segments.shrink(layouts.pop(), variant, more, "base")
        assert layout == layouts[-1]


def test_a_third_arm_grows_next_to_the_arms_that_are_there():
    layout = laid_out([{"a": 1000, "b": 0, "base": 9000}, {"a": 1000, "b": 2000, "base": 7000}])

    grown = segments.reweigh(layout, {"a": 3000, "b": 2000, "base": 5000}, "base")

    assert grown == (("a", 1000), ("b", 2000), ("a", 2000), ("base", 5000))
    assert segments.moves(layout, grown) == {("base", "a"): 2000}


def test_a_hundredth_of_a_percent_is_a_share():
    assert laid_out([{"a": 1, "base": 9999}]) == (("a", 1), ("base", 9999))


def test_everything_on_the_candidate_is_one_segment():
    assert laid_out([{"a": 5000, "base": 5000}, {"a": WHOLE, "base": 0}]) == (("a", WHOLE),)
