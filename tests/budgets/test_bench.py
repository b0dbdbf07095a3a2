import json

from apps.budgets.domain import looks
from bench import guardrails
from tests.budgets.make_budgets import look, make_arm, make_rule, make_trial


def test_the_guardrail_bench_runs_and_writes_the_contracts_format(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(guardrails, "LOOKS", 400)
    monkeypatch.setattr("sys.argv", ["guardrails", "--quick", "--processes", "1", "--results", str(tmp_path)])
    monkeypatch.setattr(guardrails, "LATE", ())

    assert guardrails.main() == 0

    written = json.loads((tmp_path / "guardrails.json").read_text())
    assert set(written) == {"name", "at", "machine", "rows"}
    assert set(written["rows"][0]) == {"what", "value", "unit", "must", "holds", "beside"}
    assert "Guardrails as shipped" in capsys.readouterr().out


def test_the_same_seed_gives_the_same_rollout():
    case = guardrails.Case("latency_p95", 10, 1, slower=2.0)

    assert guardrails.play(case, 3) == guardrails.play(case, 3)
    assert guardrails.play(case, 3).look is not None


def test_the_benchs_sums_of_costs_are_those_of_a_real_look():
    rule = make_rule("cost_per_request", against="plan", limit_usd=0.004)
    trial = make_trial(rule)
    record = look(trial, make_arm(5, usd=[0.003, 0.003, 0.02, 0.001, 0.0045]))

    factors, _ = guardrails.population(rule.bound, 1.0, 0.005)

    assert record.counts[0][0] == 5
    assert len(factors[0]) == len(record.counts[0]) - 1
    index = guardrails.histogram.index_of(0.003)
    one = looks.cell_factors(index, rule.bound)
    assert looks.reduce(make_trial(rule), seen_one(0.003), now=0, share=0).counts[0][1:] == list(one)


def seen_one(usd):
    seen = looks.Seen()
    seen.split(1).candidate = make_arm(1, usd=[usd])
    return seen
