"""What the flag's split becomes when a rollout moves. Weights are ten-thousandths by variant and add up to 10,000."""

from collections.abc import Mapping

from apps.rollouts.domain.stages import WHOLE


def with_share(baseline: str, candidate: str, share: int) -> dict[str, int]:
    """A stage owns the whole split: the candidate's share, and the baseline answers the rest."""
    return {baseline: WHOLE - share, candidate: share}


def without(weights: Mapping[str, int], candidate: str, baseline: str) -> dict[str, int]:
    """The candidate at 0, whatever the weights are by now; what it had goes back to the baseline."""
    left = {variant: weight for variant, weight in weights.items() if variant not in (candidate, baseline)}
    return {baseline: WHOLE - sum(left.values()), candidate: 0, **left}
