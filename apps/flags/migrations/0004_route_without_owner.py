from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("flags", "0003_owner_of_every_flag")]
    operations = [migrations.RemoveField(model_name="route", name="owner")]
