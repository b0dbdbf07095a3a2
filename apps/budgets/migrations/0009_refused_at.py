from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("budgets", "0008_how_severe")]
    operations = [
        migrations.AddField(model_name="budget", name="refused_at", field=models.DateTimeField(null=True)),
    ]
