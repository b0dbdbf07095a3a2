from django.contrib import admin

from apps.access.models import ApiKey, Environment, Grant
from apps.core.admin import RowAdmin


@admin.register(Environment)
class EnvironmentAdmin(RowAdmin):
    list_display = ("key", "name", "is_production", "is_protected", "snapshot_version")
    readonly_fields = ("snapshot_version",)


@admin.register(ApiKey)
class ApiKeyAdmin(RowAdmin):
    """Keys are made by `manage.py create_key` or the API, which show the secret once; here they are only read."""

    list_display = ("name", "environment", "prefix", "scopes", "expires_at", "revoked_at")
    list_filter = ("environment",)

    def has_add_permission(self, request: object) -> bool:
        return False

    def has_change_permission(self, request: object, obj: object = None) -> bool:
        return False


@admin.register(Grant)
class GrantAdmin(RowAdmin):
    list_display = ("user", "environment", "role")
    list_filter = ("role", "environment")
