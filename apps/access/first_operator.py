"""The first person: made with no password, let in by a link that sets one, once; and an environment to be let into."""

from datetime import datetime

from django.contrib.auth.hashers import UNUSABLE_PASSWORD_PREFIX, make_password
from django.contrib.auth.models import User
from django.contrib.auth.tokens import default_token_generator
from django.db import transaction
from django.db.models import Q
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode

from apps.access import services
from apps.access.domain.roles import Role
from apps.access.models import Environment
from apps.core.actors import WORKER

NAME = "operator"


def somebody_can_log_in() -> bool:
    has_password = ~Q(password__startswith=UNUSABLE_PASSWORD_PREFIX) & ~Q(password="")
    return User.objects.filter(has_password | Q(last_login__isnull=False), is_active=True).exists()


@transaction.atomic
def invite_first_operator(*, now: datetime) -> tuple[str, str] | None:
    """The parts of the link: who, and the token that the password's setting voids. None once somebody can log in."""
    if somebody_can_log_in():
        return None
    user, is_new = User.objects.get_or_create(
        username=NAME, defaults={"is_staff": True, "is_superuser": True, "password": make_password(None)}
    )
    if is_new:
        because = "First start: with no user yet, somebody must be let in."
        services.grant(user=user, environment=None, role=Role.ADMIN, by=WORKER, because=because, now=now)
    if not Environment.objects.exists():
        because = "First start: with no environment yet, nothing can be set up."
        services.create_environment(
            key="production", name="Production", is_production=True, by=WORKER, because=because, now=now
        )
    return urlsafe_base64_encode(force_bytes(user.pk)), default_token_generator.make_token(user)
