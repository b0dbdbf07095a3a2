from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("catalog", "0003_own_prices_by_name")]

    operations = [
        migrations.RemoveField(model_name="price", name="of"),
        migrations.RemoveField(model_name="price", name="above"),
        migrations.RemoveField(model_name="price", name="input_above"),
        migrations.RemoveField(model_name="price", name="cached_input_above"),
        migrations.RemoveField(model_name="price", name="output_above"),
        migrations.AddConstraint(model_name="price", constraint=models.UniqueConstraint(fields=("price_list", "provider", "model", "service_tier", "hours", "valid_from", "above_tokens"), name="one_price_of_a_list_per_band_and_moment")),
        migrations.AddConstraint(model_name="price", constraint=models.UniqueConstraint(condition=models.Q(("price_list", None)), fields=("provider", "model", "service_tier", "hours", "valid_from", "above_tokens"), name="one_own_price_per_band_and_moment")),
        migrations.AddConstraint(model_name="price", constraint=models.CheckConstraint(condition=models.Q(("input__gte", 0), ("output__gte", 0), ("per_request__gte", 0)), name="a_price_is_not_negative")),
    ]
