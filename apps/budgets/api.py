"""/api/v1/guardrails and /api/v1/budgets."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from apps.access.domain.roles import Role
from apps.access.endpoint import IN_ENVIRONMENT, ApiView
from apps.access.models import Environment
from apps.budgets import faults, ledger, queries, services
from apps.budgets.domain import anomaly, money, periods, rules
from apps.budgets.models import Budget, Guardrail
from apps.core.api import NanoField
from apps.core.money import nano_to_text
from apps.core.refusals import NotFound

# --- guardrails ---------------------------------------------------------------------------------------------------


class GuardrailOut(serializers.Serializer[Any]):
    id = serializers.CharField()
    environment = serializers.CharField()
    route = serializers.CharField()
    rollout = serializers.CharField()
    metric = serializers.CharField()
    against = serializers.ChoiceField(choices=[rules.BASELINE, rules.LIMIT, rules.PLAN])
    limit_ms = serializers.FloatField(required=False)
    limit_usd = serializers.CharField(required=False)
    limit = serializers.FloatField(required=False)
    tolerance = serializers.FloatField(required=False)
    on_breach = serializers.ChoiceField(choices=rules.ACTS)
    alpha = serializers.FloatField(help_text="Its share of false alarm, over the rollout's whole life.")
    needed = serializers.FloatField(help_text="The evidence at which it is exceeded: 500 stands for 500:1.")


class GuardrailChange(serializers.Serializer[Any]):
    on_breach = serializers.ChoiceField(choices=rules.ACTS)
    because = serializers.CharField(max_length=500)


def guardrail_dict(row: Guardrail) -> dict[str, Any]:
    spec = services.as_spec(row)
    if "limit_usd" in spec:
        spec["limit_usd"] = f"{spec['limit_usd']:.6f}"
    return {
        "id": row.id,
        "environment": row.environment,
        "route": row.route,
        "rollout": row.trial,
        **spec,
        "alpha": row.alpha,
        "needed": row.rule.needed,
    }


class GuardrailsView(ApiView):
    @extend_schema(
        parameters=[IN_ENVIRONMENT, OpenApiParameter("route", str), OpenApiParameter("rollout", str)],
        responses=GuardrailOut(many=True),
        summary="Guardrails of rollouts",
    )
    def get(self, request: Request) -> Response:
        rows = Guardrail.objects.filter(environment=self.asked_environment().key)
        for parameter, field in (("route", "route"), ("rollout", "trial")):
            if value := request.query_params.get(parameter):
                rows = rows.filter(**{field: value})
        return self.paged(rows.order_by("-created_at", "position", "id"), guardrail_dict)


class GuardrailView(ApiView):
    def load(self, id: str, role: Role) -> tuple[Guardrail, Environment]:
        row = Guardrail.objects.filter(pk=id).first()
        if row is None:
            raise NotFound(what="guardrail", key=id)
        return row, self.environment(row.environment, role=role)

    @extend_schema(responses=GuardrailOut, summary="One guardrail")
    def get(self, request: Request, id: str) -> Response:
        row, _ = self.load(id, Role.VIEWER)
        return Response(guardrail_dict(row))

    @extend_schema(request=GuardrailChange, responses=GuardrailOut, summary="Change what a breach leads to")
    def patch(self, request: Request, id: str) -> Response:
        row, _ = self.load(id, Role.OPERATOR)
        changed = services.change_on_breach(guardrail=row.id, by=self.actor, now=self.now, **self.read(GuardrailChange))
        return Response(guardrail_dict(changed))


# --- budgets ------------------------------------------------------------------------------------------------------


class ThresholdField(serializers.JSONField):
    """`{"at": 0.8, "do": "alert"}`, `{"forecast": 1.0, "do": "alert"}` or `{"burn": 6, "do": "alert"}`."""


HARD = "Counts what is reserved as well. A call that might cross it is refused: see /budgets/holds/."
UNREADABLE = "unreadable"
STATES = [money.WITHIN, money.WARNING, money.EXCEEDED, money.INCONCLUSIVE, UNREADABLE]
UNREACHABLE = "What callers do that cannot ask for room: make the call, or not. Default: closed for a hard one."


class BudgetIn(serializers.Serializer[Any]):
    environment = serializers.CharField(required=False)
    name = serializers.CharField(max_length=128, default="", allow_blank=True)
    scope = serializers.DictField(child=serializers.CharField(max_length=512), default=dict)
    period = serializers.ChoiceField(choices=periods.LENGTHS)
    limit_usd = NanoField(min_value=0)
    thresholds = serializers.ListField(child=ThresholdField(), default=list)
    timezone = serializers.CharField(max_length=64, default="UTC")
    owner = serializers.CharField(max_length=128, default="", allow_blank=True)
    is_hard = serializers.BooleanField(default=False, help_text=HARD)
    on_unreachable = serializers.ChoiceField(
        choices=Budget.OnUnreachable.choices, required=False, help_text=UNREACHABLE
    )
    at_cap = serializers.ChoiceField(choices=Budget.AtCap.choices, default=Budget.AtCap.FINISH)
    because = serializers.CharField(max_length=500, default="", allow_blank=True)


class BudgetChange(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=128, required=False, allow_blank=True)
    scope = serializers.DictField(child=serializers.CharField(max_length=512), required=False)
    period = serializers.ChoiceField(choices=periods.LENGTHS, required=False)
    limit_usd = NanoField(min_value=0, required=False)
    thresholds = serializers.ListField(child=ThresholdField(), required=False)
    timezone = serializers.CharField(max_length=64, required=False)
    owner = serializers.CharField(max_length=128, required=False, allow_blank=True)
    is_hard = serializers.BooleanField(required=False, help_text=HARD)
    on_unreachable = serializers.ChoiceField(
        choices=Budget.OnUnreachable.choices, required=False, help_text=UNREACHABLE
    )
    at_cap = serializers.ChoiceField(choices=Budget.AtCap.choices, required=False)
    because = serializers.CharField(max_length=500, default="", allow_blank=True)


class BudgetEnd(serializers.Serializer[Any]):
    because = serializers.CharField(max_length=500, default="", allow_blank=True)


class ForecastOut(serializers.Serializer[Any]):
    usd = serializers.CharField()
    low_usd = serializers.CharField()
    high_usd = serializers.CharField()
    exhausted_at = serializers.DateTimeField(allow_null=True, help_text="When the limit is likely to be reached.")
    exhausted_earliest = serializers.DateTimeField(allow_null=True)
    exhausted_latest = serializers.DateTimeField(allow_null=True)


class LastingOut(serializers.Serializer[Any]):
    usd_per_hour = serializers.CharField()
    of = serializers.CharField(help_text="The highest of: the last 15 minutes, the last hour, this hour of the day.")
    runs_out_at = serializers.DateTimeField(allow_null=True, help_text="Null: not in this period.")
    level = serializers.CharField(help_text="amber: before the period's end; red: within 2 h; empty: neither.")


class BurnOut(serializers.Serializer[Any]):
    burn = serializers.FloatField()
    long_seconds = serializers.IntegerField()
    short_seconds = serializers.IntegerField()
    long_rate = serializers.FloatField()
    short_rate = serializers.FloatField()
    is_crossed = serializers.BooleanField()


class BudgetOut(serializers.Serializer[Any]):
    id = serializers.CharField()
    environment = serializers.CharField()
    name = serializers.CharField()
    scope = serializers.DictField(child=serializers.CharField())
    period = serializers.ChoiceField(choices=periods.LENGTHS)
    limit_usd = serializers.CharField()
    thresholds = serializers.ListField(child=ThresholdField())
    timezone = serializers.CharField()
    owner = serializers.CharField()
    is_hard = serializers.BooleanField()
    on_unreachable = serializers.ChoiceField(choices=Budget.OnUnreachable.choices)
    at_cap = serializers.ChoiceField(choices=Budget.AtCap.choices)
    revision = serializers.IntegerField()
    created_at = serializers.DateTimeField()
    changed_at = serializers.DateTimeField()
    changed_by = serializers.CharField()
    period_from = serializers.DateTimeField()
    period_to = serializers.DateTimeField()
    spent_usd = serializers.CharField(help_text="Confirmed and estimated, from the ledger.")
    estimated_usd = serializers.CharField(help_text="The part of spent_usd that nobody has confirmed.")
    fraction = serializers.FloatField()
    pace = serializers.FloatField(help_text="The share of the period that is over.")
    state = serializers.ChoiceField(choices=STATES, help_text="unreadable: nobody can judge it; no figures are told.")
    next_action = serializers.CharField()
    forecast = ForecastOut(allow_null=True)
    no_forecast = serializers.CharField()
    lasting = LastingOut(allow_null=True, help_text="At the present rate; null without a threshold on the forecast.")
    burns = BurnOut(many=True)
    crossed = serializers.DictField(
        child=serializers.DateTimeField(allow_null=True), help_text="Since when, by threshold."
    )
    unpriced_calls = serializers.IntegerField()
    assumed_usd = serializers.CharField(help_text="The part of spent_usd that calls without a price are taken for.")
    reserved_usd = serializers.CharField(help_text="By open holds, of a hard cap.")
    left_usd = serializers.CharField()
    unverified_usd = serializers.CharField(
        help_text="Told by callers that could not ask a hard cap for room: in this period, a week back at most."
    )
    may_overshoot_usd = serializers.CharField(help_text="By how much a soft cap can be passed before anybody acts.")
    requests_over = serializers.IntegerField(allow_null=True, help_text="Of a budget per request, in the last hour.")
    sentence = serializers.CharField()


def budget_dict(budget: Budget, now: datetime, asked: ledger.Asked | None = None) -> dict[str, Any]:
    """Also of one that cannot be read: then it says so, and which fields it has, and no figures."""
    with faults.kept_apart(budget):
        return settings_dict(budget) | figures_dict(queries.status_of(budget, now, asked))
    sentence = f"The budget of {budget.words} cannot be read: change or end it. {budget.fault}".rstrip()
    return settings_dict(budget) | {"state": UNREADABLE, "sentence": sentence}


def settings_dict(budget: Budget) -> dict[str, Any]:
    return {
        "id": budget.id,
        "environment": budget.environment,
        "name": budget.name,
        "scope": budget.scope,
        "period": budget.period,
        "limit_usd": nano_to_text(budget.limit_nano),
        "thresholds": budget.thresholds,
        "timezone": budget.timezone,
        "owner": budget.owner,
        "is_hard": budget.is_hard,
        "on_unreachable": budget.on_unreachable,
        "at_cap": budget.at_cap,
        "revision": budget.revision,
        "created_at": budget.created_at,
        "changed_at": budget.changed_at,
        "changed_by": budget.changed_by,
    }


def figures_dict(row: queries.BudgetStatus) -> dict[str, Any]:
    verdict, outlook = row.verdict, row.verdict.forecast
    return {
        "period_from": verdict.period_from,
        "period_to": verdict.period_to,
        "spent_usd": nano_to_text(verdict.spent_nano),
        "estimated_usd": nano_to_text(verdict.estimated_nano),
        "fraction": verdict.fraction,
        "pace": verdict.pace,
        "state": verdict.state,
        "next_action": row.next_action,
        "forecast": outlook
        and {
            "usd": nano_to_text(outlook.nano),
            "low_usd": nano_to_text(outlook.low_nano),
            "high_usd": nano_to_text(outlook.high_nano),
            "exhausted_at": outlook.exhausted_at,
            "exhausted_earliest": outlook.exhausted_earliest,
            "exhausted_latest": outlook.exhausted_latest,
        },
        "no_forecast": verdict.no_forecast,
        "lasting": verdict.lasting
        and {
            "usd_per_hour": nano_to_text(round(verdict.lasting.nano_per_hour)),
            "of": verdict.lasting.of,
            "runs_out_at": verdict.lasting.runs_out_at,
            "level": verdict.lasting.level,
        },
        "burns": [burn.as_dict() for burn in verdict.burns],
        "crossed": {threshold.name: verdict.began.get(threshold.name) for threshold in verdict.crossed},
        "unpriced_calls": verdict.unpriced,
        "assumed_usd": nano_to_text(verdict.assumed_nano),
        "reserved_usd": nano_to_text(row.reserved_nano),
        "left_usd": nano_to_text(row.left_nano),
        "unverified_usd": nano_to_text(row.unverified_nano),
        "may_overshoot_usd": nano_to_text(row.may_overshoot_nano),
        "requests_over": verdict.requests.over if verdict.requests else None,
        "sentence": verdict.sentence,
    }


class BudgetsView(ApiView):
    @extend_schema(
        parameters=[IN_ENVIRONMENT, OpenApiParameter("route", str)],
        responses=BudgetOut(many=True),
        summary="Budgets in force, with what is spent",
    )
    def get(self, request: Request) -> Response:
        rows = Budget.objects.of(self.asked_environment().key).in_force().light().order_by("-created_at", "-id")
        if route := request.query_params.get("route"):
            rows = rows.filter(scope__route=route)
        asked = queries.shared(rows, self.now)
        return self.paged(rows, lambda row: budget_dict(row, self.now, asked))

    @extend_schema(request=BudgetIn, responses={201: BudgetOut}, summary="Create a budget")
    def post(self, request: Request) -> Response:
        environment = self.asked_environment(role=Role.OPERATOR)
        data = self.read(BudgetIn) | {"environment": environment.key}
        data["limit_nano"] = data.pop("limit_usd")
        row = services.create_budget(**data, by=self.actor, now=self.now)
        return tagged(row, Response(budget_dict(row, self.now), status=status.HTTP_201_CREATED))


class OddityOut(serializers.Serializer[Any]):
    route = serializers.CharField()
    kind = serializers.CharField(help_text=", ".join(anomaly.KINDS))
    began_at = serializers.DateTimeField()
    sentence = serializers.CharField()


class OdditiesView(ApiView):
    @extend_schema(
        parameters=[IN_ENVIRONMENT, OpenApiParameter("route", str)],
        responses=OddityOut(many=True),
        summary="What is odd about money now: cost per request, attempts per request, the estimated share",
    )
    def get(self, request: Request) -> Response:
        found = queries.oddities(self.asked_environment().key, request.query_params.get("route"))
        return self.paged(found, asdict)


class BudgetView(ApiView):
    def load(self, id: str, role: Role) -> tuple[Budget, Environment]:
        row = Budget.objects.in_force().filter(pk=id).first()
        if row is None:
            raise NotFound(what="budget", key=id)
        return row, self.environment(row.environment, role=role)

    @extend_schema(responses=BudgetOut, summary="One budget")
    def get(self, request: Request, id: str) -> Response:
        row, _ = self.load(id, Role.VIEWER)
        return tagged(row, Response(budget_dict(row, self.now)))

    @extend_schema(request=BudgetChange, responses=BudgetOut, summary="Change a budget")
    def patch(self, request: Request, id: str) -> Response:
        row, environment = self.load(id, Role.OPERATOR)
        changes = self.read(BudgetChange)
        because = changes.pop("because")
        if "limit_usd" in changes:
            changes["limit_nano"] = changes.pop("limit_usd")
        changed = services.update_budget(
            budget=row.id,
            changes=changes,
            by=self.actor,
            because=because,
            now=self.now,
            expected_revision=self.expected_revision(environment),
        )
        return tagged(changed, Response(budget_dict(changed, self.now)))

    @extend_schema(request=BudgetEnd, responses={204: None}, summary="End a budget")
    def delete(self, request: Request, id: str) -> Response:
        row, environment = self.load(id, Role.OPERATOR)
        services.end_budget(
            budget=row.id,
            by=self.actor,
            because=self.read(BudgetEnd)["because"],
            now=self.now,
            expected_revision=self.expected_revision(environment),
        )
        return Response(status=status.HTTP_204_NO_CONTENT)


def tagged(row: Budget, response: Response) -> Response:
    response["ETag"] = f'"{row.revision}"'
    return response
