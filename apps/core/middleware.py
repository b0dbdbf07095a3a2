"""What is refused before any view: texts that no database takes."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, JsonResponse

NUL = "\x00"
FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
SENTENCE = "A text may not contain the NUL character."


class RefuseNul:
    """PostgreSQL keeps no NUL in a text. An address, a cookie or a form that carries one is answered with 400, here.

    JSON bodies are checked where they are read.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not has_nul(request):
            return self.get_response(request)
        if request.path.startswith("/api/"):
            body = {"type": "about:blank", "status": 400, "code": "invalid", "detail": SENTENCE}
            return JsonResponse(body, status=400, content_type="application/problem+json")
        return HttpResponse(SENTENCE, status=400, content_type="text/plain; charset=utf-8")


def has_nul(request: HttpRequest) -> bool:
    if NUL in request.path or "%00" in request.META.get("QUERY_STRING", ""):
        return True
    if any(NUL in value for value in request.COOKIES.values()):  # written as \000 in the header
        return True
    if request.content_type not in FORMS or request.path.startswith("/api/"):  # the API takes no forms
        return False
    return any(NUL in value for _, values in request.POST.lists() for value in values)
