"""What a press on the alerts' pages is answered with: in its place, or as a page where there is no script."""

from collections.abc import Callable

from django.http import HttpResponse, HttpResponseRedirect
from django.urls import reverse

from apps.console.acts import Result
from apps.console.visits import Visit
from apps.core.refusals import Refused


def pressed(
    visit: Visit, key: str, act: Callable[[], None], words: str, second: str = "", *, back: str = ""
) -> HttpResponse:
    """Does it, and answers with the words, or with those of the refusal. `back`: where to go without script."""
    try:
        act()
    except Refused as refused:
        return answer(visit, key, Result(words=refused.detail, refused=True))
    return answer(visit, key, Result(words=words, second=second), back=back)


def answer(visit: Visit, key: str, result: Result, *, back: str = "") -> HttpResponse:
    if visit.is_fragment:
        return visit.fragment("console/_done.html", act={"key": key}, result=result)
    if result.refused:
        return visit.page(
            "console/alert_result.html", current="alerts", title="Not done", result=result, act={"key": key},
            status=409,
        )  # fmt: skip
    return HttpResponseRedirect(back or reverse("alerts"))
