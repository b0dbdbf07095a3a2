from django.db import migrations


def seal(apps, schema_editor):
    if schema_editor.connection.vendor == "sqlite":
        # What is deleted from here on is overwritten in the file too.
        schema_editor.execute("PRAGMA secure_delete = ON")
    for channel in apps.get_model("alerts", "Channel").objects.order_by("pk"):
        channel.sealed = channel.config
        channel.save(update_fields=["sealed"])


def unseal(apps, schema_editor):
    for channel in apps.get_model("alerts", "Channel").objects.order_by("pk"):
        channel.config = channel.sealed
        channel.save(update_fields=["config"])


class Migration(migrations.Migration):

    dependencies = [
        ('alerts', '0003_sealed_config'),
    ]

    operations = [migrations.RunPython(seal, unseal)]
