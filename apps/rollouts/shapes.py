"""What the endpoints take and give, as serializers (for the docs) and as the functions that make the answers."""

from typing import Any

from rest_framework import serializers

from apps.budgets import queries as budgets
from apps.budgets import services as budget_services
from apps.core.money import nano_to_text
from apps.rollouts.domain import stages
from apps.rollouts.domain.plan import Cost
from apps.rollouts.models import Approval, Decision, PlanStep, RollbackPlan, Rollout
from apps.rollouts.queries import Measured, ProgressView, RouteState


class StageIn(serializers.Serializer[Any]):
    share = serializers.FloatField(required=False, help_text="Percent of live traffic.")
    shadow = serializers.FloatField(required=False, help_text="Percent of requests that are repeated, unseen by users.")
    min_seconds = serializers.FloatField(default=0)
    min_samples = serializers.IntegerField(default=0)
    approval = serializers.BooleanField(default=False, help_text="Somebody else must approve before this stage.")
    safe = serializers.ListField(child=serializers.CharField(), required=False)
    limit_usd = serializers.CharField(required=False, help_text="What a shadow stage may cost.")


class RolloutIn(serializers.Serializer[Any]):
    environment = serializers.CharField(required=False)
    route = serializers.CharField(max_length=512)
    candidate = serializers.CharField(max_length=128)
    baseline = serializers.CharField(max_length=128, default="", help_text="The route's default variant if not named.")
    stages = serializers.ListField(child=serializers.JSONField(), help_text="In order; see the example of a stage.")
    guardrails = serializers.ListField(child=serializers.JSONField(), default=list)
    because = serializers.CharField(max_length=500, default="", allow_blank=True)


class Reason(serializers.Serializer[Any]):
    because = serializers.CharField(max_length=500, help_text="Why: the journal and the alerts will quote it.")


class MayHaveReason(serializers.Serializer[Any]):
    """Safety acts ask for no reason, though they take one."""

    because = serializers.CharField(max_length=500, default="", allow_blank=True)


class RolloutOut(serializers.Serializer[Any]):
    id = serializers.CharField()
    environment = serializers.CharField()
    route = serializers.CharField()
    baseline = serializers.CharField()
    candidate = serializers.CharField()
    state = serializers.ChoiceField(choices=Rollout.State.choices)
    stage = serializers.IntegerField(allow_null=True, help_text="Counted from 0; null before the first.")
    share = serializers.FloatField(help_text="Percent that the candidate answers now.")
    shadow = serializers.FloatField()
    samples = serializers.IntegerField(help_text="Requests that the candidate answered in this stage.")
    stages = StageIn(many=True)
    guardrails = serializers.ListField(child=serializers.DictField())
    needs_approval = serializers.BooleanField()
    waits_for = serializers.CharField(allow_null=True, help_text="The sentence of the hold, if it holds.")
    revision = serializers.IntegerField(help_text="For If-Match.")
    because = serializers.CharField()
    created_at = serializers.DateTimeField()
    created_by = serializers.CharField()
    started_at = serializers.DateTimeField(allow_null=True)
    stage_began_at = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True)
    decision = serializers.CharField(allow_null=True, help_text="Id of the newest decision.")


class CauseOut(serializers.Serializer[Any]):
    guardrail = serializers.CharField(required=False)
    budget = serializers.CharField(required=False)
    metric = serializers.CharField()
    verdict = serializers.CharField()


class StepOut(serializers.Serializer[Any]):
    position = serializers.IntegerField()
    kind = serializers.CharField()
    title = serializers.CharField()
    state = serializers.ChoiceField(choices=PlanStep.State.choices)
    outcome = serializers.CharField()
    due_at = serializers.DateTimeField()
    done_at = serializers.DateTimeField(allow_null=True)
    attempts = serializers.IntegerField()


class DecisionOut(serializers.Serializer[Any]):
    id = serializers.CharField()
    at = serializers.DateTimeField()
    last_at = serializers.DateTimeField()
    repeats = serializers.IntegerField(help_text="Equal holds that followed.")
    environment = serializers.CharField()
    route = serializers.CharField()
    rollout = serializers.CharField(allow_null=True)
    kind = serializers.CharField()
    stage = serializers.IntegerField(allow_null=True)
    share = serializers.FloatField(allow_null=True)
    because = CauseOut(many=True)
    sentence = serializers.CharField()
    by = serializers.CharField()
    version = serializers.IntegerField(allow_null=True, help_text="The snapshot that carries it.")


class WholeDecisionOut(DecisionOut):
    evidence = serializers.DictField()
    parts = serializers.ListField(help_text="The sentence as (role, text).")
    steps = StepOut(many=True)


class CostOut(serializers.Serializer[Any]):
    target = serializers.CharField()
    variant = serializers.CharField()
    requests_per_hour = serializers.FloatField()
    usd_per_hour = serializers.CharField(allow_null=True, help_text="null: never measured there.")


class PlanOut(serializers.Serializer[Any]):
    id = serializers.CharField()
    environment = serializers.CharField()
    route = serializers.CharField()
    target = serializers.ChoiceField(choices=RollbackPlan.Target.choices)
    confirm_seconds = serializers.IntegerField()
    watch_seconds = serializers.IntegerField()
    stops_shadow = serializers.BooleanField()
    revision = serializers.IntegerField()
    steps = serializers.ListField(child=serializers.CharField())
    costs_per_hour = CostOut(many=True)
    updated_at = serializers.DateTimeField()
    updated_by = serializers.CharField()


class PlanFields(serializers.Serializer[Any]):
    target = serializers.ChoiceField(choices=RollbackPlan.Target.choices, required=False)
    confirm_seconds = serializers.IntegerField(min_value=1, max_value=3600, required=False)
    watch_seconds = serializers.IntegerField(min_value=1, max_value=3600, required=False)
    stops_shadow = serializers.BooleanField(required=False)


class PlanIn(PlanFields):
    environment = serializers.CharField(required=False)
    route = serializers.CharField(max_length=512)
    because = serializers.CharField(max_length=500, default="", allow_blank=True)


class PlanPatch(PlanFields):
    because = serializers.CharField(max_length=500)


class ApprovalOut(serializers.Serializer[Any]):
    id = serializers.CharField()
    environment = serializers.CharField()
    route = serializers.CharField()
    rollout = serializers.CharField()
    stage = serializers.IntegerField()
    state = serializers.ChoiceField(choices=Approval.State.choices)
    asked_at = serializers.DateTimeField()
    asked_by = serializers.CharField()
    answered_at = serializers.DateTimeField(allow_null=True)
    answered_by = serializers.CharField()
    because = serializers.CharField()


class StateOut(serializers.Serializer[Any]):
    environment = serializers.CharField()
    route = serializers.CharField()
    state = serializers.CharField(help_text="Steady, Ramping, Holding, Needs approval, Paused, Rolled back, …")
    switch = serializers.CharField()
    weights = serializers.DictField(child=serializers.FloatField())
    rollout = serializers.CharField(allow_null=True)
    baseline = serializers.CharField()
    candidate = serializers.CharField(allow_null=True)
    share = serializers.FloatField()
    next_share = serializers.FloatField(allow_null=True)
    decision = DecisionOut(allow_null=True)
    version = serializers.IntegerField()


class MeasuredOut(serializers.Serializer[Any]):
    variant = serializers.CharField()
    requests = serializers.IntegerField()
    errors = serializers.IntegerField()  # type: ignore[assignment]  # the metaclass takes it away
    p50_ms = serializers.FloatField(allow_null=True)
    p95_ms = serializers.FloatField(allow_null=True)
    cost_per_1k_usd = serializers.CharField(allow_null=True)
    estimated_usd = serializers.CharField()
    handoffs_per_day = serializers.FloatField(allow_null=True)


def percent(share: int | None) -> float | int | None:
    return None if share is None else stages.percent(share)


def rollout_dict(row: Rollout, view: ProgressView | None = None) -> dict[str, Any]:
    newest = row.decisions.newest_first().first()
    hold = newest if newest is not None and newest.is_hold and row.is_live else None
    return {
        **{name: getattr(row, name) for name in ROLLOUT_FIELDS},
        "share": percent(row.share),
        "shadow": percent(row.shadow),
        "guardrails": [guardrail_dict(one) for one in budgets.guardrails(row.id)],
        "needs_approval": row.is_live and row.progress().needs_approval,
        "waits_for": hold.sentence if hold else None,
        "revision": row.revision,
        "decision": newest.pk if newest else None,
    }


ROLLOUT_FIELDS = (
    "id", "environment", "route", "baseline", "candidate", "state", "stage", "samples", "stages", "because",
    "created_at", "created_by", "started_at", "stage_began_at", "ended_at",
)  # fmt: skip


def guardrail_dict(row: Any) -> dict[str, Any]:
    return {"id": row.id, **budget_services.as_spec(row), "alpha": row.alpha}


def decision_dict(row: Decision) -> dict[str, Any]:
    same = (
        "id", "at", "last_at", "repeats", "environment", "route", "kind", "stage", "because", "sentence", "by",
        "version",
    )  # fmt: skip
    return {name: getattr(row, name) for name in same} | {"rollout": row.rollout_id, "share": percent(row.share)}


def whole_decision_dict(row: Decision) -> dict[str, Any]:
    steps = [dict(StepOut(step).data) for step in row.steps.order_by("position")]
    return decision_dict(row) | {"evidence": row.evidence, "parts": row.parts, "steps": steps}


def cost_dict(cost: Cost) -> dict[str, Any]:
    usd = None if cost.nano_per_hour is None else nano_to_text(cost.nano_per_hour)
    return {
        "target": cost.target,
        "variant": cost.variant,
        "requests_per_hour": round(cost.requests_per_hour, 1),
        "usd_per_hour": usd,
    }


def plan_dict(row: RollbackPlan, costs: list[Cost], steps: list[str]) -> dict[str, Any]:
    same = (
        "id", "environment", "route", "target", "confirm_seconds", "watch_seconds", "stops_shadow", "revision",
        "updated_at", "updated_by",
    )  # fmt: skip
    told = {name: getattr(row, name) for name in same}
    return told | {"steps": steps, "costs_per_hour": [cost_dict(cost) for cost in costs]}


def approval_dict(row: Approval) -> dict[str, Any]:
    same = ("id", "stage", "state", "asked_at", "asked_by", "answered_at", "answered_by", "because")
    told = {name: getattr(row, name) for name in same}
    return told | {"rollout": row.rollout_id, "environment": row.rollout.environment, "route": row.rollout.route}


def state_dict(row: RouteState) -> dict[str, Any]:
    live = row.rollout if row.rollout is not None and row.rollout.is_live else None
    return {
        "environment": row.route.environment,
        "route": row.route.key,
        "state": row.state.value,
        "switch": "off" if row.route.is_off else row.route.switch,
        "weights": {variant: weight / 100 for variant, weight in row.route.weights.items()},
        "rollout": row.rollout.pk if row.rollout else None,
        "baseline": live.baseline if live else row.route.default_variant,
        "candidate": live.candidate if live else None,
        "share": percent(row.share),
        "next_share": percent(row.next_share),
        "decision": decision_dict(row.decision) if row.decision else None,
        "version": row.route.since_version,
    }


def measured_dict(row: Measured) -> dict[str, Any]:
    same = ("variant", "requests", "errors", "p50_ms", "p95_ms", "handoffs_per_day")
    per_1k = None if row.cost_per_1k_nano is None else nano_to_text(row.cost_per_1k_nano)
    told = {name: getattr(row, name) for name in same}
    return told | {"cost_per_1k_usd": per_1k, "estimated_usd": nano_to_text(row.estimated_nano)}
