# Prices stand by provider and model, with every band, tier and hour; imported ones belong to a list.

import django.db.models.deletion
from django.db import migrations, models

import apps.core.ids


def usd(**options):
    return models.DecimalField(decimal_places=9, max_digits=18, **options)


class Migration(migrations.Migration):
    dependencies = [("catalog", "0001_initial")]

    operations = [
        migrations.CreateModel(
            name="PriceList",
            fields=[
                ("id", models.CharField(default=apps.core.ids.new_id, max_length=36, primary_key=True, serialize=False)),
                ("source", models.CharField(max_length=128)),
                ("digest", models.CharField(max_length=64)),
                ("state", models.CharField(choices=[("proposed", "Proposed"), ("in_force", "In Force"), ("replaced", "Replaced"), ("rejected", "Rejected"), ("withdrawn", "Withdrawn")], max_length=16)),
                ("because", models.CharField(max_length=500)),
                ("proposed_by", models.CharField(max_length=200)),
                ("proposed_at", models.DateTimeField()),
                ("decided_by", models.CharField(blank=True, max_length=200)),
                ("decided_at", models.DateTimeField(null=True)),
                ("word", models.CharField(blank=True, max_length=500)),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(condition=models.Q(("state", "in_force")), fields=("state",), name="one_price_list_in_force"),
                    models.UniqueConstraint(condition=models.Q(("state", "proposed")), fields=("state",), name="one_price_list_waits"),
                ],
            },
        ),
        migrations.RemoveConstraint(model_name="price", name="one_price_per_model_and_moment"),
        migrations.RemoveConstraint(model_name="price", name="a_price_is_not_negative"),
        migrations.RenameField(model_name="price", old_name="model", new_name="of"),
        migrations.AlterField(model_name="price", name="of", field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.CASCADE, related_name="prices", to="catalog.model")),
        migrations.AddField(model_name="price", name="price_list", field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.CASCADE, related_name="prices", to="catalog.pricelist")),
        migrations.AddField(model_name="price", name="provider", field=models.CharField(default="", max_length=64), preserve_default=False),
        migrations.AddField(model_name="price", name="model", field=models.CharField(default="", max_length=200), preserve_default=False),
        migrations.AddField(model_name="price", name="service_tier", field=models.CharField(blank=True, default="", max_length=32), preserve_default=False),
        migrations.AddField(model_name="price", name="above_tokens", field=models.PositiveIntegerField(default=0)),
        migrations.AddField(model_name="price", name="hours", field=models.CharField(blank=True, default="", max_length=11), preserve_default=False),
        migrations.AddField(model_name="price", name="valid_to", field=models.DateTimeField(null=True)),
        migrations.AddField(model_name="price", name="cache_write", field=usd(null=True)),
        migrations.AddField(model_name="price", name="cache_write_1h", field=usd(null=True)),
        migrations.AddField(model_name="price", name="per_request", field=usd(default=0)),
    ]
