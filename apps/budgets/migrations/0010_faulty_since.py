from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("budgets", "0009_refused_at")]
    operations = [
        migrations.AddField(model_name="budget", name="faulty_since", field=models.DateTimeField(null=True)),
    ]
