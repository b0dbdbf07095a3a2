"""Prices that people set stay, by provider and model. Those of the price library come again with its first list."""

from django.db import migrations


def by_name(apps, schema_editor):
    Price = apps.get_model("catalog", "Price")
    Price.objects.exclude(source="own").delete()
    for price in Price.objects.select_related("of"):
        price.provider, price.model = price.of.provider.lower(), price.of.model_id.lower()
        price.save(update_fields=["provider", "model"])


def by_model(apps, schema_editor):
    Model, Price = apps.get_model("catalog", "Model"), apps.get_model("catalog", "Price")
    known = {(model.provider.lower(), model.model_id.lower()): model for model in Model.objects.all()}
    Price.objects.exclude(source="own", above_tokens=0, service_tier="").delete()
    for price in Price.objects.all():
        price.of = known.get((price.provider, price.model))
        price.save(update_fields=["of"]) if price.of else price.delete()


class Migration(migrations.Migration):
    dependencies = [("catalog", "0002_price_lists")]

    operations = [migrations.RunPython(by_name, by_model)]
