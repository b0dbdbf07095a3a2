"""One flag, a thousand contexts, every evaluator that installs from PyPI: processor time per call, as JSON.

    var/bench-venv/bin/python bench/peers/local.py [--rounds 3]

Runs in an environment of its own (`requirements.txt` beside this file), with our SDK's folder on the path. Nothing is
fetched and nothing is sent: each peer is given the flag in its own words, as its bootstrap, offline file or test data.

The flag: enterprise plans and three countries get the baseline, our own people the candidate, everybody else is split
9 to 1 by their key. Seven contexts in ten reach the split. What the three rules answer must be the same everywhere;
of the others, one in ten must get the candidate, each peer's own hash deciding whom.
"""

from __future__ import annotations

import argparse
import http.server
import json
import logging
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "sdk"))
sys.path = [place for place in sys.path if place != str(Path(__file__).resolve().parent)]

KEY, BASE, CANDIDATE = "invoice-extraction", "gpt-4.1", "flash-lite"
COUNTRIES = ["DE", "AT", "CH"]
OURS = "@example.com"
CONTEXTS = 1000
CPU_SECONDS = 0.02  # one round of one peer
ROUNDS = 5  # in each of its processes

Context = dict[str, Any]
Ask = Callable[[Any], Any]
Made = tuple[Callable[[Context], Any], Ask, Callable[[Any], str]]  # prepare a context, ask, read the variant's name


def contexts(draw: random.Random) -> list[Context]:
    made = []
    for number in range(CONTEXTS):
        kind = number % 10
        made.append(
            {
                "targetingKey": str(uuid.UUID(int=draw.getrandbits(128), version=4)),
                "plan": "enterprise" if kind == 0 else draw.choice(["free", "team"]),
                "country": draw.choice(COUNTRIES) if kind == 1 else draw.choice(["FR", "US", "JP"]),
                "email": f"someone-{number}{OURS if kind == 2 else '@mail.test'}",
            }
        )
    return made


def by_rule(context: Context) -> str | None:
    if context["plan"] == "enterprise" or context["country"] in COUNTRIES:
        return BASE
    return CANDIDATE if context["email"].endswith(OURS) else None


RULE = {
    "if": [
        {"==": [{"var": "plan"}, "enterprise"]},
        BASE,
        {"in": [{"var": "country"}, COUNTRIES]},
        BASE,
        {"ends_with": [{"var": "email"}, OURS]},
        CANDIDATE,
        {"fractional": [[CANDIDATE, 10], [BASE, 90]]},
    ]
}
FLAGD = {
    "flags": {
        KEY: {
            "state": "ENABLED",
            "variants": {BASE: {"model": "openai/gpt-4.1"}, CANDIDATE: {"model": "google/gemini-2.5-flash-lite"}},
            "defaultVariant": BASE,
            "targeting": RULE,
        }
    }
}


def same(context: Context) -> Context:
    return context


def attributes(context: Context) -> Context:
    return {name: value for name, value in context.items() if name != "targetingKey"}


# --- ours ---------------------------------------------------------------------------------------------------------


def changeover() -> Made:
    from changeover import Snapshot

    snapshot = Snapshot.from_flagd(FLAGD)
    return same, lambda context: snapshot.evaluate(KEY, context), lambda answer: answer.variant


def changeover_without_mmh3() -> Made:
    with hidden("mmh3"):
        return changeover()


@contextmanager
def hidden(module: str) -> Iterator[None]:
    """As if it were not installed: our modules are read anew, and forgotten again."""
    mine = {name for name in sys.modules if name.partition(".")[0] == "changeover"}
    kept = {name: sys.modules.pop(name) for name in mine}
    was, sys.modules[module] = sys.modules.get(module), None  # type: ignore[assignment]  # None: it cannot be imported
    try:
        yield
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "changeover"]:
            del sys.modules[name]
        sys.modules.update(kept)
        del sys.modules[module]
        if was is not None:
            sys.modules[module] = was


def serving(body: bytes) -> str:
    """The address of the one document, on loopback, for as long as this process lives."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"


# --- peers --------------------------------------------------------------------------------------------------------


def flagd_core() -> Made:
    from openfeature.contrib.tools.flagd.core import FlagdCore
    from openfeature.evaluation_context import EvaluationContext

    core = FlagdCore()
    core.set_flags(json.loads(json.dumps(FLAGD)))
    return (
        lambda context: EvaluationContext(context["targetingKey"], attributes(context)),
        lambda context: core.resolve_object_value(KEY, {}, context),
        lambda answer: answer.variant,
    )


def datalogic() -> Made:
    """The engine alone: it knows rules, not flags. From a Python dictionary, as the others."""
    from datalogic_py import Engine

    rule = Engine().compile(datalogic_rule())
    return (
        lambda context: {**context, "$flagd": {"flagKey": KEY}},
        rule.evaluate,
        str,
    )


def datalogic_parsed() -> Made:
    """The same on contexts parsed into its own form beforehand, which no request's context is."""
    from datalogic_py import DataHandle, Engine

    engine = Engine()
    rule, session = engine.compile(datalogic_rule()), engine.session()
    evaluate = session.evaluate_data_str
    return (
        lambda context: DataHandle(json.dumps({**context, "$flagd": {"flagKey": KEY}})),
        lambda handle: evaluate(rule, handle),
        json.loads,
    )


def datalogic_rule() -> Any:
    return json.dumps(RULE)


def growthbook() -> Made:
    """One `GrowthBook` object, told the attributes of each request."""
    from growthbook import GrowthBook

    features = {
        KEY: {
            "defaultValue": BASE,
            "rules": [
                {"condition": {"plan": "enterprise"}, "force": BASE},
                {"condition": {"country": {"$in": COUNTRIES}}, "force": BASE},
                {"condition": {"email": {"$regex": OURS.replace(".", r"\.") + "$"}}, "force": CANDIDATE},
                {"variations": [BASE, CANDIDATE], "weights": [0.9, 0.1], "hashAttribute": "id", "key": KEY},
            ],
        }
    }
    book = GrowthBook(features=features)

    def ask(told: Context) -> Any:
        book.set_attributes(told)
        return book.eval_feature(KEY)

    return lambda context: {"id": context["targetingKey"], **attributes(context)}, ask, lambda answer: answer.value


def launchdarkly() -> Made:
    import ldclient
    from ldclient.impl.integrations.test_data.test_data_source import _TestDataSource  # noqa: F401 - same door
    from ldclient.interfaces import UpdateProcessor
    from ldclient.versioned_data_kind import FEATURES, SEGMENTS

    def clause(attribute: str, op: str, values: list[str]) -> dict[str, Any]:
        return {"attribute": attribute, "op": op, "values": values, "contextKind": "user", "negate": False}

    flag = {
        "key": KEY, "version": 1, "on": True, "salt": "salt", "variations": [BASE, CANDIDATE], "offVariation": 0,
        "prerequisites": [], "targets": [], "deleted": False, "trackEvents": False,
        "rules": [
            {"id": "1", "variation": 0, "clauses": [clause("plan", "in", ["enterprise"])]},
            {"id": "2", "variation": 0, "clauses": [clause("country", "in", COUNTRIES)]},
            {"id": "3", "variation": 1, "clauses": [clause("email", "endsWith", [OURS])]},
        ],
        "fallthrough": {
            "rollout": {
                "contextKind": "user",
                "variations": [{"variation": 0, "weight": 90000}, {"variation": 1, "weight": 10000}],
            }
        },
    }  # fmt: skip

    class Given(UpdateProcessor):  # type: ignore[misc]  # its package has no types
        def __init__(self, config: Any, store: Any, ready: Any) -> None:
            self.store, self.ready = store, ready

        def start(self) -> None:
            self.store.init({FEATURES: {KEY: FEATURES.decode(flag)}, SEGMENTS: {}})
            self.ready.set()

        def stop(self) -> None:
            pass

        def initialized(self) -> bool:
            return True

    client = ldclient.LDClient(ldclient.Config("sdk-key", update_processor_class=Given, send_events=False))

    def prepare(context: Context) -> Any:
        builder = ldclient.Context.builder(context["targetingKey"])
        for name, value in attributes(context).items():
            builder.set(name, value)
        return builder.build()

    return prepare, lambda context: client.variation(KEY, context, "none"), str


def posthog() -> Made:
    from posthog import Posthog

    def group(operator: str, key: str, value: Any, variant: str | None) -> dict[str, Any]:
        properties = [{"key": key, "type": "person", "value": value, "operator": operator}]
        return {"properties": properties, "rollout_percentage": 100, "variant": variant}

    client = Posthog(
        "key", personal_api_key=None, host="http://127.0.0.1:9", sync_mode=True, send=False, disabled=False
    )
    client.feature_flags = [
        {
            "id": 1, "key": KEY, "active": True, "name": "",
            "filters": {
                "groups": [
                    group("exact", "plan", ["enterprise"], BASE),
                    group("exact", "country", COUNTRIES, BASE),
                    group("regex", "email", OURS.replace(".", r"\.") + "$", CANDIDATE),
                    {"properties": [], "rollout_percentage": 100},
                ],
                "multivariate": {
                    "variants": [
                        {"key": CANDIDATE, "rollout_percentage": 10},
                        {"key": BASE, "rollout_percentage": 90},
                    ]
                },
            },
        }
    ]  # fmt: skip

    def ask(told: tuple[str, Context]) -> Any:
        return client.get_feature_flag(
            KEY, told[0], person_properties=told[1], only_evaluate_locally=True, send_feature_flag_events=False
        )

    return lambda context: (context["targetingKey"], attributes(context)), ask, str


def flagsmith() -> Made:
    from flagsmith import Flagsmith
    from flagsmith.offline_handlers import LocalFileHandler

    feature = {"id": 1, "name": KEY, "type": "MULTIVARIATE"}

    def state(number: int, value: str, more: dict[str, Any]) -> dict[str, Any]:
        return {
            "enabled": True, "feature": feature, "feature_state_value": value, "featurestate_uuid": str(number),
            "multivariate_feature_state_values": [], **more,
        }  # fmt: skip

    def segment(number: int, operator: str, attribute: str, value: str, answer: str) -> dict[str, Any]:
        condition = {"operator": operator, "property_": attribute, "value": value}
        any_of = {"type": "ANY", "conditions": [condition], "rules": []}
        return {
            "id": number,
            "name": f"segment-{number}",
            "rules": [{"type": "ALL", "conditions": [], "rules": [any_of]}],
            "feature_states": [state(number, answer, {"feature_segment": {"priority": number}})],
        }

    split = {
        "id": 1, "mv_fs_value_uuid": "1", "percentage_allocation": 10.0,
        "multivariate_feature_option": {"id": 1, "value": CANDIDATE},
    }  # fmt: skip
    document = {
        "api_key": "key", "name": "production", "id": 1, "identity_overrides": [],
        "updated_at": "2026-11-24T03:00:00Z",
        "feature_states": [state(9, BASE, {"multivariate_feature_state_values": [split]})],
        "project": {
            "id": 1, "name": "p", "segments": [
                segment(1, "EQUAL", "plan", "enterprise", BASE),
                segment(2, "IN", "country", ",".join(COUNTRIES), BASE),
                segment(3, "REGEX", "email", ".*" + OURS.replace(".", r"\.") + "$", CANDIDATE),
            ],
        },
    }  # fmt: skip
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(document, file)
        file.flush()
        client = Flagsmith(offline_mode=True, offline_handler=LocalFileHandler(file.name))

    def ask(told: tuple[str, Context]) -> Any:
        return client.get_identity_flags(told[0], told[1]).get_feature_value(KEY)

    return lambda context: (context["targetingKey"], attributes(context)), ask, str


def unleash_state() -> dict[str, Any]:
    def strategy(
        attribute: str, operator: str, values: list[str], answer: str, weights: dict[str, int] | None = None
    ) -> dict[str, Any]:
        constraints = [{"contextName": attribute, "operator": operator, "values": values}] if attribute else []
        variants = [
            {"name": name, "weight": weight, "stickiness": "userId", "payload": {"type": "string", "value": name}}
            for name, weight in (weights or {answer: 1000}).items()
        ]
        parameters = {"rollout": "100", "stickiness": "userId", "groupId": KEY}
        return {"name": "flexibleRollout", "parameters": parameters, "constraints": constraints, "variants": variants}

    return {
        "version": 2,
        "features": [
            {
                "name": KEY, "type": "release", "enabled": True, "variants": [],
                "strategies": [
                    strategy("plan", "IN", ["enterprise"], BASE),
                    strategy("country", "IN", COUNTRIES, BASE),
                    strategy("email", "STR_ENDS_WITH", [OURS], CANDIDATE),
                    strategy("", "", [], "", {CANDIDATE: 100, BASE: 900}),
                ],
            }
        ],
    }  # fmt: skip


def unleash_context(context: Context) -> Context:
    return {"userId": context["targetingKey"], "properties": attributes(context)}


def unleash() -> Made:
    from UnleashClient import UnleashClient
    from UnleashClient.cache import FileCache

    folder = tempfile.mkdtemp(prefix="changeover-bench-")
    cache = FileCache("bench", directory=folder)
    cache.bootstrap_from_dict(unleash_state())
    client = UnleashClient(
        url="http://127.0.0.1:9/api", app_name="bench", cache=cache, disable_metrics=True, disable_registration=True,
        cache_directory=folder, verbose_log_level=0,
    )  # fmt: skip
    client.initialize_client(fetch_toggles=False)
    return unleash_context, lambda context: client.get_variant(KEY, context), lambda answer: answer["name"]


def yggdrasil() -> Made:
    """The engine that UnleashClient calls, alone."""
    from yggdrasil_engine.engine import UnleashEngine

    engine = UnleashEngine()
    engine.take_state(json.dumps(unleash_state()))
    return (
        unleash_context,
        lambda context: engine.get_variant(KEY, context),
        lambda answer: answer.variant.name,
    )


def flipt() -> Made:
    from flipt_client import FliptClient
    from flipt_client.models import ClientOptions

    def rule(rank: int, constraints: list[dict[str, Any]], shares: dict[str, int]) -> dict[str, Any]:
        segment = {"key": f"s{rank}", "matchType": "ALL_SEGMENT_MATCH_TYPE", "constraints": constraints}
        distributions = [
            {"ruleId": f"r{rank}", "variantKey": name, "variantAttachment": "", "rollout": share}
            for name, share in shares.items()
        ]
        return {
            "rank": rank,
            "segments": [segment],
            "segmentOperator": "OR_SEGMENT_OPERATOR",
            "distributions": distributions,
        }

    def text(attribute: str, operator: str, value: str) -> dict[str, Any]:
        kind = "STRING_CONSTRAINT_COMPARISON_TYPE"
        return {"type": kind, "property": attribute, "operator": operator, "value": value}

    document = {
        "namespace": {"key": "default"},
        "flags": [
            {
                "key": KEY, "name": KEY, "type": "VARIANT_FLAG_TYPE", "enabled": True, "rollouts": [],
                "rules": [
                    rule(1, [text("plan", "eq", "enterprise")], {BASE: 100}),
                    rule(2, [text("country", "isoneof", json.dumps(COUNTRIES))], {BASE: 100}),
                    rule(3, [text("email", "suffix", OURS)], {CANDIDATE: 100}),
                    rule(4, [], {CANDIDATE: 10, BASE: 90}),
                ],
            }
        ],
    }  # fmt: skip
    url = serving(json.dumps(document).encode())  # the way in that takes a document
    client = FliptClient(ClientOptions(url=url, update_interval=3600, request_timeout=5))

    def ask(told: tuple[str, Context]) -> Any:
        return client.evaluate_variant(KEY, told[0], told[1])

    return lambda context: (context["targetingKey"], attributes(context)), ask, lambda answer: answer.variant_key


def statsig() -> Made:
    import statsig_python_core as core

    def rule(number: int, conditions: list[str], answer: str, share: int) -> dict[str, Any]:
        return {
            "name": f"rule-{number}", "id": f"rule-{number}", "salt": f"salt-{number}", "passPercentage": share,
            "conditions": conditions, "returnValue": {"variant": answer}, "idType": "userID", "groupName": answer,
        }  # fmt: skip

    def condition(field: str, operator: str, target: list[str]) -> dict[str, Any]:
        return {
            "type": "user_field", "field": field, "operator": operator, "targetValue": target, "additionalValues": {},
            "idType": "userID",
        }  # fmt: skip

    public = {"type": "public", "targetValue": None, "operator": None, "field": None, "additionalValues": {}}
    now = int(time.time() * 1000)
    specs = {
        "has_updates": True, "time": now, "company_id": "c", "response_format": "dcs-v2", "checksum": "1",
        "feature_gates": {}, "layer_configs": {}, "layers": {}, "param_stores": {}, "id_lists": {},
        "sdk_configs": {}, "sdk_flags": {}, "diagnostics": {}, "experiment_to_layer": {}, "app_id": "a",
        "condition_map": {
            "1": condition("plan", "any", ["enterprise"]),
            "2": condition("country", "any", COUNTRIES),
            "3": condition("email", "str_ends_with_any", [OURS]),
            "4": public | {"idType": "userID"},
        },
        "dynamic_configs": {
            KEY: {
                "type": "dynamic_config", "salt": "salt", "enabled": True, "defaultValue": {"variant": BASE},
                "idType": "userID", "entity": "dynamic_config", "version": 1, "explicitParameters": [],
                "rules": [
                    rule(1, ["1"], BASE, 100), rule(2, ["2"], BASE, 100), rule(3, ["3"], CANDIDATE, 100),
                    rule(4, ["4"], CANDIDATE, 10),
                ],
            }
        },
    }  # fmt: skip

    class Given(core.DataStore):  # type: ignore[misc]  # its package has no types
        def get(self, key: str) -> Any:
            return core.DataStoreResponse(result=json.dumps(specs), time=now)

    options = core.StatsigOptions(
        disable_network=True, disable_all_logging=True, data_store=Given(), disable_country_lookup=True,
        wait_for_country_lookup_init=False, wait_for_user_agent_init=False, output_log_level="none",
    )  # fmt: skip
    client = core.Statsig("secret-key", options)
    client.initialize().wait()
    silent = core.DynamicConfigEvaluationOptions(disable_exposure_logging=True)

    def prepare(context: Context) -> Any:
        rest = {name: context[name] for name in ("plan",)}
        return core.StatsigUser(
            context["targetingKey"], email=context["email"], country=context["country"], custom=rest
        )

    return (
        prepare,
        lambda user: client.get_dynamic_config(user, KEY, silent),
        lambda answer: answer.value.get("variant", BASE),
    )


# name: (how it is made, the package whose version is told)
PEERS: dict[str, tuple[Callable[[], Made], str]] = {
    "changeover": (changeover, ""),
    "changeover, no mmh3": (changeover_without_mmh3, ""),
    "flagd-core": (flagd_core, "openfeature-flagd-core"),
    "datalogic-py": (datalogic, "datalogic-py"),
    "datalogic-py, parsed before": (datalogic_parsed, "datalogic-py"),
    "statsig": (statsig, "statsig-python-core"),
    "flipt": (flipt, "flipt-client"),
    "growthbook": (growthbook, "growthbook"),
    "launchdarkly": (launchdarkly, "launchdarkly-server-sdk"),
    "posthog": (posthog, "posthog"),
    "flagsmith": (flagsmith, "flagsmith"),
    "unleash": (unleash, "UnleashClient"),
    "yggdrasil": (yggdrasil, "yggdrasil-engine"),
}


def check(told: list[Context], answers: list[str]) -> None:
    split = []
    for context, answer in zip(told, answers, strict=True):
        wanted = by_rule(context)
        if wanted is None:
            split.append(answer)
        elif answer != wanted:
            raise AssertionError(f"a rule answers {answer!r} where {wanted!r} was meant: {context}")
    share = split.count(CANDIDATE) / len(split)
    if set(split) != {BASE, CANDIDATE} or not 0.06 < share < 0.14:
        raise AssertionError(f"the split answers {sorted(set(split))}, {share:.1%} the candidate")


def per_call(ask: Ask, prepared: list[Any]) -> float:
    """Processor time of this thread, in µs: other processes and threads cost nothing."""
    calls, began = 0, time.thread_time()
    while (spent := time.thread_time() - began) < CPU_SECONDS:
        for context in prepared:
            ask(context)
        calls += len(prepared)
    return spent / calls * 1e6


def measure(name: str, rounds: int) -> dict[str, Any]:
    """One peer, in this process."""
    make, package = PEERS[name]
    told = contexts(random.Random(20261124))
    prepare, ask, read = make()
    prepared = [prepare(context) for context in told]
    check(told, [read(ask(one)) for one in prepared])
    best = min(per_call(ask, prepared) for _ in range(rounds))
    return {"µs": best, "version": version(package) if package else ""}


def measure_apart(name: str) -> dict[str, Any]:
    """One peer, in a process of its own: their threads and their native parts do not get on with each other."""
    command = [sys.executable, "-W", "ignore", __file__, "--inside", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1][:300])
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    reading = argparse.ArgumentParser()
    reading.add_argument("--rounds", type=int, default=3)
    reading.add_argument("--inside", choices=list(PEERS))
    reading.add_argument("peers", nargs="*", default=list(PEERS))
    asked = reading.parse_args()
    logging.disable(logging.CRITICAL)
    if asked.inside:
        print(json.dumps(measure(asked.inside, ROUNDS)), flush=True)
        os._exit(0)  # peers' threads would hold us up
    best: dict[str, float] = {}
    versions: dict[str, str] = {}
    left_out: dict[str, str] = {}
    for _ in range(asked.rounds):  # in turn, so that a slow moment of the machine meets all of them
        for name in asked.peers:
            if name in left_out:
                continue
            try:
                found = measure_apart(name)
            except (RuntimeError, subprocess.TimeoutExpired) as fault:
                left_out[name] = str(fault)
                best.pop(name, None)
                continue
            best[name] = min(best.get(name, found["µs"]), found["µs"])
            if found["version"]:
                versions[name] = found["version"]
    print(json.dumps({"µs": best, "versions": versions, "left_out": left_out}))


if __name__ == "__main__":
    main()
