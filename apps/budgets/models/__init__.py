"""Guardrails, the evidence of trials, budgets. Environment, route and trial are text: history outlives its subjects."""

from apps.budgets.models.budget import Budget, Oddity
from apps.budgets.models.hold import Hold, HoldPart, Settled
from apps.budgets.models.trial import Guardrail, Look, TrialState

__all__ = ["Budget", "Guardrail", "Hold", "HoldPart", "Look", "Oddity", "Settled", "TrialState"]
