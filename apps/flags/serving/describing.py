"""The raw doors in the words of OpenAPI: Django does not see them, so they are added to the schema that it makes."""

from typing import Any

from apps.flags.serving import events, held, ofrep

Schema = dict[str, Any]
TAG = "flag doors"
SECURITY: list[Schema] = [{"apiKey": []}]
REASONS = ["STATIC", "TARGETING_MATCH", "DEFAULT", "DISABLED"]
ERRORS = list(held.CODES)


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def an_object(properties: Schema, *required: str, more: bool = True, **rest: Any) -> Schema:
    told: Schema = {"type": "object", "properties": properties, "additionalProperties": more, **rest}
    return told | ({"required": list(required)} if required else {})


def of_one(name: str, description: str, *, media: str = "application/json", headers: Schema | None = None) -> Schema:
    told: Schema = {"description": description, "content": {media: {"schema": ref(name)}}}
    return told | ({"headers": headers} if headers else {})


def header(description: str, kind: str = "string") -> Schema:
    return {"schema": {"type": kind}, "description": description}


def query(name: str, description: str, *, required: bool = False) -> Schema:
    return {"name": name, "in": "query", "required": required, "schema": {"type": "string"}, "description": description}


AGE = {
    "X-Snapshot-Age": header(
        "Seconds since the database last confirmed this snapshot; absent while it does.", "integer"
    )
}
TAGGED = {"ETag": header("Of this answer."), **AGE}
RETRY = {"Retry-After": header("Whole seconds.", "integer")}
IF_NONE_MATCH = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
    "description": "The ETag of the answer that the caller has.",
}
SCALAR = {"oneOf": [{"type": "string"}, {"type": "number"}, {"type": "boolean"}]}

SCHEMAS: Schema = {
    "OfrepContext": an_object(
        {
            "context": an_object(
                {"targetingKey": {"type": "string", "nullable": True, "description": "The subject."}},
                description="Attributes of any name. Dates travel as ISO text.",
            )
        }
    ),
    "OfrepFlag": an_object(
        {
            "key": {"type": "string"},
            "value": {"description": "Absent: use the default in your code."},
            "variant": {"type": "string", "description": "Empty where there is none."},
            "reason": {"type": "string", "enum": REASONS},
            "metadata": {
                "type": "object",
                "additionalProperties": SCALAR,
                "description": "The flag's and the set's: version, revision, bucketing, salt; and assigned_by, which is"
                " fallback, rule, split or default.",
            },
        },
        "key",
        "variant",
        "reason",
        "metadata",
        more=False,
    ),
    "OfrepFailure": an_object(
        {
            "key": {"type": "string"},
            "errorCode": {"type": "string", "enum": ERRORS},
            "errorDetails": {"type": "string"},
        },
        "key",
        "errorCode",
        "errorDetails",
        more=False,
    ),
    "OfrepFlags": an_object(
        {
            "flags": {"type": "array", "items": {"oneOf": [ref("OfrepFlag"), ref("OfrepFailure")]}},
            "metadata": {"type": "object", "additionalProperties": SCALAR},
            "eventStreams": {
                "type": "array",
                "items": an_object(
                    {
                        "type": {"type": "string", "enum": ["sse"]},
                        "endpoint": an_object({"requestUri": {"type": "string"}}, "requestUri", more=False),
                        "inactivityDelaySec": {"type": "integer"},
                    },
                    "type",
                    "endpoint",
                    more=False,
                ),
            },
        },
        "flags",
        "metadata",
        "eventStreams",
        more=False,
    ),
    "OfrepBulkFailure": an_object(
        {"errorCode": {"type": "string", "enum": ERRORS}, "errorDetails": {"type": "string"}},
        "errorCode",
        "errorDetails",
        more=False,
    ),
    "OfrepProblem": an_object({"errorDetails": {"type": "string"}}, "errorDetails", more=False),
    "FlagdDefinition": an_object(
        {
            "$schema": {"type": "string"},
            "flags": {"type": "object", "additionalProperties": {"type": "object"}},
            "metadata": {"type": "object"},
        },
        "flags",
    ),
    "Problem": an_object(
        {
            "type": {"type": "string"},
            "status": {"type": "integer"},
            "code": {"type": "string"},
            "detail": {"type": "string"},
        },
        "status",
        "code",
        "detail",
    ),
}

OFREP_REFUSALS: Schema = {
    "401": of_one("OfrepProblem", "The key is missing, unknown, expired or revoked."),
    "403": of_one("OfrepProblem", "The key has no scope flags:read."),
    "413": of_one("OfrepProblem", f"The body is over {ofrep.BODY_BYTES:,} bytes."),
    "429": of_one("OfrepProblem", "This key asks more often than it may.", headers=RETRY),
    "503": of_one("OfrepProblem", "Neither the database nor the disk has a snapshot yet.", headers=RETRY),
}
REFUSALS: Schema = {
    status: of_one("Problem", one["description"], media="application/problem+json")
    for status, one in OFREP_REFUSALS.items()
    if status != "413"
}
STREAM: Schema = {"text/event-stream": {"schema": {"type": "string"}}}
CONTEXT: Schema = {"content": {"application/json": {"schema": ref("OfrepContext")}}, "required": False}


def operation(name: str, summary: str, responses: Schema, *parameters: Schema, **more: Any) -> Schema:
    return {
        "operationId": name,
        "summary": summary,
        "tags": [TAG],
        "security": SECURITY,
        "parameters": list(parameters),
        "responses": responses,
        **more,
    }


PATHS: Schema = {
    ofrep.ONE + "{key}": {
        "post": operation(
            "ofrep_evaluate",
            "OFREP: one flag",
            {
                "200": of_one("OfrepFlag", "Evaluated.", headers=AGE),
                "400": of_one("OfrepFailure", "The context cannot be read, or the flag's rule fails."),
                "404": of_one("OfrepFailure", "There is no such flag."),
                **OFREP_REFUSALS,
            },
            {"name": "key", "in": "path", "required": True, "schema": {"type": "string"}},
            requestBody=CONTEXT,
        )
    },
    ofrep.BULK: {
        "post": operation(
            "ofrep_evaluate_all",
            "OFREP: all flags",
            {
                "200": of_one(
                    "OfrepFlags", "Evaluated; a flag that fails is a failure among the others.", headers=TAGGED
                ),
                "304": {"description": "The caller has this answer.", "headers": TAGGED},
                "400": of_one("OfrepBulkFailure", "The context cannot be read."),
                **OFREP_REFUSALS,
            },
            IF_NONE_MATCH,
            query("flagConfigEtag", "The version that an event named: it is looked for before the answer."),
            query("flagConfigLastModified", "When that was; not needed."),
            requestBody=CONTEXT,
        )
    },
    events.PATH: {
        "get": operation(
            "ofrep_events",
            "OFREP: the event stream of a bulk answer",
            {
                "200": {"description": "`refetchEvaluation` at each new version.", "content": STREAM},
                **{status: REFUSALS[status] for status in ("401", "429", "503")},
            },
            query("token", "As the bulk answer gave it; it holds for half an hour at most.", required=True),
            security=[],
        )
    },
    "/flagd/flags.json": {
        "get": operation(
            "flagd_flags",
            "flagd: the whole definition",
            {
                "200": of_one("FlagdDefinition", "The newest snapshot.", headers=TAGGED),
                "304": {"description": "The caller has this version.", "headers": TAGGED},
                **REFUSALS,
            },
            IF_NONE_MATCH,
        )
    },
    "/api/v1/changes": {
        "get": operation(
            "changes",
            "The change stream: each version as it is published",
            {"200": {"description": "Server-sent events.", "content": STREAM}, **REFUSALS},
            {
                "name": "Last-Event-ID",
                "in": "header",
                "required": False,
                "schema": {"type": "string"},
                "description": "The version that the reader has: it gets the union of what changed since.",
            },
        )
    },
}


def add_doors(result: Schema, **_: Any) -> Schema:
    """For drf-spectacular, after its own paths."""
    result["paths"] = dict(sorted({**result["paths"], **PATHS}.items()))
    schemas = result.setdefault("components", {}).setdefault("schemas", {})
    result["components"]["schemas"] = dict(sorted({**schemas, **SCHEMAS}.items()))
    return result
