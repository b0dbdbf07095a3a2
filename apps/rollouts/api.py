"""/api/v1/rollouts, decisions, rollback-plans, approvals, and the switches and the state of routes.

Safety acts (pause, roll back, abort, fall back) take no If-Match and ask for no reason, in any environment.
"""

from collections.abc import Callable
from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from apps.access.domain.roles import Role
from apps.access.endpoint import IN_ENVIRONMENT, ApiView
from apps.access.models import Environment
from apps.core.refusals import Invalid, NotFound
from apps.flags import queries as flags
from apps.rollouts import queries, services, shapes
from apps.rollouts.domain import plan as planning
from apps.rollouts.models import Approval, RollbackPlan, Rollout

OF_ROUTE = OpenApiParameter("route", str)


class RolloutsView(ApiView):
    @extend_schema(
        parameters=[IN_ENVIRONMENT, OF_ROUTE, OpenApiParameter("state", str)],
        responses=shapes.RolloutOut(many=True),
        summary="Rollouts",
    )
    def get(self, request: Request) -> Response:
        rows = Rollout.objects.filter(environment=self.asked_environment().key).newest_first()
        for field in ("route", "state"):
            if value := request.query_params.get(field):
                rows = rows.filter(**{field: value})
        return self.paged(rows, shapes.rollout_dict)

    @extend_schema(request=shapes.RolloutIn, responses={201: shapes.RolloutOut}, summary="Prepare a rollout")
    def post(self, request: Request) -> Response:
        where = self.asked_environment(role=Role.OPERATOR).key
        data = self.read(shapes.RolloutIn) | {"environment": where}
        row = services.create(**data, by=self.actor, now=self.now)
        return answer(row, status.HTTP_201_CREATED)


def answer(row: Rollout, code: int = status.HTTP_200_OK) -> Response:
    return Response(shapes.rollout_dict(row), status=code, headers={"ETag": f'"{row.revision}"'})


class RolloutView(ApiView):
    def load(self, id: str, role: Role) -> tuple[Rollout, Environment]:
        """The rollout, if the caller has that role where it lives; a stranger learns not even that it exists."""
        row = Rollout.objects.filter(pk=id).first()
        if row is None:
            raise NotFound(what="rollout", key=id)
        try:
            return row, self.environment(row.environment, role=role)
        except NotFound as unseen:
            raise NotFound(what="rollout", key=id) from unseen


class OneRolloutView(RolloutView):
    @extend_schema(responses=shapes.RolloutOut, summary="One rollout")
    def get(self, request: Request, id: str) -> Response:
        row, _ = self.load(id, Role.VIEWER)
        return answer(row)


class ActView(RolloutView):
    role = Role.OPERATOR
    body: type[serializers.Serializer[Any]] = shapes.MayHaveReason

    def act(self, id: str, service: Callable[..., Any], *, with_revision: bool = False) -> Response:
        row, environment = self.load(id, self.role)
        more = {"expected": self.expected_revision(environment)} if with_revision else {}
        because = self.read(self.body)["because"]
        service(rollout=row, by=self.actor, because=because, now=self.now, **more)
        return answer(queries.rollout(id))


class CarefulView(ActView):
    """What moves traffic towards the candidate says why."""

    body = shapes.Reason


class StartView(CarefulView):
    @extend_schema(
        request=shapes.Reason, responses=shapes.RolloutOut, summary="Start: take hold, enter the first stage"
    )
    def post(self, request: Request, id: str) -> Response:
        return self.act(id, services.start, with_revision=True)


class PauseView(ActView):
    @extend_schema(request=shapes.MayHaveReason, responses=shapes.RolloutOut, summary="Pause: nothing advances")
    def post(self, request: Request, id: str) -> Response:
        return self.act(id, services.pause)


class ResumeView(CarefulView):
    @extend_schema(request=shapes.Reason, responses=shapes.RolloutOut, summary="Resume")
    def post(self, request: Request, id: str) -> Response:
        return self.act(id, services.resume, with_revision=True)


class AdvanceView(CarefulView):
    @extend_schema(request=shapes.Reason, responses=shapes.RolloutOut, summary="The next stage, now")
    def post(self, request: Request, id: str) -> Response:
        return self.act(id, services.advance, with_revision=True)


class StepBackView(CarefulView):
    @extend_schema(request=shapes.Reason, responses=shapes.RolloutOut, summary="The stage before, now")
    def post(self, request: Request, id: str) -> Response:
        return self.act(id, services.step_back, with_revision=True)


class ApproveView(ActView):
    role = Role.APPROVER

    @extend_schema(request=shapes.MayHaveReason, responses=shapes.RolloutOut, summary="Approve the next stage")
    def post(self, request: Request, id: str) -> Response:
        return self.act(id, services.approve)


class RollBackView(ActView):
    @extend_schema(
        request=shapes.MayHaveReason, responses=shapes.RolloutOut, summary="Roll back: all traffic to the baseline"
    )
    def post(self, request: Request, id: str) -> Response:
        return self.act(id, services.roll_back)


class AbortView(ActView):
    @extend_schema(request=shapes.MayHaveReason, responses=shapes.RolloutOut, summary="Abort: share 0, without a latch")
    def post(self, request: Request, id: str) -> Response:
        return self.act(id, services.abort)


class DecisionsView(ApiView):
    @extend_schema(
        parameters=[IN_ENVIRONMENT, OF_ROUTE, OpenApiParameter("rollout", str), OpenApiParameter("kind", str)],
        responses=shapes.DecisionOut(many=True),
        summary="Decisions, without their evidence",
    )
    def get(self, request: Request) -> Response:
        rows = queries.decisions(self.asked_environment().key)
        for field in ("route", "rollout", "kind"):
            if value := request.query_params.get(field):
                rows = rows.filter(**{field: value})
        return self.paged(rows.defer("evidence"), shapes.decision_dict)


class DecisionView(ApiView):
    @extend_schema(responses=shapes.WholeDecisionOut, summary="One decision with its whole evidence")
    def get(self, request: Request, id: str) -> Response:
        return Response(shapes.whole_decision_dict(self.load(id, Role.VIEWER)))

    def load(self, id: str, role: Role) -> Any:
        row = queries.decision(id)
        try:
            self.environment(row.environment, role=role)
        except NotFound as unseen:
            raise NotFound(what="decision", key=id) from unseen
        return row


class UndoView(DecisionView):
    @extend_schema(methods=["get"], exclude=True)
    def get(self, request: Request, id: str) -> Response:
        return self.http_method_not_allowed(request)

    @extend_schema(
        request=shapes.MayHaveReason, responses=shapes.RolloutOut, summary="Undo one's own act, within 5 minutes"
    )
    def post(self, request: Request, id: str) -> Response:
        row = self.load(id, Role.OPERATOR)
        because = self.read(shapes.MayHaveReason)["because"]
        return answer(services.undo(decision=row, by=self.actor, because=because, now=self.now))


class PlansView(ApiView):
    @extend_schema(parameters=[IN_ENVIRONMENT, OF_ROUTE], responses=shapes.PlanOut(many=True), summary="Rollback plans")
    def get(self, request: Request) -> Response:
        rows = RollbackPlan.objects.filter(environment=self.asked_environment().key).order_by("-updated_at", "-id")
        if route := request.query_params.get("route"):
            rows = rows.filter(route=route)
        return self.paged(rows, lambda row: plan_answer(row, self))

    @extend_schema(request=shapes.PlanIn, responses={201: shapes.PlanOut}, summary="Set how a route goes back")
    def post(self, request: Request) -> Response:
        where = self.asked_environment(role=Role.OPERATOR).key
        data = self.read(shapes.PlanIn)
        fields = {name: value for name, value in data.items() if name not in ("environment", "route", "because")}
        row = services.set_plan(
            environment=where, route=data["route"], by=self.actor, because=data["because"], now=self.now, **fields
        )
        return Response(plan_answer(row, self), status=status.HTTP_201_CREATED)


def plan_answer(row: RollbackPlan, view: ApiView) -> dict[str, Any]:
    _, costs = queries.way_back(row.environment, row.route, view.now)
    steps = planning.plan_rollback(
        candidate="the candidate",
        target=f"the {row.target}",
        to_fallback=row.target == RollbackPlan.Target.FALLBACK,
        had_shadow=True,
        options=planning.Options(target=row.target, stops_shadow=row.stops_shadow),
    )
    return shapes.plan_dict(row, costs, [step.kind for step in steps])


class PlanView(ApiView):
    def load(self, id: str, role: Role) -> RollbackPlan:
        row = RollbackPlan.objects.filter(pk=id).first()
        if row is None:
            raise NotFound(what="rollback plan", key=id)
        self.environment(row.environment, role=role)
        return row

    @extend_schema(responses=shapes.PlanOut, summary="One rollback plan")
    def get(self, request: Request, id: str) -> Response:
        return Response(plan_answer(self.load(id, Role.VIEWER), self))

    @extend_schema(request=shapes.PlanPatch, responses=shapes.PlanOut, summary="Change a rollback plan")
    def patch(self, request: Request, id: str) -> Response:
        row = self.load(id, Role.OPERATOR)
        data = self.read(shapes.PlanPatch)
        because = data.pop("because")
        changed = services.change_plan(plan=row, by=self.actor, because=because, now=self.now, **data)
        return Response(plan_answer(changed, self))


class ApprovalsView(ApiView):
    @extend_schema(
        parameters=[IN_ENVIRONMENT, OpenApiParameter("state", str)],
        responses=shapes.ApprovalOut(many=True),
        summary="Approvals, waiting and answered",
    )
    def get(self, request: Request) -> Response:
        rows = Approval.objects.filter(rollout__environment=self.asked_environment().key).select_related("rollout")
        if state := request.query_params.get("state"):
            rows = rows.filter(state=state)
        return self.paged(rows.order_by("-asked_at", "-id"), shapes.approval_dict)


class AnswerView(ApiView):
    def answer(self, id: str, *, approved: bool) -> Response:
        row = Approval.objects.select_related("rollout").filter(pk=id).first()
        if row is None:
            raise NotFound(what="approval", key=id)
        self.environment(row.rollout.environment, role=Role.APPROVER)
        because = self.read(shapes.MayHaveReason)["because"]
        done = services.answer(approval=row, approved=approved, by=self.actor, because=because, now=self.now)
        return Response(shapes.approval_dict(done))


class ApproveAnswerView(AnswerView):
    @extend_schema(request=shapes.MayHaveReason, responses=shapes.ApprovalOut, summary="Yes: the stage may be entered")
    def post(self, request: Request, id: str) -> Response:
        return self.answer(id, approved=True)


class RejectAnswerView(AnswerView):
    @extend_schema(request=shapes.MayHaveReason, responses=shapes.ApprovalOut, summary="No: the rollout is paused")
    def post(self, request: Request, id: str) -> Response:
        return self.answer(id, approved=False)


class RouteStateView(ApiView):
    @extend_schema(parameters=[IN_ENVIRONMENT], responses=shapes.StateOut, summary="Where a route stands")
    def get(self, request: Request, key: str) -> Response:
        return Response(shapes.state_dict(queries.route_state(self.asked_environment().key, key, self.now)))


class FallBackView(ApiView):
    @extend_schema(
        parameters=[IN_ENVIRONMENT],
        request=shapes.MayHaveReason,
        responses=shapes.StateOut,
        summary="Everybody to the fallback",
    )
    def post(self, request: Request, key: str) -> Response:
        where = self.asked_environment(role=Role.OPERATOR).key
        because = self.read(shapes.MayHaveReason)["because"]
        services.fall_back(environment=where, route=key, by=self.actor, because=because, now=self.now)
        return Response(shapes.state_dict(queries.route_state(where, key, self.now)))


class RestoreView(ApiView):
    @extend_schema(
        parameters=[IN_ENVIRONMENT],
        request=shapes.Reason,
        responses=shapes.StateOut,
        summary="Rules and split decide again",
    )
    def post(self, request: Request, key: str) -> Response:
        where = self.asked_environment(role=Role.OPERATOR).key
        because = self.read(shapes.Reason)["because"]
        services.restore(environment=where, route=key, by=self.actor, because=because, now=self.now)
        return Response(shapes.state_dict(queries.route_state(where, key, self.now)))


class BeforeAfterView(ApiView):
    @extend_schema(
        parameters=[IN_ENVIRONMENT, OpenApiParameter("from", str), OpenApiParameter("to", str)],
        responses=shapes.MeasuredOut(many=True),
        summary="What was measured between two moments, by variant",
    )
    def get(self, request: Request, key: str) -> Response:
        where = self.asked_environment().key
        flags.route(where, key)
        moments = [self.moment(name) for name in ("from", "to")]
        rows = queries.measured(where, key, *moments)
        return Response([shapes.measured_dict(row) for row in rows.values()])

    def moment(self, name: str) -> Any:
        field = serializers.DateTimeField()
        try:
            return field.to_internal_value(self.request.query_params.get(name, ""))
        except serializers.ValidationError as error:
            raise Invalid(f"Give `{name}` as a moment.", **{name: "as in 2026-11-24T03:00:00Z"}) from error
