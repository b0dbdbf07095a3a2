from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ('alerts', '0004_seal_config'),
    ]

    operations = [
        migrations.RemoveField(model_name='channel', name='config'),
        migrations.RenameField(model_name='channel', old_name='sealed', new_name='config'),
    ]
