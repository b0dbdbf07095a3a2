"""Single calls lie by shard, no longer by route. Those of the last hours go: nothing counts or judges by them."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("telemetry", "0009_untold_usage"),
    ]

    operations = [
        migrations.DeleteModel(name="RawCalls"),
        migrations.CreateModel(
            name="RawCalls",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("environment", models.CharField(max_length=64)),
                ("shard", models.PositiveSmallIntegerField()),
                ("arrived_at", models.DateTimeField()),
                ("first_at", models.DateTimeField()),
                ("last_at", models.DateTimeField()),
                ("routes", models.TextField()),
                ("size", models.PositiveIntegerField()),
                ("body", models.BinaryField()),
            ],
            options={
                "indexes": [
                    models.Index(fields=["environment", "shard", "last_at"], name="raw_calls_by_shard"),
                    models.Index(fields=["arrived_at", "size"], name="raw_calls_by_arrival"),
                ],
            },
        ),
    ]
