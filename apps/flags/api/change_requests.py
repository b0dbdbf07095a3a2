"""/api/v1/change-requests: what waits for another person, for its moment, or for both."""

from collections.abc import Mapping
from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from apps.access.domain.roles import Role
from apps.access.endpoint import IN_ENVIRONMENT, ApiView
from apps.access.models import Environment
from apps.core.refusals import Invalid, NotFound
from apps.flags import change_requests, requests_seen, versions
from apps.flags.api.shapes import AnyObject, Because, FlagFields, RouteFields, Shares, Sparse, in_parts
from apps.flags.models import ChangeRequest
from apps.flags.requests_seen import ChangeRequestView

FIELDS = "As a PATCH of the flag takes them, and `weights` in percent. For `rename`: `to`."


class ChangeRequestOut(serializers.Serializer[Any]):
    id = serializers.CharField()
    environment = serializers.CharField()
    subject = serializers.CharField(help_text="Key of the flag, or of the audience.")
    action = serializers.ChoiceField(choices=ChangeRequest.Action.choices)
    state = serializers.ChoiceField(choices=ChangeRequest.State.choices)
    diff = AnyObject(help_text='By field: {"was": on the base, "is": as it is to stand}.')
    conflicts = AnyObject(help_text="What was moved since the draft was made: it must be drafted anew.")
    base_revision = serializers.IntegerField()
    because = serializers.CharField()
    due_at = serializers.DateTimeField(allow_null=True)
    created_by = serializers.CharField()
    created_at = serializers.DateTimeField()
    edited_by = serializers.CharField()
    submitted_by = serializers.CharField()
    decided_by = serializers.CharField(help_text="Who approved or rejected.")
    decided_at = serializers.DateTimeField(allow_null=True)
    done_at = serializers.DateTimeField(allow_null=True)
    version = serializers.IntegerField(allow_null=True, help_text="The snapshot that carried it.")
    sentence = serializers.CharField()
    needs_approval = serializers.BooleanField()
    digest = serializers.CharField(help_text="Of exactly what an approval now would be of; empty once it is done.")
    revision = serializers.IntegerField(help_text="For If-Match.")


class ProposeIn(serializers.Serializer[Any]):
    environment = serializers.CharField(required=False)
    flag = serializers.CharField(max_length=512, required=False)
    audience = serializers.CharField(max_length=128, required=False)
    action = serializers.ChoiceField(choices=ChangeRequest.Action.choices, required=False)
    changes = AnyObject(required=False, help_text=FIELDS)
    revert_to = serializers.IntegerField(
        required=False, min_value=1, help_text="Instead of `changes`: what reverting to this revision would set."
    )
    because = serializers.CharField(max_length=500)
    submit = serializers.BooleanField(default=False)


class EditIn(serializers.Serializer[Any]):
    changes = AnyObject(required=False, help_text=FIELDS)
    because = serializers.CharField(max_length=500, required=False)


class ApproveIn(serializers.Serializer[Any]):
    because = serializers.CharField(max_length=500, required=False, allow_blank=True)
    digest = serializers.CharField(max_length=64, required=False, help_text="Of what you saw.")


class ScheduleIn(serializers.Serializer[Any]):
    due_at = serializers.DateTimeField()


class ScheduleChangeIn(Because):
    environment = serializers.CharField(required=False)
    changes = AnyObject(help_text=FIELDS)
    due_at = serializers.DateTimeField()


class AudienceFields(Sparse):
    description = serializers.CharField(max_length=1000, allow_blank=True)
    conditions = AnyObject()


def read_fields(given: Mapping[str, Any], action: str, *, is_route: bool) -> dict[str, Any]:
    """The fields of the draft, each as its own endpoint would read it; as JSON, since they are to wait."""
    if action in (ChangeRequest.Action.RENAME, ChangeRequest.Action.ARCHIVE, ChangeRequest.Action.UNARCHIVE):
        return {name: str(value) for name, value in given.items()}
    if action == ChangeRequest.Action.CHANGE_AUDIENCE:
        shape: type[serializers.Serializer[Any]] = AudienceFields
    else:
        shape = RouteFields if is_route else FlagFields
    reading = shape(data={name: value for name, value in given.items() if name != "weights"})
    if unknown := sorted(set(given) - set(reading.fields) - {"weights"}):
        raise Invalid(f"There is no field {unknown[0]} to change.", changes=f"There is no field {unknown[0]}.")
    reading.is_valid(raise_exception=True)
    fields = {name: requests_seen.plain(value) for name, value in reading.validated_data.items()}
    if "weights" in given:
        fields["weights"] = in_parts(Shares().run_validation(given["weights"]))
    return fields


def request_dict(view: ChangeRequestView) -> dict[str, Any]:
    return dict(ChangeRequestOut(view).data)


def shown(row: ChangeRequest, code: int = status.HTTP_200_OK) -> Response:
    view = requests_seen.view(row)
    return Response(request_dict(view), status=code, headers={"ETag": f'"{view.revision}"'})


class RequestView(ApiView):
    def load(self, id: str, role: Role = Role.OPERATOR) -> tuple[ChangeRequest, Environment]:
        row = ChangeRequest.objects.select_related("environment").named(id).first()
        if row is None:
            raise NotFound(what="change request", key=id)
        return row, self.environment(row.environment_id, role=role)


class ChangeRequestsView(ApiView):
    @extend_schema(
        parameters=[
            IN_ENVIRONMENT,
            OpenApiParameter("state", str, description="One or more states, with commas between."),
            OpenApiParameter("open", bool, description="Only what still waits for something."),
            OpenApiParameter("flag", str),
        ],
        responses=ChangeRequestOut(many=True),
        summary="Change requests",
    )
    def get(self, request: Request) -> Response:
        asked = request.query_params
        rows = requests_seen.rows(
            self.asked_environment().key,
            states=asked["state"].split(",") if "state" in asked else None,
            only_open=asked.get("open") in ("1", "true"),
            subject=asked.get("flag"),
        )
        return self.paged(rows, lambda row: request_dict(requests_seen.view(row)))

    @extend_schema(
        request=ProposeIn,
        responses={201: ChangeRequestOut},
        summary="Draft a change of a flag, a route or an audience",
    )
    def post(self, request: Request) -> Response:
        where = self.asked_environment(role=Role.OPERATOR).key
        data = self.read(ProposeIn)
        if ("flag" in data) == ("audience" in data):
            raise Invalid("Name the flag or the audience.", flag="Name the flag or the audience.")
        action = data.get("action", "change_audience" if "audience" in data else "change")
        if ("audience" in data) != (action == ChangeRequest.Action.CHANGE_AUDIENCE):
            raise Invalid(f"{action} is not for this.", action="An audience is changed, a flag is anything else.")
        subject = data.get("flag") or data["audience"]
        is_route = requests_seen.is_route(where, subject)
        if "revert_to" in data and action == ChangeRequest.Action.CHANGE:
            fields = versions.fields_to_revert(where, subject, data["revert_to"])
        else:
            fields = read_fields(data.get("changes", {}), action, is_route=is_route)
        row = change_requests.propose(
            environment=where,
            subject=subject,
            action=action,
            fields=fields,
            by=self.actor,
            because=data["because"],
            now=self.now,
            base_revision=self.seen_revision(),
            submit=data["submit"],
        )
        return shown(row, status.HTTP_201_CREATED)

    def seen_revision(self) -> int | None:
        """If-Match carries the revision of the subject that the draft was made upon."""
        tag = self.request.headers.get("If-Match", "*").removeprefix("W/").strip('"')
        return int(tag) if tag.isdecimal() and len(tag) < 10 else None


class OneChangeRequestView(RequestView):
    @extend_schema(responses=ChangeRequestOut, summary="One change request, with its difference")
    def get(self, request: Request, id: str) -> Response:
        return shown(self.load(id, Role.VIEWER)[0])

    @extend_schema(
        request=EditIn,
        responses=ChangeRequestOut,
        summary="Draft it anew, upon the subject as it stands: an approval is void",
    )
    def patch(self, request: Request, id: str) -> Response:
        row, where = self.load(id)
        expected, data = self.expected_revision(where), self.read(EditIn)
        given = data.get("changes")
        is_route = requests_seen.is_route(where.key, row.subject)
        fields = None if given is None else read_fields(given, row.action, is_route=is_route)
        because = data.get("because", "")
        done = change_requests.edit(
            id=id, fields=fields, because=because, by=self.actor, now=self.now, expected=expected
        )
        return shown(done)


class SubmitView(RequestView):
    @extend_schema(request=None, responses=ChangeRequestOut, summary="Ask for approval")
    def post(self, request: Request, id: str) -> Response:
        self.load(id)
        return shown(change_requests.submit(id=id, by=self.actor, now=self.now))


class ApproveView(RequestView):
    @extend_schema(request=ApproveIn, responses=ChangeRequestOut, summary="Approve: another person than who wrote it")
    def post(self, request: Request, id: str) -> Response:
        _, where = self.load(id, Role.APPROVER)
        expected = self.expected_revision(where)
        return shown(
            change_requests.approve(id=id, by=self.actor, now=self.now, expected=expected, **self.read(ApproveIn))
        )


class RejectView(RequestView):
    @extend_schema(request=Because, responses=ChangeRequestOut, summary="Reject")
    def post(self, request: Request, id: str) -> Response:
        self.load(id, Role.APPROVER)
        because = self.read(Because)["because"]
        return shown(change_requests.reject(id=id, by=self.actor, because=because, now=self.now))


class WithdrawView(RequestView):
    @extend_schema(request=Because, responses=ChangeRequestOut, summary="Withdraw")
    def post(self, request: Request, id: str) -> Response:
        self.load(id)
        because = self.read(Because)["because"]
        return shown(change_requests.withdraw(id=id, by=self.actor, because=because, now=self.now))


class ApplyView(RequestView):
    @extend_schema(request=None, responses=ChangeRequestOut, summary="Carry it out now")
    def post(self, request: Request, id: str) -> Response:
        _, where = self.load(id)
        change_requests.apply(id=id, by=self.actor, now=self.now, expected=self.expected_revision(where))
        return shown(self.load(id)[0])


class ScheduleView(RequestView):
    @extend_schema(request=ScheduleIn, responses=ChangeRequestOut, summary="Carry it out at that moment")
    def post(self, request: Request, id: str) -> Response:
        _, where = self.load(id)
        due_at = self.read(ScheduleIn)["due_at"]
        expected = self.expected_revision(where)
        done = change_requests.schedule(id=id, due_at=due_at, by=self.actor, now=self.now, expected=expected)
        return shown(done)


class ScheduleChangeView(ApiView):
    @extend_schema(
        parameters=[IN_ENVIRONMENT],
        request=ScheduleChangeIn,
        responses={201: ChangeRequestOut},
        summary="Change a flag at that moment; in a protected environment schedule a change request",
    )
    def post(self, request: Request, key: str) -> Response:
        where = self.asked_environment(role=Role.OPERATOR)
        expected, data = self.expected_revision(where), self.read(ScheduleChangeIn)
        row = change_requests.schedule_change(
            environment=where.key,
            subject=key,
            fields=read_fields(
                data["changes"], ChangeRequest.Action.CHANGE, is_route=requests_seen.is_route(where.key, key)
            ),
            due_at=data["due_at"],
            by=self.actor,
            because=data["because"],
            now=self.now,
            base_revision=expected,
        )
        return shown(row, status.HTTP_201_CREATED)
