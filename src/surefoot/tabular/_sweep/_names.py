"""What comparisons call their measurements: written by the sweep, and asked for by studies, by these names alone."""

LOST_BY_CVAR, NEAR_BEST, LEARNED = "lost by choosing CVaR", "share near the best", "share that learned"


def family_party(family: str) -> str:
    """The `group` of what the best of a family of learners reaches."""
    return f"family: {family}"


def pair_of(first: str, other: str) -> str:
    """The `group` of a difference between two families or learners: the first less the other."""
    return f"{first} - {other}"


def difference_in(metric: str) -> str:
    """The `metric` of a difference in a metric."""
    return f"difference in {metric}"
