from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("budgets", "0007_holds_from_before")]
    operations = [
        migrations.AddField(model_name="budget", name="told", field=models.JSONField(default=dict)),
    ]
