from typing import Any

from django.db import migrations


def ask_anew(apps: Any, editor: Any) -> None:
    """What was kept of the ledger's answers had its hours in it: they are asked again."""
    apps.get_model("budgets", "Budget").objects.update(kept={})


class Migration(migrations.Migration):
    dependencies = [("budgets", "0004_hours_apart_and_repairs")]
    operations = [migrations.RunPython(ask_anew, migrations.RunPython.noop)]
