"""A visit: who looks at which environment, since when, and what that person may press there.

Views take a `Visit`; it is made in one place, so no view can forget to ask. A refusal becomes the same clear answer
everywhere: a page, or a fragment where htmx asks.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import wraps
from typing import Any

from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.gzip import gzip_page
from django_htmx.middleware import HtmxDetails

from apps.access import loaders
from apps.access import queries as access
from apps.access.domain.roles import Role
from apps.access.models import Environment
from apps.console import frame
from apps.core import actors
from apps.core.actors import Actor
from apps.core.refusals import Forbidden, Refused


class ConsoleRequest(HttpRequest):
    htmx: HtmxDetails
    user: User


@dataclass(frozen=True, slots=True)
class Visit:
    request: ConsoleRequest
    environment: Environment
    role: Role
    now: datetime

    @property
    def actor(self) -> Actor:
        return actors.person(self.request.user.get_username())

    @property
    def is_fragment(self) -> bool:
        return bool(self.request.htmx)

    def may(self, role: Role) -> bool:
        return self.role.includes(role)

    def must(self, role: Role) -> None:
        """For what changes something. Raises Forbidden."""
        if not self.may(role):
            raise Forbidden(who=str(self.actor), role=role.value, environment=self.environment.key)

    def who_may(self, role: Role) -> str:
        """The sentence that stands where the button would be."""
        people = access.people_with(role, self.environment)[:3]
        return f"{' or '.join(people)} can do this." if people else f"This needs the role {role.value}."

    def page(self, template: str, *, current: str = "", status: int = 200, **context: Any) -> HttpResponse:
        whole = {"frame": frame.of(self.environment, self.role, self.request.user, self.now, current), "now": self.now}
        return render(self.request, template, whole | context, status=status)

    def fragment(self, template: str, *, status: int = 200, **context: Any) -> HttpResponse:
        return render(self.request, template, {"now": self.now} | context, status=status)


View = Callable[..., HttpResponse]


def visited(view: View) -> View:
    """For pages about the environment that the person has chosen."""

    @console
    def inner(request: ConsoleRequest, **kwargs: Any) -> HttpResponse:
        environments = access.environments_of(request.user)
        if not environments:
            is_empty = not access.has_environments()
            return render(request, "console/nowhere.html", {"is_empty": is_empty}, status=403)
        asked = request.GET.get("environment") or request.session.get("environment")
        chosen = next((one for one in environments if one.key == asked), environments[0])
        role = access.role_in(request.user, chosen)
        assert role is not None  # environments_of gave it
        return view(Visit(request, chosen, role, timezone.now()), **kwargs)

    return inner


def visit_of(request: ConsoleRequest, environment: str, *, role: Role = Role.VIEWER) -> Visit:
    """For pages about a thing that has an environment of its own. Raises NotFound for strangers."""
    found = loaders.environment_or_404(environment, request=request, role=role)
    have = access.role_in(request.user, found)
    assert have is not None  # the loader asked
    return Visit(request, found, have, timezone.now())


def console(view: View) -> View:
    @login_required
    @never_cache
    @gzip_page
    @wraps(view)
    def inner(request: ConsoleRequest, **kwargs: Any) -> HttpResponse:
        try:
            return view(request, **kwargs)
        except Refused as refused:
            return refusal(request, refused)

    return inner


def refusal(request: ConsoleRequest, refused: Refused) -> HttpResponse:
    if request.htmx:
        # 200, or htmx would drop the words that explain it.
        return render(request, "console/_refused.html", {"refused": refused})
    return render(request, "console/refused.html", {"refused": refused}, status=refused.status)
