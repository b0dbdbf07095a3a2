"""Choices that a cookie or the session keeps: theme and environment."""

from django.contrib.auth.views import LoginView
from django.http import HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST

from apps.access import loaders
from apps.access.domain.roles import Role
from apps.console import drafts
from apps.console.visits import ConsoleRequest, console, refusal
from apps.core.refusals import Refused

A_YEAR = 365 * 24 * 3600
log_in = LoginView.as_view(template_name="console/login.html", redirect_authenticated_user=True)


def back(request: ConsoleRequest) -> HttpResponseRedirect:
    """To the page where the choice was made; never to another host."""
    wanted = request.POST.get("next", "")
    allowed = url_has_allowed_host_and_scheme(wanted, {request.get_host()}, require_https=request.is_secure())
    return HttpResponseRedirect(wanted if allowed else reverse("now"))


class PageIsOld(Refused):
    code = "page_is_old"
    sentence = "This page is too old to act on. Nothing was done: open it again."
    status = 403


def page_is_old(request: ConsoleRequest, reason: str = "") -> HttpResponse:
    """A form without the token of this session: mostly one that stood open while its reader logged in elsewhere."""
    again = drafts.address(request)
    if "?" in again and request.user.is_authenticated:
        return HttpResponseRedirect(again)
    return refusal(request, PageIsOld())


@require_POST
def choose_theme(request: ConsoleRequest) -> HttpResponse:
    theme = request.POST.get("theme", "")
    answer = back(request)
    if theme in ("light", "dark"):
        answer.set_cookie("theme", theme, max_age=A_YEAR, samesite="Lax", secure=request.is_secure(), httponly=True)
    else:
        answer.delete_cookie("theme", samesite="Lax")
    return answer


@require_POST
@console
def choose_environment(request: ConsoleRequest) -> HttpResponse:
    environment = loaders.environment_or_404(request.POST.get("environment", ""), request=request, role=Role.VIEWER)
    request.session["environment"] = environment.key
    return HttpResponseRedirect(reverse("now"))
