"""Files of the user, known by their contents: their digest as they are now, and whether they changed since."""

from typing import Protocol, Self

from surefoot.core._errors import SurefootError


class Pinned(Protocol):
    """A Step that reads files of the user: `digest` is in its key, where they lie (`unkeyed`) is not.

    A user writes `ImageFolder(path="pets").pinned()`; a store that is copied to another place then still answers.
    """

    @property
    def digest(self) -> str:
        """What the files hold, in hexadecimal digits; empty before `pinned`."""
        ...

    def pinned(self) -> Self:
        """The same Step with whole paths and the digest of the files as they are now. Raises for unreadable ones."""
        ...


def check_pinned(step: Pinned) -> None:
    """Raise when the files of a Step are not those that its digest was taken of, or none was taken."""
    name = type(step).__name__
    if not step.digest:
        raise SurefootError(f"{name} has no digest of its files: write {name}(...).pinned().")
    if step.pinned().digest != step.digest:
        raise SurefootError(
            f"The files of {name} have changed since their digest was taken: describe it anew with .pinned(). "
            f"It is {step!r:.200}."
        )
