import apps.core.ids
import apps.flags.models.fields
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('access', '0001_initial'),
        ('flags', '0001_initial'),
    ]

    operations = [
        migrations.CreateModel(
            name='Audience',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('key', models.CharField(max_length=128)),
                ('description', models.CharField(blank=True, max_length=1000)),
                ('conditions', apps.flags.models.fields.ExactJson()),
                ('revision', models.PositiveIntegerField(default=1)),
                ('changed_by', models.CharField(max_length=200)),
                ('changed_at', models.DateTimeField()),
                ('created_at', models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name='ChangeRequest',
            fields=[
                ('id', models.CharField(default=apps.core.ids.new_id, editable=False, max_length=36, primary_key=True, serialize=False)),
                ('subject', models.CharField(max_length=512)),
                ('action', models.CharField(choices=[('change', 'Change'), ('archive', 'Archive'), ('unarchive', 'Unarchive'), ('rename', 'Rename'), ('change_audience', 'Change Audience')], default='change', max_length=16)),
                ('fields', apps.flags.models.fields.ExactJson(default=dict)),
                ('base_revision', models.PositiveIntegerField()),
                ('base', apps.flags.models.fields.ExactJson(default=dict)),
                ('because', models.CharField(max_length=500)),
                ('state', models.CharField(choices=[('draft', 'Draft'), ('submitted', 'Submitted'), ('approved', 'Approved'), ('scheduled', 'Scheduled'), ('applied', 'Applied'), ('rejected', 'Rejected'), ('withdrawn', 'Withdrawn'), ('conflicted', 'Conflicted')], default='draft', max_length=10)),
                ('due_at', models.DateTimeField(blank=True, null=True)),
                ('created_by', models.CharField(max_length=200)),
                ('created_at', models.DateTimeField()),
                ('edited_by', models.CharField(max_length=200)),
                ('edited_at', models.DateTimeField()),
                ('submitted_by', models.CharField(blank=True, max_length=200)),
                ('submitted_at', models.DateTimeField(null=True)),
                ('decided_by', models.CharField(blank=True, max_length=200)),
                ('decided_at', models.DateTimeField(null=True)),
                ('approved_digest', models.CharField(blank=True, max_length=64)),
                ('done_at', models.DateTimeField(null=True)),
                ('version', models.PositiveIntegerField(null=True)),
                ('sentence', models.TextField(blank=True)),
                ('revision', models.PositiveIntegerField(default=1)),
            ],
        ),
        migrations.CreateModel(
            name='FlagVersion',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('key', models.CharField(max_length=512)),
                ('revision', models.PositiveIntegerField()),
                ('version', models.PositiveIntegerField()),
                ('kind', models.CharField(max_length=64)),
                ('fields', apps.flags.models.fields.ExactJson()),
                ('by', models.CharField(max_length=200)),
                ('because', models.CharField(blank=True, max_length=500)),
                ('at', models.DateTimeField()),
            ],
        ),
        migrations.RemoveConstraint(
            model_name='exposure',
            name='one_count_per_flag_variant_snapshot_and_minute',
        ),
        migrations.AddField(
            model_name='exposure',
            name='client',
            field=models.CharField(blank=True, max_length=128),
        ),
        migrations.AddField(
            model_name='flag',
            name='archived_at',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='flag',
            name='expires_on',
            field=models.DateField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='flag',
            name='guards',
            field=apps.flags.models.fields.ExactJson(default=list, editable=False),
        ),
        migrations.AddField(
            model_name='flag',
            name='is_permanent',
            field=models.BooleanField(default=False),
        ),
        migrations.AddField(
            model_name='flag',
            name='owner',
            field=models.CharField(blank=True, max_length=128),
        ),
        migrations.AddField(
            model_name='flag',
            name='prerequisites',
            field=apps.flags.models.fields.ExactJson(default=list),
        ),
        migrations.AddField(
            model_name='flag',
            name='requires',
            field=models.ManyToManyField(editable=False, related_name='required_by', to='flags.flag'),
        ),
        migrations.AddField(
            model_name='flag',
            name='rules',
            field=apps.flags.models.fields.ExactJson(null=True),
        ),
        migrations.AddIndex(
            model_name='exposure',
            index=models.Index(fields=['environment', 'flag', 'minute'], name='exposure_by_flag'),
        ),
        migrations.AddConstraint(
            model_name='exposure',
            constraint=models.UniqueConstraint(fields=('environment', 'flag', 'variant', 'snapshot', 'assigned_by', 'client', 'minute'), name='one_count_per_flag_variant_client_and_minute'),
        ),
        migrations.AddField(
            model_name='audience',
            name='environment',
            field=models.ForeignKey(db_column='environment', on_delete=django.db.models.deletion.CASCADE, related_name='audiences', to='access.environment', to_field='key'),
        ),
        migrations.AddField(
            model_name='flag',
            name='uses',
            field=models.ManyToManyField(editable=False, related_name='flags', to='flags.audience'),
        ),
        migrations.AddField(
            model_name='changerequest',
            name='environment',
            field=models.ForeignKey(db_column='environment', on_delete=django.db.models.deletion.CASCADE, related_name='change_requests', to='access.environment', to_field='key'),
        ),
        migrations.AddField(
            model_name='flagversion',
            name='environment',
            field=models.ForeignKey(db_column='environment', on_delete=django.db.models.deletion.CASCADE, related_name='flag_versions', to='access.environment', to_field='key'),
        ),
        migrations.AddField(
            model_name='flagversion',
            name='flag',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='versions', to='flags.flag'),
        ),
        migrations.AddConstraint(
            model_name='audience',
            constraint=models.UniqueConstraint(fields=('environment', 'key'), name='one_audience_per_environment_and_key'),
        ),
        migrations.AddIndex(
            model_name='changerequest',
            index=models.Index(condition=models.Q(('state', 'scheduled')), fields=['due_at'], name='change_request_by_moment'),
        ),
        migrations.AddIndex(
            model_name='changerequest',
            index=models.Index(fields=['environment', 'state'], name='change_request_by_state'),
        ),
        migrations.AddConstraint(
            model_name='changerequest',
            constraint=models.CheckConstraint(condition=models.Q(('due_at', None), ('state', 'scheduled'), _negated=True), name='scheduled_has_a_moment'),
        ),
        migrations.AddConstraint(
            model_name='changerequest',
            constraint=models.CheckConstraint(condition=models.Q(('state', 'applied'), ('version', None), _negated=True), name='applied_has_a_version'),
        ),
        migrations.AddIndex(
            model_name='flagversion',
            index=models.Index(fields=['environment', 'key'], name='version_by_key'),
        ),
        migrations.AddConstraint(
            model_name='flagversion',
            constraint=models.UniqueConstraint(fields=('flag', 'revision'), name='one_version_per_flag_and_revision'),
        ),
    ]
