"""Access is decided where a thing is loaded: a view that fetches by itself is a view that forgot to ask."""

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.http import HttpRequest

from apps.access import queries
from apps.access.domain.roles import Role
from apps.access.models import Environment
from apps.core.refusals import Forbidden, NotFound

Person = AbstractBaseUser | AnonymousUser
role_in = queries.role_in


def environment_for(person: Person, key: str, *, role: Role) -> Environment:
    """The environment, if this person has at least `role` there. A stranger learns not even that it exists."""
    environment = Environment.objects.filter(key=key).first()
    have = queries.role_in(person, environment) if environment else None
    if environment is None or have is None:
        raise NotFound(what="environment", key=key)
    if not have.includes(role):
        raise Forbidden(who=str(person), role=role.value, environment=key)
    return environment


def environment_or_404(key: str, *, request: HttpRequest, role: Role) -> Environment:
    return environment_for(request.user, key, role=role)


def require(request: HttpRequest, environment: Environment, role: Role) -> None:
    """Raises Forbidden, with the names of those who could."""
    have = queries.role_in(request.user, environment)
    if have is None or not have.includes(role):
        raise Forbidden(who=str(request.user), role=role.value, environment=environment.key)
