from typing import Any

from django.contrib import admin

from apps.core.admin import RowAdmin
from apps.journal.models import Entry


@admin.register(Entry)
class EntryAdmin(RowAdmin):
    """Append-only, here too."""

    list_display = ("at", "environment", "kind", "by", "because")
    list_filter = ("environment", "kind")
    search_fields = ("because", "by", "route")

    def has_add_permission(self, request: Any) -> bool:
        return False

    def has_change_permission(self, request: Any, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: Any, obj: Any = None) -> bool:
        return False
