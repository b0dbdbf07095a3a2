"""Who calls the management API: a person with the console's session and CSRF token, or an API key."""

from django.contrib.auth.models import AnonymousUser
from django.utils import timezone
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed, Throttled
from rest_framework.request import Request

from apps.access import using
from apps.access.domain.secrets import digest_of
from apps.access.models import ApiKey


class KeyUser(AnonymousUser):
    """The holder of an API key: nobody in particular, but let in."""

    def __init__(self, key: ApiKey) -> None:
        super().__init__()
        self.key = key

    @property
    def is_authenticated(self) -> bool:  # type: ignore[override]  # a key is known, though no person
        return True

    def __str__(self) -> str:
        return f"key:{self.key.name}"


class KeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer <key>` or `X-API-Key: <key>`."""

    def authenticate(self, request: Request) -> tuple[KeyUser, ApiKey] | None:
        secret = bearer_of(request.headers.get("Authorization"), request.headers.get("X-API-Key"))
        if secret is None:
            return None
        keys = ApiKey.objects.usable(timezone.now()).select_related("environment")
        key = keys.filter(digest=digest_of(secret)).first()
        if key is None:
            raise AuthenticationFailed("This API key is unknown, expired or revoked.")
        using.used.add(key.pk)
        if key.rate_per_second is not None and not using.limits.take(key.pk, key.rate_per_second):
            raise Throttled(detail=f"This key may do {key.rate_per_second} requests a second.", wait=0.5)
        return KeyUser(key), key

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


def bearer_of(authorization: str | None, api_key: str | None) -> str | None:
    if authorization:
        scheme, _, secret = authorization.partition(" ")
        if scheme.lower() == "bearer" and secret.strip():
            return secret.strip()
    return api_key or None


class KeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # drf-spectacular hooks subclasses without types
    target_class = KeyAuthentication
    name = "apiKey"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer"}
