# Lines say which of a price's rates they had, and what was written to a cache: so they can be priced again exactly.

from django.db import migrations, models

LEDGER = ("ledgerline", "ledgerhour", "ledgerday")


class Migration(migrations.Migration):
    dependencies = [("telemetry", "0005_coarse_latency_and_answers")]

    operations = [
        *(migrations.AlterField(model, "rule", models.CharField(max_length=32)) for model in LEDGER),
        *(migrations.AddField(model, "rate", models.CharField(blank=True, default="", max_length=48)) for model in LEDGER),
        *(migrations.AddField(model, "cache_write_tokens", models.BigIntegerField(default=0)) for model in LEDGER),
        *(migrations.AddField(model, "cache_write_1h_tokens", models.BigIntegerField(default=0)) for model in LEDGER),
        migrations.AddField("routetokens", "models", models.JSONField(default=dict)),
    ]
