from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('alerts', '0005_config_is_sealed'),
    ]

    operations = [
        migrations.RenameField(model_name='alert', old_name='spoken_for_by', new_name='muted_by'),
        migrations.AddField(model_name='alert', name='mutes', field=models.JSONField(default=list)),
        migrations.AddField(model_name='alert', name='assigned_to', field=models.CharField(blank=True, max_length=150)),
        migrations.AddField(model_name='alert', name='clearing_since', field=models.DateTimeField(null=True)),
        migrations.AddField(model_name='alert', name='clearing_entry', field=models.CharField(blank=True, max_length=36)),
        migrations.AddField(
            model_name='silence',
            name='repeats',
            field=models.CharField(
                blank=True,
                choices=[('', 'once'), ('daily', 'every day'), ('weekly', 'every week')],
                default='',
                max_length=8,
            ),
        ),
        migrations.AddField(model_name='silence', name='time_zone', field=models.CharField(default='UTC', max_length=64)),
    ]
