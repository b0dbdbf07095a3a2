import apps.core.sealing
from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ('alerts', '0002_channels_and_silences'),
    ]

    operations = [
        migrations.AddField(
            model_name='channel',
            name='sealed',
            field=apps.core.sealing.SealedJson(default=dict),
            preserve_default=False,
        ),
    ]
