"""What requests cost: before they are asked (a dry run), and after."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf

from surefoot.core import SurefootError
from surefoot.language._clients._client import Client
from surefoot.language._clients._protocol import Completion, LanguageClient, Request, estimated_tokens


@dataclass(frozen=True, kw_only=True)
class Prices:
    """What a million tokens cost, in one currency: of prompts, and of completions."""

    prompt: float
    completion: float

    def __post_init__(self) -> None:
        if not (0 <= self.prompt < inf and 0 <= self.completion < inf):
            raise SurefootError(f"The prices {self.prompt:g} and {self.completion:g} must be finite, and at least 0.")

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        """What so many tokens cost."""
        return (self.prompt * prompt_tokens + self.completion * completion_tokens) / 1e6


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What answers took, or may take: tokens and cost of those `asked` now, and how many came from the cache.

    `estimated` says that a server gave no counts of its own; `cut` counts answers that ended at the limit of tokens,
    `errors` those refused; `builds` are what the servers said of themselves: more than one build answered where there
    are several, and they may answer differently.
    """

    requests: int
    cached: int
    prompt_tokens: int
    completion_tokens: int
    estimated: bool
    cost: float | None
    errors: int = 0
    cut: int = 0
    builds: tuple[str, ...] = ()

    @property
    def asked(self) -> int:
        """How many did not come from the cache."""
        return self.requests - self.cached


def count_requests(client: LanguageClient, requests: Sequence[Request], prices: Prices | None = None) -> Usage:
    """A dry run: what `client.answer(requests)` would ask. Nothing is asked; equal requests count once.

    Tokens of prompts are estimated from their characters; those of answers, and the cost, are the most that can be.
    """
    different = list(dict.fromkeys(requests))
    left = client.missing(different) if isinstance(client, Client) else different
    prompts = sum(estimated_tokens(request.text) for request in left)
    longest = sum(request.max_tokens for request in left)
    return Usage(
        requests=len(different),
        cached=len(different) - len(left),
        prompt_tokens=prompts,
        completion_tokens=longest,
        estimated=True,
        cost=prices.cost(prompts, longest) if prices else None,
    )


def usage(completions: Iterable[Completion], prices: Prices | None = None) -> Usage:
    """Tokens, cost and what else a table of answers should say of them."""
    every = list(completions)
    asked = [one for one in every if not one.cached]
    prompts, given = (sum(getattr(one, name) for one in asked) for name in ("prompt_tokens", "completion_tokens"))
    return Usage(
        requests=len(every),
        cached=len(every) - len(asked),
        errors=sum(one.finish == "error" for one in every),
        cut=sum(one.finish == "length" for one in every),
        prompt_tokens=prompts,
        completion_tokens=given,
        estimated=any(one.estimated for one in asked),
        cost=prices.cost(prompts, given) if prices else None,
        builds=tuple(sorted({one.build for one in every} - {""})),
    )
