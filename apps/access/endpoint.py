"""The base of every management endpoint: who calls, what they may, and writes that are safe to send twice.

A write with an `Idempotency-Key` is one transaction with its remembered answer: the same write sent again gets the
same answer, another body under the same key is refused. `If-Match` carries the revision that the caller saw.
"""

import hashlib
import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.db import models, transaction
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers
from rest_framework.authentication import SessionAuthentication
from rest_framework.permissions import IsAuthenticated
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.access import loaders
from apps.access.authentication import KeyAuthentication, KeyUser
from apps.access.domain.roles import Role
from apps.access.loaders import Person
from apps.access.models import ApiKey, Environment, Grant, RememberedAnswer
from apps.core import actors
from apps.core.actors import Actor
from apps.core.api import Json, Page
from apps.core.refusals import Forbidden, Invalid, NotFound, Refused

IN_ENVIRONMENT = OpenApiParameter("environment", str, description="Key of the environment; a key's own by default.")
WRITES = {"POST", "PUT", "PATCH", "DELETE"}


class PreconditionRequired(Refused):
    code = "precondition_required"
    sentence = "{environment} is protected: send If-Match with the revision that you saw."
    status = 428


class KeyReused(Refused):
    code = "idempotency_key_reused"
    sentence = "This Idempotency-Key came before with another request."
    status = 422


class Replay(Exception):
    """The same write came before: its answer is given again."""

    def __init__(self, answer: RememberedAnswer) -> None:
        self.answer = answer


class ApiView(APIView):
    authentication_classes = (KeyAuthentication, SessionAuthentication)
    permission_classes = (IsAuthenticated,)
    pagination_class = Page
    parser_classes = (Json,)

    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        self.remembered: RememberedAnswer | None = None
        if request.method in WRITES and request.headers.get("Idempotency-Key"):
            with transaction.atomic():
                return super().dispatch(request, *args, **kwargs)
        return super().dispatch(request, *args, **kwargs)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        key = request.headers.get("Idempotency-Key")
        if key and request.method in WRITES:
            self.claim(request, key)

    def claim(self, request: Request, key: str) -> None:
        if len(key) > 255:
            raise Invalid("An Idempotency-Key has 255 characters at most.")
        whole = f"{request.method} {request.get_full_path()}\n".encode() + request.body
        fingerprint = hashlib.sha256(whole).hexdigest()
        answer, fresh = RememberedAnswer.objects.get_or_create(
            actor=str(self.actor), key=key, defaults={"fingerprint": fingerprint, "at": self.now}
        )
        if answer.fingerprint != fingerprint:
            raise KeyReused
        if not fresh:
            raise Replay(answer)
        self.remembered = answer

    def handle_exception(self, exc: Exception) -> Response:
        if isinstance(exc, Replay):
            answer = Response(exc.answer.said, status=exc.answer.status or 200)
            answer["Idempotency-Replayed"] = "true"
            return answer
        return super().handle_exception(exc)

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)
        if self.remembered is not None:
            if response.status_code < 400:
                as_sent = json.loads(JSONRenderer().render(response.data))  # moments and amounts as text
                self.remembered.remember(response.status_code, as_sent)
            else:  # a refused write may be mended and sent again under the same key
                self.remembered.delete()
        return response

    @property
    def now(self) -> datetime:
        """The clock is read at the door, once."""
        if not hasattr(self, "_now"):
            self._now = timezone.now()
        return self._now

    @property
    def actor(self) -> Actor:
        user = self.request.user
        return actors.key(user.key.name) if isinstance(user, KeyUser) else actors.person(user.get_username())

    @property
    def key(self) -> ApiKey | None:
        return self.request.user.key if isinstance(self.request.user, KeyUser) else None

    def environment(self, key: str, *, role: Role = Role.VIEWER) -> Environment:
        """The environment, if the caller has at least `role` there; a stranger learns not even that it exists."""
        if self.key is None:
            return loaders.environment_for(self.request.user, key, role=role)
        environment = Environment.objects.filter(key=key).first()
        mine = self.key.reaches_all_environments or (environment and environment.pk == self.key.environment_id)
        if environment is None or not mine or self.key.role is None:
            raise NotFound(what="environment", key=key)
        if not self.key.role.includes(role) or (role is Role.APPROVER):  # no key approves
            raise Forbidden(who=str(self.actor), role=role.value, environment=key)
        return environment

    def asked_environment(self, *, role: Role = Role.VIEWER) -> Environment:
        """The environment that `?environment=` or the body names; a key's own where neither does."""
        body = self.request.data if self.request.method in WRITES else {}
        named = self.request.query_params.get("environment") or (
            body.get("environment") if hasattr(body, "get") else None
        )
        if named is None and self.key is not None:
            named = self.key.environment.key
        if not isinstance(named, str):
            raise Invalid("Name the environment.", environment="Which environment? Add ?environment=…")
        return self.environment(named, role=role)

    def must_be_admin(self) -> None:
        """For what belongs to no environment: new environments, the catalogue."""
        key, user = self.key, self.request.user
        if key is not None and key.reaches_all_environments:
            return
        if key is None and (getattr(user, "is_superuser", False) or is_admin_everywhere(user)):
            return
        raise Forbidden(who=str(self.actor), role=Role.ADMIN.value, environment="all environments")

    def expected_revision(self, environment: Environment) -> int | None:
        """The revision in If-Match. None: the caller does not mind, which a protected environment refuses."""
        tag = self.request.headers.get("If-Match")
        if tag is None or tag == "*":
            if environment.is_protected and tag is None:
                raise PreconditionRequired(environment=environment.key)
            return None
        number = tag.removeprefix("W/").strip('"')
        if not (number.isascii() and number.isdigit()):
            raise Invalid('If-Match carries the revision that you saw, as in If-Match: "7".')
        return int(number)

    def read(self, serializer: type[serializers.Serializer[Any]]) -> dict[str, Any]:
        """The body's values, checked. Raises a 400 that names the place of each fault."""
        reading = serializer(data=self.request.data)
        reading.is_valid(raise_exception=True)
        values: dict[str, Any] = reading.validated_data
        return values

    def paged(self, rows: "models.QuerySet[Any] | list[Any]", to_dict: Callable[[Any], dict[str, Any]]) -> Response:
        pages = self.pagination_class()
        page = pages.paginate_queryset(rows, self.request, view=self)
        return pages.get_paginated_response([to_dict(row) for row in page or []])


def is_admin_everywhere(user: Person) -> bool:
    return Grant.objects.filter(user_id=user.pk or 0, environment=None, role=Role.ADMIN).exists()
