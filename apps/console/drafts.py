"""What was typed into a form outlives the session: it comes back as the query of the form's own address.

Such a form reads its fields from a GET as it does from a POST, and saves nothing on a GET.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.urls import resolve

from apps.console.visits import ConsoleRequest

NOT_KEPT = {"csrfmiddlewaretoken", "idempotency_key", "press"}
MARK = "keeps_draft"


def keeps_draft(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Whose session ended while typing finds the draft again after the login; nothing was saved."""

    @wraps(view)
    def inner(request: ConsoleRequest, **kwargs: Any) -> HttpResponse:
        if request.method != "POST" or request.user.is_authenticated:
            return view(request, **kwargs)
        return redirect_to_login(address(request))

    setattr(inner, MARK, True)
    return inner


def address(request: HttpRequest) -> str:
    """Where the form is with what was typed; the bare address where it is no form that keeps a draft."""
    if not hasattr(resolve(request.path_info).func, MARK):
        return request.path
    draft = request.POST.copy()
    for name in NOT_KEPT & set(draft):
        del draft[name]
    return f"{request.path}?{draft.urlencode()}"
