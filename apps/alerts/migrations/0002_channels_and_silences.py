import apps.core.ids
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('alerts', '0001_initial'),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name='delivery',
            name='one_notice_per_entry_and_channel',
        ),
        migrations.RenameField(
            model_name='delivery',
            old_name='entry',
            new_name='occasion',
        ),
        migrations.AlterField(
            model_name='delivery',
            name='occasion',
            field=models.CharField(max_length=80),
        ),
        migrations.CreateModel(
            name='EscalationPolicy',
            fields=[
                ('environment', models.CharField(max_length=64, primary_key=True, serialize=False)),
                ('steps', models.JSONField(default=list)),
                ('changed_at', models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name='Silence',
            fields=[
                ('id', models.CharField(default=apps.core.ids.new_id, editable=False, max_length=36, primary_key=True, serialize=False)),
                ('environment', models.CharField(max_length=64)),
                ('is_maintenance', models.BooleanField(default=False)),
                ('route', models.CharField(blank=True, max_length=128)),
                ('owner', models.CharField(blank=True, max_length=128)),
                ('severity', models.CharField(blank=True, max_length=16)),
                ('condition', models.CharField(blank=True, max_length=255)),
                ('starts_at', models.DateTimeField()),
                ('ends_at', models.DateTimeField()),
                ('because', models.CharField(blank=True, max_length=500)),
                ('by', models.CharField(max_length=200)),
                ('created_at', models.DateTimeField()),
                ('ended_by', models.CharField(blank=True, max_length=200)),
            ],
        ),
        migrations.CreateModel(
            name='Watch',
            fields=[
                ('name', models.CharField(max_length=32, primary_key=True, serialize=False)),
                ('called_at', models.DateTimeField(null=True)),
                ('is_well', models.BooleanField(default=True)),
                ('answer', models.CharField(blank=True, max_length=300)),
            ],
        ),
        migrations.RemoveIndex(
            model_name='delivery',
            name='delivery_due',
        ),
        migrations.RemoveField(
            model_name='delivery',
            name='claimed_by',
        ),
        migrations.RemoveField(
            model_name='delivery',
            name='lease_ends_at',
        ),
        migrations.AddField(
            model_name='alert',
            name='escalated',
            field=models.PositiveSmallIntegerField(default=0),
        ),
        migrations.AddField(
            model_name='alert',
            name='firing_since',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='alert',
            name='group',
            field=models.CharField(blank=True, max_length=255),
        ),
        migrations.AddField(
            model_name='alert',
            name='spoken_for_by',
            field=models.CharField(blank=True, max_length=255),
        ),
        migrations.AddField(
            model_name='alert',
            name='told',
            field=models.PositiveIntegerField(default=0),
        ),
        migrations.AddField(
            model_name='alert',
            name='told_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='channel',
            name='broken_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='channel',
            name='claimed_by',
            field=models.CharField(blank=True, default='', editable=False, max_length=64),
        ),
        migrations.AddField(
            model_name='channel',
            name='failures_in_row',
            field=models.PositiveIntegerField(default=0),
        ),
        migrations.AddField(
            model_name='channel',
            name='last_answer',
            field=models.CharField(blank=True, max_length=300),
        ),
        migrations.AddField(
            model_name='channel',
            name='last_taken_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='channel',
            name='lease_ends_at',
            field=models.DateTimeField(blank=True, editable=False, null=True),
        ),
        migrations.AddField(
            model_name='channel',
            name='least_severity',
            field=models.CharField(default='info', max_length=16),
        ),
        migrations.AddField(
            model_name='channel',
            name='off_because',
            field=models.CharField(blank=True, max_length=300),
        ),
        migrations.AddField(
            model_name='channel',
            name='quiet_until',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='channel',
            name='tokens',
            field=models.FloatField(default=5.0),
        ),
        migrations.AddField(
            model_name='channel',
            name='tokens_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='delivery',
            name='dedup_key',
            field=models.CharField(blank=True, max_length=255),
        ),
        migrations.AddField(
            model_name='delivery',
            name='replaced_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='delivery',
            name='sent_as',
            field=models.CharField(blank=True, max_length=36),
        ),
        migrations.AlterField(
            model_name='channel',
            name='kind',
            field=models.CharField(choices=[('webhook', 'Signed webhook'), ('email', 'E-mail'), ('slack', 'Slack'), ('pagerduty', 'PagerDuty'), ('teams', 'Microsoft Teams'), ('apprise', 'Apprise')], max_length=16),
        ),
        migrations.AlterField(
            model_name='seenentry',
            name='at',
            field=models.DateTimeField(db_index=True),
        ),
        migrations.AddIndex(
            model_name='delivery',
            index=models.Index(condition=models.Q(('done_at', None), ('is_dead', False), ('replaced_at', None)), fields=['next_try_at'], name='delivery_waiting'),
        ),
        migrations.AddIndex(
            model_name='delivery',
            index=models.Index(fields=['channel', '-created_at'], name='delivery_by_channel'),
        ),
        migrations.AddConstraint(
            model_name='delivery',
            constraint=models.UniqueConstraint(fields=('occasion', 'channel', 'event'), name='one_notice_per_occasion_and_channel'),
        ),
        migrations.AddIndex(
            model_name='silence',
            index=models.Index(fields=['ends_at'], name='silence_by_end'),
        ),
        migrations.AddConstraint(
            model_name='silence',
            constraint=models.CheckConstraint(condition=models.Q(('ends_at__gte', models.F('starts_at'))), name='a_silence_ends_after_it_starts'),
        ),
        migrations.AddField(
            model_name='alert',
            name='silence_row',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='alerts', to='alerts.silence'),
        ),
        migrations.AddIndex(
            model_name='alert',
            index=models.Index(fields=['environment', 'condition'], name='alert_by_condition'),
        ),
        migrations.AddIndex(
            model_name='alert',
            index=models.Index(fields=['environment', 'group'], name='alert_by_group'),
        ),
        migrations.AddIndex(
            model_name='alert',
            index=models.Index(condition=models.Q(('state', 'resolved'), _negated=True), fields=['state'], name='open_alert'),
        ),
    ]
