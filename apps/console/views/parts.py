"""Every state of every part on one page, from fixed values: for development and visual tests."""

from django.conf import settings
from django.http import Http404, HttpResponse

from apps.console.presenters import parts
from apps.console.visits import Visit, visited


@visited
def page(visit: Visit) -> HttpResponse:
    if not settings.DEBUG and not visit.request.user.is_superuser:
        raise Http404
    return visit.page("console/parts.html", **parts.context())
