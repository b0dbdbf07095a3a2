"""The sentence of a decision. One template, used by pages, mail, API and command line:

what was done to what, by how much, because of which figure against which limit, with which evidence.

    Rolled back invoice-extraction from 25 % to 0 % GPT-5 because p95 latency was 4.34 s, limit 2.56 s.
    Evidence 565:1, limit 500:1, 118 requests.

It is made of parts, (role, text), so that a page can mark up verb, share, value and limit.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from apps.budgets.domain.verdicts import Verdict
from apps.rollouts.domain import words
from apps.rollouts.domain.machine import Decision, Pressure, Progress

Part = tuple[str, str]
VERBS = {
    "hold": "Held",
    "advance": "Advanced",
    "step_back": "Stepped back",
    "cap_share": "Capped",
    "stop_shadow": "Stopped the shadow of",
    "roll_back": "Rolled back",
    "fall_back": "Fell back",
    "block": "Blocked",
    "pause": "Paused",
    "finish": "Finished",
}


@dataclass(frozen=True, slots=True)
class Names:
    """How people call the variants: GPT-4.1, not openai/gpt-4.1."""

    candidate: str
    baseline: str
    fallback: str = ""


def text(parts: Iterable[Part]) -> str:
    return "".join(words for _, words in parts)


def tell(progress: Progress, decision: Decision, names: Names, reason: str = "") -> list[Part]:
    """`reason` is what a person gave; a decision of the machine gives its figures."""
    verb = "Aborted" if decision.code == "abort" else VERBS[decision.kind]
    head = [("verb", verb), *what(progress, decision, names)]
    if reason:
        return [*head, ("", " because "), ("reason", reason.strip().rstrip(".")), ("", ".")]
    return [*head, *why(progress, decision, names), ("", ".")]


def tell_route(kind: str, route: str, target: str, because: Sequence[Pressure], reason: str = "") -> list[Part]:
    """A decision about a route on which no rollout runs."""
    head: list[Part] = [("verb", VERBS[kind]), ("", " "), ("route", route)]
    if kind == "fall_back":
        head += [("", " to "), ("candidate", target)]
    if because and because[0].refused:
        return [*head, ("", ": "), ("reason", because[0].refused), ("", "; "), *money(because[0]), ("", ".")]
    cause = [("reason", reason.strip().rstrip("."))] if reason else money(because[0])
    return [*head, ("", " because "), *cause, ("", ".")]


def what(progress: Progress, decision: Decision, names: Names) -> list[Part]:
    """To which route, and by how much."""
    route: Part = ("route", progress.route)
    before, after = traffic(progress.share, progress.shadow), traffic(decision.share, decision.shadow)
    candidate: list[Part] = [("", " "), ("candidate", names.candidate)]
    match decision.kind:
        case "hold" | "pause" | "cap_share":
            return [("", " "), route, ("", " at "), ("share", after), *candidate]
        case "stop_shadow":
            return [*candidate, ("", " on "), route]
        case "fall_back":
            return [("", " "), route, ("", " to "), ("candidate", names.fallback)]
        case "block":
            return [("", " "), route]
        case "finish":
            return [("", " "), route, ("", " at "), ("share", "100 %"), *candidate]
        case _:
            return [("", " "), route, ("", " from "), ("share", before), ("", " to "), ("share", after), *candidate]


def traffic(share: int, shadow: int) -> str:
    return f"a {words.share(shadow)} shadow of" if shadow and not share else words.share(share)


def why(progress: Progress, decision: Decision, names: Names) -> list[Part]:
    """The figures of a decision of the machine."""
    verdicts = [one for one in decision.because if isinstance(one, Verdict)]
    pressures = [one for one in decision.because if isinstance(one, Pressure)]
    if decision.acts and pressures:
        return [("", " because "), *money(pressures[0])]
    if decision.acts and decision.code == "exceeded":
        return exceeded(verdicts, names)
    if decision.acts and decision.code == "never_judged":
        return [("", " because "), *not_judged(verdicts, names), ("", ", a day beyond its time")]
    if decision.kind in ("advance", "finish"):
        return within(progress, verdicts)
    return [("", ": "), *holding(progress, decision, verdicts, pressures, names)]


def holding(
    progress: Progress, decision: Decision, verdicts: list[Verdict], pressures: list[Pressure], names: Names
) -> list[Part]:
    following = progress.following
    present = progress.present
    match decision.code:
        case "incident":
            return [*measured(verdicts[0], names), ("", f", but {names.baseline} does no better: an incident of both")]
        case "exceeded":
            return [*measured(worst_first(verdicts)[0], names), ("", ", and it was acted on before")]
        case "warning":
            return growing(worst_first(verdicts)[0], names)
        case "money":
            refused = [("reason", pressures[0].refused), ("", "; ")] if pressures[0].refused else []
            return [*refused, *money(pressures[0])]
        case "inconclusive" | "stale" | "blind":
            return not_judged(verdicts, names)
        case "unproven":
            metrics = " and ".join(words.metric(metric) for metric in decision.missing)
            return [("reason", f"{metrics} not proven safe yet")]
        case "samples":
            least = present.min_samples if present else 0
            return [("value", f"{progress.samples:,} of {words.count(least, 'request')}")]
        case "baking":
            stays = words.clock(decision.until) if decision.until else "later"
            return [("reason", "the stage takes its time"), ("", f", until {stays}")]
        case "approval":
            share = traffic(following.share, following.shadow) if following else ""
            return [("", "the next stage, "), ("share", share), ("", ", "), ("reason", "waits for an approval")]
        case "paused":
            return [("reason", "it is paused")]
        case "switched":
            state = "off" if progress.switch == "off" else "on its fallback"
            return [("reason", f"the route is {state}")]
        case "plan_ends":
            return [("reason", "the plan ends here")]
        case _:
            return [("reason", decision.code)]


def exceeded(verdicts: Sequence[Verdict], names: Names) -> list[Part]:
    first, *others = worst_first(verdicts)
    parts: list[Part] = [("", " because "), *measured(first, names)]
    # The same metric against another limit says nothing new.
    for other in [verdict for verdict in others if verdict.metric != first.metric][:1]:
        parts += [("", ", and "), *measured(other, names)]
    return [*parts, ("", ". "), *proof(first)]


def measured(verdict: Verdict, names: Names) -> list[Part]:
    """p95 latency was 4.34 s, limit 2.56 s

    A rate of which the baseline had none has no limit to name: error rate was 80 % against none of 235 on GPT-4.1
    """
    if verdict.unit == "share" and verdict.against == "baseline" and verdict.baseline == 0:
        return [
            ("metric", words.metric(verdict.metric)),
            ("", " was "),
            ("value", value(verdict.observed, verdict.unit)),
            ("", " against "),
            ("limit", f"none of {verdict.n_baseline:,}"),
            ("", f" on {names.baseline}"),
        ]
    return [
        ("metric", words.metric(verdict.metric)),
        ("", " was "),
        ("value", value(verdict.observed, verdict.unit) + (" or more" if verdict.at_least else "")),
        ("", ", limit "),
        ("limit", value(verdict.limit, verdict.unit)),
    ]


def proof(verdict: Verdict) -> list[Part]:
    return [
        ("", "Evidence "),
        ("evidence", words.evidence(verdict.evidence)),
        ("", ", limit "),
        ("evidence", words.evidence(verdict.needed)),
        ("", f", {words.count(verdict.n, 'request')}"),
    ]


def growing(verdict: Verdict, names: Names) -> list[Part]:
    """A warning: evidence on its way to the limit, or beyond it on too few requests for a person to trust."""
    odds = words.evidence(verdict.evidence)
    beyond = verdict.evidence >= verdict.needed
    reason = f"too few requests to act on yet, {verdict.requests}" if beyond else "evidence of harm is growing"
    return [("reason", reason), ("", ", "), *measured(verdict, names), ("", ", evidence "), ("evidence", odds)]


def not_judged(verdicts: Sequence[Verdict], names: Names) -> list[Part]:
    """errors not judged yet, 28 of 4,440 against 80 of 13,320 on GPT-4.1"""
    metrics = list(dict.fromkeys(words.metric(verdict.metric) for verdict in verdicts))
    first = verdicts[0]
    told = metrics[0] if len(metrics) == 1 else f"{metrics[0]} and {words.small(len(metrics) - 1)} more"
    parts: list[Part] = [("reason", f"{told} not judged yet")]
    if first.explanation:
        parts += [("", f", {first.explanation}")]
    if first.n and first.unit in ("s", "share"):
        parts += [("", ", "), ("value", f"{first.k:,} of {first.n:,}")]
        if first.n_baseline:
            parts += [("", f" against {first.k_baseline:,} of {first.n_baseline:,} on {names.baseline}")]
    return parts


def within(progress: Progress, verdicts: Sequence[Verdict]) -> list[Part]:
    judged = f"{words.count(progress.samples, 'request')} judged"
    if not verdicts:
        return [("", ": by plan, "), ("value", judged)] if progress.stage is not None else [("", " by plan")]
    what = "guardrail" if len(verdicts) == 1 else "guardrails"
    return [("", ": "), ("reason", f"{words.small(len(verdicts))} {what} within"), ("", ", "), ("value", judged)]


def money(pressure: Pressure) -> list[Part]:
    """the day budget of invoice-extraction was $50.12, limit $50.00, $1.20 of it estimated"""
    scope = f" of {pressure.scope}" if pressure.scope else ""
    parts: list[Part] = [
        ("metric", f"the {pressure.period} spend{scope}".replace("the  ", "the ")),
        ("", " was "),
        ("value", words.nano(pressure.spent_nano)),
        ("", ", limit "),
        ("limit", words.nano(pressure.limit_nano)),
    ]
    if pressure.estimated_nano:
        parts += [("", f", {words.nano(pressure.estimated_nano)} of it estimated")]
    return parts


def worst_first(verdicts: Sequence[Verdict]) -> list[Verdict]:
    return sorted(verdicts, key=lambda v: v.evidence / v.needed if v.needed else 0, reverse=True)


def value(observed: float | None, unit: str) -> str:
    if observed is None:
        return "not measured"
    match unit:
        case "s":
            return words.seconds(observed)
        case "usd":
            return words.usd(observed)
        case "share":
            return words.rate(observed)
        case _:
            return words.three(observed)
