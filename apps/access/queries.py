from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db.models import Q

from apps.access.domain.roles import Role
from apps.access.models import Environment, Grant


def role_in(user: AbstractBaseUser | AnonymousUser, environment: Environment) -> Role | None:
    """The person's highest role here: the grant for this environment or the one for all."""
    if not user.is_authenticated or not user.is_active:
        return None
    if getattr(user, "is_superuser", False):
        return Role.ADMIN
    grants = Grant.objects.filter(Q(environment=environment) | Q(environment=None), user_id=user.pk)
    return max((Role(grant.role) for grant in grants), key=lambda role: role.rank, default=None)


def role_everywhere(user: AbstractBaseUser | AnonymousUser) -> Role | None:
    """What the person is in each of the environments: the catalogue and its prices belong to all of them."""
    roles = [role_in(user, environment) for environment in Environment.objects.shown()]
    known = [role for role in roles if role is not None]
    return min(known, key=lambda role: role.rank) if known and len(known) == len(roles) else None


def people_with(role: Role, environment: Environment) -> list[str]:
    """Who could do what this person may not: the names that a refusal offers."""
    grants = Grant.objects.filter(Q(environment=environment) | Q(environment=None)).select_related("user")
    able = {str(grant.user.get_username()) for grant in grants if Role(grant.role).includes(role)}
    return sorted(able)


def has_environments() -> bool:
    return Environment.objects.shown().exists()


def environments_of(user: AbstractBaseUser | AnonymousUser) -> list[Environment]:
    """The environments that this person may see, production first."""
    shown = Environment.objects.shown().order_by("-is_production", "key")
    return [environment for environment in shown if role_in(user, environment)]
