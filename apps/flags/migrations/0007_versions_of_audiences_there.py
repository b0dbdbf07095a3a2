"""Audiences that are there already begin their history with what they are now."""

from django.db import migrations


def begin(apps, schema_editor):
    audience, version = apps.get_model("flags", "Audience"), apps.get_model("flags", "AudienceVersion")
    for row in audience.objects.order_by("pk").iterator():
        version.objects.create(
            environment_id=row.environment_id,
            audience=row,
            key=row.key,
            revision=row.revision,
            fields={"description": row.description, "conditions": row.conditions},
            by=row.changed_by,
            at=row.changed_at,
        )


class Migration(migrations.Migration):
    dependencies = [
        ("flags", "0006_versions_of_audiences"),
    ]

    operations = [
        migrations.RunPython(begin, migrations.RunPython.noop),
    ]
