"""The reference: `openfeature-flagd-core`, asked in the same words as our evaluator."""

from __future__ import annotations

import copy
import logging
from typing import Any

from openfeature.contrib.tools.flagd.core import FlagdCore
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import OpenFeatureError

logging.getLogger("openfeature.contrib").disabled = True

Told = tuple[Any, str | None, str, str | None]  # value, variant, reason, error code

NO_VALUE = object()


def load(document: dict[str, Any]) -> FlagdCore:
    core = FlagdCore()
    core.set_flags(copy.deepcopy(document))
    return core


def ask(core: FlagdCore, key: str, context: dict[str, Any]) -> Told:
    attributes = {name: value for name, value in context.items() if name != "targetingKey"}
    try:
        found = core._resolve(key, NO_VALUE, EvaluationContext(context.get("targetingKey"), attributes))
    except OpenFeatureError as error:
        return None, None, "ERROR", str(error.error_code.value)
    except Exception:  # what the OpenFeature client makes of any other fault
        return None, None, "ERROR", "GENERAL"
    value = None if found.value is NO_VALUE else found.value
    return value, found.variant, str(found.reason.value), None
