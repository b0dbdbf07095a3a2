"""What is answered where no view answered: problem+json under /api/, a page elsewhere."""

from http import HTTPStatus

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render

NOT_FOUND = "There is nothing at this address."
FAULT = "That went wrong, and it is our fault. It has been logged."


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return answer(request, HTTPStatus.NOT_FOUND, "not_found", NOT_FOUND)


def fault(request: HttpRequest) -> HttpResponse:
    return answer(request, HTTPStatus.INTERNAL_SERVER_ERROR, "fault", FAULT)


def answer(request: HttpRequest, status: HTTPStatus, code: str, detail: str) -> HttpResponse:
    if request.path.startswith("/api/"):
        body = {"type": "about:blank", "status": int(status), "code": code, "detail": detail}
        return JsonResponse(body, status=status, content_type="application/problem+json")
    return render(request, "console/refused.html", {"refused": {"detail": detail}}, status=status)
