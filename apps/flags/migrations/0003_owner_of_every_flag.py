from typing import Any

from django.db import migrations
from django.db.models import OuterRef, Subquery


def from_routes(apps: Any, _: Any) -> None:
    """The owner of a route becomes its flag's; a flag without rules has an empty list of them."""
    flags = apps.get_model("flags", "Flag").objects
    owner = apps.get_model("flags", "Route").objects.filter(flag=OuterRef("pk")).values("owner")[:1]
    flags.filter(route__isnull=False).update(owner=Subquery(owner))
    flags.filter(targeting="{}").update(rules=[])


class Migration(migrations.Migration):
    dependencies = [("flags", "0002_whole_flags")]
    operations = [migrations.RunPython(from_routes, migrations.RunPython.noop)]
