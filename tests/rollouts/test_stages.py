import pytest

from apps.rollouts.domain import stages
from apps.rollouts.domain.stages import BadStages


def test_a_share_is_read_exactly():
    (one, half, whole) = stages.read([{"share": 0.01}, {"share": "12.5"}, {"share": 100}])

    assert (one.share, half.share, whole.share) == (1, 1250, 10_000)


def test_least_samples_are_none_unless_told():
    (stage,) = stages.read([{"share": 10}])

    assert (stage.min_samples, stage.min_seconds, stage.approval) == (0, 0, False)


def test_a_shadow_stage_takes_two_weeks_unless_told_otherwise():
    shadow, _ = stages.read([{"shadow": 20, "limit_usd": "50.00"}, {"share": 100}])

    assert shadow.shadow == 2000 and shadow.share == 0
    assert shadow.least_time.days == 14
    assert shadow.limit_nano == 50_000_000_000


def test_stages_come_back_as_they_were_written():
    written = [
        {"shadow": 20, "min_seconds": 60.0, "min_samples": 0, "limit_usd": "50"},
        {"share": 12.5, "min_seconds": 0.0, "min_samples": 100, "approval": True, "safe": ["error_rate"]},
    ]

    assert [stage.as_dict() for stage in stages.read(written)] == written


@pytest.mark.parametrize(
    ("raw", "place"),
    [
        ([], "stages"),
        ("no list", "stages"),
        ([{}], "stages.0"),
        ([{"share": 10, "shadow": 10}], "stages.0"),
        ([{"share": 0}], "stages.0.share"),
        ([{"share": 100.5}], "stages.0.share"),
        ([{"share": 0.001}], "stages.0.share"),
        ([{"share": "ten"}], "stages.0.share"),
        ([{"share": "NaN"}], "stages.0.share"),
        ([{"share": 50}, {"share": 50}], "stages.1.share"),
        ([{"share": 50}, {"share": 10}], "stages.1.share"),
        ([{"share": 50}, {"shadow": 10}], "stages.1"),
        ([{"share": 10, "min_seconds": -1}], "stages.0.min_seconds"),
        ([{"share": 10, "min_samples": True}], "stages.0.min_samples"),
        ([{"share": 10, "approval": "yes"}], "stages.0.approval"),
        ([{"share": 10, "safe": "error_rate"}], "stages.0.safe"),
    ],
)
def test_what_cannot_run_is_refused_with_its_place(raw, place):
    with pytest.raises(BadStages) as refusal:
        stages.read(raw)

    assert refusal.value.place == place
