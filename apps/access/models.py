from datetime import datetime
from typing import Any, Self

from django.conf import settings
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from apps.access.domain.roles import KeyScope, Role, role_of_scopes
from apps.core.ids import new_id
from apps.core.sealing import seal, unseal

slug = RegexValidator(r"^[a-z0-9][a-z0-9-]{0,63}$", "Lower-case letters, digits and dashes, 64 at most.")


class EnvironmentQuerySet(models.QuerySet["Environment"]):
    def shown(self) -> Self:
        return self.filter(is_hidden=False)


class Environment(models.Model):
    """Where a configuration is live. Owns API keys and a numbered snapshot; its row is the lock of all publishers."""

    key = models.CharField(max_length=64, unique=True, validators=[slug])
    name = models.CharField(max_length=128)
    is_production = models.BooleanField(default=False)
    is_protected = models.BooleanField(default=False)
    is_hidden = models.BooleanField(default=False)  # a drill's copy
    snapshot_version = models.PositiveIntegerField(default=0, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    objects = EnvironmentQuerySet.as_manager()

    def __str__(self) -> str:
        return self.key

    def save(self, *args: Any, **kwargs: Any) -> None:
        """An object loaded earlier never writes an old snapshot number back: only `next_version` moves it."""
        if self.pk is not None and not self._state.adding and kwargs.get("update_fields") is None:
            kwargs["update_fields"] = [
                field.name
                for field in self._meta.concrete_fields
                if not field.primary_key and field.name != "snapshot_version"
            ]
        super().save(*args, **kwargs)

    def next_version(self) -> int:
        """Takes the next snapshot number. The caller holds the row's lock."""
        self.snapshot_version += 1
        self.save(update_fields=["snapshot_version"])
        return self.snapshot_version

    def skip_to(self, version: int) -> None:
        """The next version will be beyond that one. The caller holds the row's lock."""
        self.snapshot_version = max(self.snapshot_version, version)
        self.save(update_fields=["snapshot_version"])


class ApiKeyQuerySet(models.QuerySet["ApiKey"]):
    def usable(self, now: datetime) -> Self:
        return self.filter(Q(expires_at=None) | Q(expires_at__gt=now), Q(revoked_at=None) | Q(revoked_at__gt=now))


class ApiKey(models.Model):
    id = models.CharField(primary_key=True, max_length=36, default=new_id, editable=False)
    environment = models.ForeignKey(Environment, on_delete=models.CASCADE, related_name="api_keys")
    name = models.CharField(max_length=128)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    prefix = models.CharField(max_length=16, editable=False)
    scopes = models.JSONField(default=list)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    rate_per_second = models.PositiveIntegerField(null=True, blank=True)  # requests, on each machine; null: no limit
    created_at = models.DateTimeField()
    created_by = models.CharField(max_length=200)

    objects = ApiKeyQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(rate_per_second=None) | Q(rate_per_second__gte=1), name="key_may_do_something"
            )
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    @property
    def role(self) -> Role | None:
        return role_of_scopes(self.scopes)

    @property
    def reaches_all_environments(self) -> bool:
        return KeyScope.MANAGE_ADMIN in self.scopes

    def revoke(self, at: datetime) -> None:
        self.revoked_at = at
        self.save(update_fields=["revoked_at"])

    def limit(self, rate_per_second: int | None) -> None:
        self.rate_per_second = rate_per_second
        self.save(update_fields=["rate_per_second"])


class Grant(models.Model):
    """A person's role in one environment, or in all where `environment` is empty."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="grants")
    environment = models.ForeignKey(Environment, null=True, blank=True, on_delete=models.CASCADE, related_name="grants")
    role = models.CharField(max_length=16, choices=[(role.value, role.value) for role in Role])

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "environment"], name="one_role_per_person_and_environment"),
            models.UniqueConstraint(
                fields=["user"], condition=Q(environment=None), name="one_role_per_person_in_all_environments"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user} is {self.role} in {self.environment or 'all environments'}"


class RememberedAnswer(models.Model):
    """The answer to a write that came with an Idempotency-Key: the same write sent again gets it again."""

    actor = models.CharField(max_length=200)
    key = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField(null=True)  # null while the first write is under way
    body = models.JSONField(null=True)
    at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["actor", "key"], name="one_answer_per_actor_and_key")]

    def __str__(self) -> str:
        return f"{self.actor} {self.key}"

    def remember(self, status: int, body: object) -> None:
        """Sealed: an answer may hold a key or a secret that is shown just once."""
        self.status, self.body = status, seal(body)
        self.save(update_fields=["status", "body"])

    @property
    def said(self) -> Any:
        return unseal(self.body) if isinstance(self.body, str) else self.body
