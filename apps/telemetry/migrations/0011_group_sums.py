"""Under load the sums of a commit group wait in one row, to be laid out with those of others."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("telemetry", "0010_raw_calls_by_shard"),
    ]

    operations = [
        migrations.CreateModel(
            name="GroupSums",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("writer", models.CharField(max_length=36)),
                ("seq", models.PositiveBigIntegerField()),
                ("at", models.DateTimeField()),
                ("body", models.BinaryField()),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("writer", "seq"), name="one_row_per_group")],
            },
        ),
    ]
