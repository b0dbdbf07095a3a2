from dataclasses import replace

import pytest

from apps.rollouts.domain import machine, sentences, words
from apps.rollouts.domain.sentences import Names
from tests.rollouts.make_rollouts import NOW, pressure, progress, verdict, within

NAMES = Names("GPT-5", "GPT-4.1", "Flash-Lite")
FEW_ERRORS = verdict(
    state="inconclusive", metric="error_rate", unit="share", why="", k=28, n=4440, k_baseline=80, n_baseline=13320
)


def told(at=None, verdicts=(), pressures=(), reason=""):
    at = at or progress()
    decision = machine.decide(at, list(verdicts), list(pressures), NOW)
    return sentences.text(sentences.tell(at, decision, NAMES, reason))


def test_a_rollback_says_what_by_how_much_and_why():
    assert told(progress(stage=1, share=2500), [verdict()]) == (
        "Rolled back invoice-extraction from 25 % to 0 % GPT-5 because p95 latency was 4.34 s, limit 2.56 s. "
        "Evidence 565:1, limit 500:1, 118 requests."
    )


def test_a_second_cause_is_another_metric():
    slow_twice = [verdict(), verdict(against="limit", limit=3.0, evidence=520.0)]
    failing = verdict(metric="error_rate", unit="share", observed=0.8, baseline=0.0, limit=0.0, n_baseline=235)

    assert "because p95 latency was 4.34 s, limit 2.56 s. Evidence" in told(verdicts=slow_twice)
    assert "2.56 s, and error rate was 80.0 % against none of 235 on GPT-4.1. Evidence" in told(
        verdicts=[*slow_twice, replace(failing, evidence=510.0)]
    )


def test_a_warning_says_whether_evidence_or_requests_are_missing():
    growing = verdict(state="warning", evidence=61.0)
    few = verdict(state="warning", evidence=32_186.0, requests=16)

    assert "GPT-5: evidence of harm is growing, p95 latency was 4.34 s" in told(verdicts=[growing])
    assert "GPT-5: too few requests to act on yet, 16, p95 latency was 4.34 s" in told(verdicts=[few])


@pytest.mark.parametrize(
    ("at", "verdicts", "sentence"),
    [
        (
            {},
            [within()] * 4,
            "Advanced invoice-extraction from 10 % to 25 % GPT-5: four guardrails within, 612 requests judged.",
        ),
        (
            {"stage": 1, "share": 2500},
            [FEW_ERRORS],
            "Held invoice-extraction at 25 % GPT-5: error rate not judged yet, "
            "28 of 4,440 against 80 of 13,320 on GPT-4.1.",
        ),
        ({"samples": 41}, [within()], "Held invoice-extraction at 10 % GPT-5: 41 of 200 requests."),
        (
            {"stage": 1, "share": 2500},
            [within()],
            "Held invoice-extraction at 25 % GPT-5: the next stage, 50 %, waits for an approval.",
        ),
        ({"paused": True}, [within()], "Held invoice-extraction at 10 % GPT-5: it is paused."),
        (
            {"stage": 3, "share": 10_000},
            [within()],
            "Finished invoice-extraction at 100 % GPT-5: one guardrail within, 612 requests judged.",
        ),
    ],
)
def test_each_decision_has_its_sentence(at, verdicts, sentence):
    assert told(progress(**at), verdicts) == sentence


def test_money_is_told_with_the_part_that_nobody_confirmed():
    assert told(pressures=[pressure(estimated_nano=1_200_000_000)]) == (
        "Fell back invoice-extraction to Flash-Lite because the day spend of invoice-extraction was $50.12, "
        "limit $50.00, $1.20 of it estimated."
    )


def test_a_person_is_quoted():
    decision = machine.roll_back(progress(), "person")

    assert sentences.text(sentences.tell(progress(), decision, NAMES, "users complain.")) == (
        "Rolled back invoice-extraction from 10 % to 0 % GPT-5 because users complain."
    )


def test_pages_find_verb_share_value_and_limit():
    parts = sentences.tell(progress(), machine.decide(progress(), [verdict()], [], NOW), NAMES)
    marked = {role: text for role, text in parts if role}

    assert marked["verb"] == "Rolled back"
    assert (marked["value"], marked["limit"], marked["candidate"]) == ("4.34 s", "2.56 s", "GPT-5")


@pytest.mark.parametrize("code", ["incident", "exceeded", "money", "warning", "baking", "switched", "plan_ends"])
def test_every_hold_can_be_told(code):
    because = (pressure(),) if code == "money" else (verdict(),)
    decision = machine.Decision("hold", code, because, stage=0, share=1000, until=NOW)

    assert sentences.text(sentences.tell(progress(), decision, NAMES)).endswith(".")


@pytest.mark.parametrize(
    ("value", "text"),
    [(4.34, "4.34 s"), (12.34, "12.3 s"), (118.4, "118 s"), (0.894, "0.894 s"), (0.0412, "41.2 ms"), (0.999, "1.00 s")],
)
def test_latencies_show_three_figures(value, text):
    assert words.seconds(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [("12.556", "$12.56"), ("0.00312", "$0.00312"), ("0", "$0.00"), ("17500", "$17,500.00")]
)
def test_money_shows_cents_or_three_figures(value, text):
    assert words.usd(value) == text
