"""What a press on the alerts' pages is answered with: in its place, or as a page where there is no script."""

from django.http import HttpResponse, HttpResponseRedirect
from django.urls import reverse

from apps.console.acts import Result
from apps.console.visits import Visit


def answer(visit: Visit, key: str, result: Result) -> HttpResponse:
    if visit.is_fragment:
        return visit.fragment("console/_done.html", act={"key": key}, result=result)
    if result.refused:
        return visit.page(
            "console/alert_result.html", current="alerts", title="Not done", result=result, act={"key": key},
            status=409,
        )  # fmt: skip
    return HttpResponseRedirect(reverse("alerts"))
