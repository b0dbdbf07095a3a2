"""What every management endpoint shares: problem+json errors (RFC 9457), pages, money as text."""

from collections.abc import Iterator
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404
from rest_framework import exceptions, serializers, status
from rest_framework.pagination import LimitOffsetPagination
from rest_framework.parsers import JSONParser
from rest_framework.response import Response

from apps.core.money import MOST_USD, nano_to_text, usd_to_nano
from apps.core.refusals import Refused


class Page(LimitOffsetPagination):
    """`?limit=` (up to 500) and `?offset=`; answers count, next, previous, results."""

    default_limit = 50
    max_limit = 500


class Json(JSONParser):
    """JSON that is nested beyond what Python reads, or has texts that no database takes, is the sender's fault."""

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        try:
            parsed = super().parse(stream, media_type, parser_context)
            unfit = next((place for place, text in texts_in(parsed) if not can_be_kept(text)), None)
        except RecursionError as fault:
            raise exceptions.ParseError("The JSON is nested too deep.") from fault
        if unfit is not None:
            raise exceptions.ValidationError({unfit or "body": ["A text here holds a NUL or half a letter."]})
        return parsed


def texts_in(value: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Every text with its place, as in `rules.0.name`; the names of fields too, at the place that holds them."""
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield place, name
            yield from texts_in(inner, f"{place}.{name}" if place else name)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from texts_in(inner, f"{place}.{index}" if place else str(index))


def can_be_kept(text: str) -> bool:
    """PostgreSQL keeps no NUL, and UTF-8 knows no half of a surrogate pair."""
    return "\0" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)


class NanoField(serializers.DecimalField):
    """Money at the door: text or number of USD outside, integer nano-USD inside."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("max_digits", 20)
        kwargs.setdefault("decimal_places", 9)
        super().__init__(**kwargs)

    def to_internal_value(self, data: Any) -> Any:
        usd = super().to_internal_value(data)
        if usd > MOST_USD:
            self.fail("max_value", max_value=MOST_USD)
        return usd_to_nano(usd)

    def to_representation(self, value: Any) -> str:
        return nano_to_text(value)


def problem(status_code: int, code: str, detail: str, **extra: Any) -> Response:
    body = {"type": "about:blank", "status": status_code, "code": code, "detail": detail, **extra}
    return Response(body, status=status_code, content_type="application/problem+json")


def explain(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's exception handler: each expected error becomes one problem document. A fault rises."""
    if isinstance(error, Refused):
        return problem(error.status, error.code, error.detail, **error.extra)
    if isinstance(error, Http404):
        return problem(status.HTTP_404_NOT_FOUND, "not_found", "There is nothing at this address.")
    if isinstance(error, PermissionDenied):
        return problem(status.HTTP_403_FORBIDDEN, "forbidden", str(error) or "You may not do this.")
    if isinstance(error, exceptions.ValidationError):
        return problem(error.status_code, "invalid", first_words(error.detail), errors=error.detail)
    if isinstance(error, exceptions.APIException):
        answer = problem(error.status_code, str(error.get_codes()), str(error.detail))
        if wait := getattr(error, "wait", None):
            answer["Retry-After"] = str(int(wait) + 1)
        if challenge := getattr(error, "auth_header", None):
            answer["WWW-Authenticate"] = challenge
        return answer
    return None


def first_words(errors: Any, path: str = "") -> str:
    """The first fault of a nested error, with its place: `stages.0.share: A valid number is required.`"""
    if isinstance(errors, dict):
        for key, inner in errors.items():
            place = path if key == "non_field_errors" else f"{path}.{key}" if path else str(key)
            if words := first_words(inner, place):
                return words
        return ""
    if isinstance(errors, list):
        for index, inner in enumerate(errors):
            nested = isinstance(inner, dict | list)
            if words := first_words(inner, f"{path}.{index}" if nested else path):
                return words
        return ""
    return f"{path}: {errors}" if path else str(errors)
