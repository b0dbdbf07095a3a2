"""After the database was restored from a backup: what it has becomes the newest version, beyond any that was served.

Processes and clients never step back to an older version, so that they would go on with what is lost for ever.
"""

from datetime import datetime

from django.db import transaction

from apps.core.actors import Actor
from apps.flags import publishing
from apps.flags.models import Flag
from apps.flags.publishing import Published

KIND = "environment.republished"


@transaction.atomic
def republish(*, environment: str, above: int, by: Actor, because: str, now: datetime) -> Published:
    """Publishes every flag of the environment anew, in a version greater than `above`: who waits for a lost version
    is answered. Splits begin anew, since requests counted since the backup were divided otherwise."""
    publishing.lock(environment).skip_to(above)
    change = publishing.begin(environment, by=by, because=because, now=now)
    for flag in Flag.objects.select_for_update(of=("self",)).with_route().of(environment).served().order_by("key"):
        change.set(flag)
    publishing.write_snapshot(change, KIND, urgent=True)
    return change.record(KIND, {})
