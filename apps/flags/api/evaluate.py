"""/api/v1/evaluate: what a context gets and why, now or in a past snapshot; and what differs between two of them."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.access.endpoint import ApiView
from apps.core.refusals import NotFound
from apps.flags import evaluation, queries, tracing
from apps.flags.api.shapes import MOST_CONTEXTS, AnyObject, Context
from apps.flags.domain import segments
from apps.flags.tracing import Comparison, Ruler, Trace

MOST_VERSION = 2**31 - 1


class EvaluationIn(serializers.Serializer[Any]):
    environment = serializers.CharField(required=False)
    flag = serializers.CharField(max_length=512, help_text="Key of a flag or a route.")
    context = Context(default=dict)  # type: ignore[assignment]  # the metaclass takes it away
    snapshot = serializers.IntegerField(
        required=False, allow_null=True, min_value=0, max_value=MOST_VERSION, help_text="As of that version; else now."
    )


class RuleAskedOut(serializers.Serializer[Any]):
    kind = serializers.CharField(help_text="prerequisite, unit (the split's attribute is there) or rule.")
    name = serializers.CharField()
    words = serializers.CharField(help_text="Its condition in one line.")
    passed = serializers.BooleanField(
        allow_null=True, help_text="Null: not reached, since an earlier one answered; or it stumbled over the data."
    )
    alone = serializers.BooleanField(
        allow_null=True, help_text="Whether it passes by itself, reached or not; null: it stumbled."
    )
    answer = serializers.CharField(help_text="Whom it holds for gets this.")
    missing = serializers.ListField(child=serializers.CharField(), help_text="Attributes that it asks and nobody sent.")
    fault = serializers.CharField()


class SplitPartOut(serializers.Serializer[Any]):
    variant = serializers.CharField()
    begins_at = serializers.FloatField(help_text="In percent of the range.")
    ends_at = serializers.FloatField()


class JoinOut(serializers.Serializer[Any]):
    variant = serializers.CharField()
    share = serializers.FloatField(allow_null=True, help_text="Percent; null: another candidate has this subject.")
    has_it = serializers.BooleanField()


class EvaluatedSplitOut(serializers.Serializer[Any]):
    unit = serializers.CharField(help_text="The attribute that is hashed.")
    subject = serializers.CharField()
    bucket = serializers.IntegerField(help_text="Where the subject lies: 0 to 9,999.")
    parts = SplitPartOut(many=True)
    joins = JoinOut(many=True, help_text="For each other variant, the share from which on this subject gets it.")


class EvaluationOut(serializers.Serializer[Any]):
    environment = serializers.CharField()
    flag = serializers.CharField()
    value = serializers.JSONField(allow_null=True)
    variant = serializers.CharField(allow_null=True)
    reason = serializers.CharField()
    assigned_by = serializers.CharField(allow_null=True)
    error_code = serializers.CharField(allow_null=True)
    error_details = serializers.CharField(allow_null=True)
    metadata = AnyObject()
    version = serializers.IntegerField(help_text="The snapshot that answered.")
    why = serializers.CharField(help_text="The same in one sentence.")
    rules = RuleAskedOut(many=True, help_text="In the order in which they are asked.")
    split = EvaluatedSplitOut(allow_null=True, help_text="Null where no split with fixed shares comes last.")
    no_split = serializers.CharField(help_text="Why there is none, where one would have decided.")


class CompareSnapshotsIn(serializers.Serializer[Any]):
    environment = serializers.CharField(required=False)
    flag = serializers.CharField(max_length=512, required=False, help_text="One flag; else all of both snapshots.")
    before = serializers.IntegerField(min_value=0, max_value=MOST_VERSION, help_text="A version.")
    after = serializers.IntegerField(
        required=False, allow_null=True, min_value=0, max_value=MOST_VERSION, help_text="A version; else the newest."
    )
    contexts = serializers.ListField(child=Context(), min_length=1, max_length=MOST_CONTEXTS)


class MovedContextsOut(serializers.Serializer[Any]):
    flag = serializers.CharField()
    before = serializers.CharField()
    after = serializers.CharField()
    count = serializers.IntegerField()
    example = serializers.CharField(help_text="The targetingKey of one of them, or its place in the list.")


class SnapshotsComparedOut(serializers.Serializer[Any]):
    before = serializers.IntegerField()
    after = serializers.IntegerField()
    contexts = serializers.IntegerField()
    changed = serializers.IntegerField(help_text="Contexts for which at least one flag answers another variant.")
    moved = MovedContextsOut(many=True, help_text="From which variant to which, most first.")
    sentence = serializers.SerializerMethodField()

    def get_sentence(self, found: Comparison) -> str:
        return sentence(found)


class EvaluateView(ApiView):
    @extend_schema(
        request=EvaluationIn, responses=EvaluationOut, summary="Which variant does this context get, and why"
    )
    def post(self, request: Request) -> Response:
        where = self.asked_environment().key
        data = self.read(EvaluationIn)
        found = tracing.trace(where, data["flag"], data["context"], now=self.now, version=data.get("snapshot"))
        if found is None:
            raise NotFound(what="flag", key=data["flag"])
        return Response(dict(EvaluationOut(told(where, found)).data))


class CompareView(ApiView):
    @extend_schema(
        request=CompareSnapshotsIn,
        responses=SnapshotsComparedOut,
        summary="How many of these contexts get something else, and what",
    )
    def post(self, request: Request) -> Response:
        where = self.asked_environment().key
        data = self.read(CompareSnapshotsIn)
        after = data.get("after")
        found = tracing.compare(
            where,
            data["contexts"],
            before=data["before"],
            after=queries.newest_version(where)[0] if after is None else after,
            now=self.now,
            key=data.get("flag", ""),
        )
        return Response(dict(SnapshotsComparedOut(found).data))


def told(environment: str, trace: Trace) -> dict[str, Any]:
    answer = trace.answer
    same = ("value", "variant", "reason", "assigned_by", "error_code", "error_details", "metadata")
    return {name: getattr(answer, name) for name in same} | {
        "environment": environment,
        "flag": trace.flag,
        "version": trace.version,
        "why": evaluation.why(answer),
        "rules": trace.steps,
        "split": split(trace.ruler) if trace.ruler else None,
        "no_split": trace.no_ruler,
    }


def split(ruler: Ruler) -> dict[str, Any]:
    edges = [0, *segments.edges_of(ruler.split)]
    return {
        "unit": ruler.unit,
        "subject": ruler.subject,
        "bucket": ruler.point,
        "parts": [
            {"variant": variant, "begins_at": edges[at] / 100, "ends_at": edges[at + 1] / 100}
            for at, (variant, _) in enumerate(ruler.split)
        ],
        "joins": [
            {"variant": one.variant, "share": None if one.share is None else one.share / 100, "has_it": one.has_it}
            for one in ruler.joins
        ],
    }


def sentence(found: Comparison) -> str:
    if not found.changed:
        return f"Between {found.before} and {found.after} nothing changes for these {found.contexts:,} contexts."
    rows = [f"{row.count:,} from {row.before} to {row.after} ({row.flag})" for row in found.moved[:3]]
    more = f" and {len(found.moved) - 3} more" if len(found.moved) > 3 else ""
    return f"Of {found.contexts:,} contexts {found.changed:,} get something else: {', '.join(rows)}{more}."
