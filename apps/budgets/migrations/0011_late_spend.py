from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("budgets", "0010_faulty_since")]
    operations = [
        migrations.AddField(model_name="budget", name="late", field=models.JSONField(default=dict)),
    ]
