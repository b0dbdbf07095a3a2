from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("telemetry", "0006_ledger_rates")]

    operations = [
        migrations.AddField("requestsum", "unnamed", models.PositiveBigIntegerField(default=0)),
    ]
