"""The rules of an edit, each with what it may be."""

from dataclasses import dataclass, fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

from surefoot.core import SurefootError
from surefoot.weights._files._types import FLOAT_NAMES, FLOATS


@dataclass(frozen=True, kw_only=True)
class EditRules:
    """What holds for every edit and merge.

    The tensors, their order and, unless `dtype` names another (F32 or float32, BF16, F16, F64), their types are the
    base's. A tensor that a tuned checkpoint lacks is an error or stays the base's (`missing`), unless that would untie
    it from its twin, whose values are taken with `tied`. One that the base lacks is an error, left out,
    or kept as it is, whatever the coefficient (`extra`).
    Whole numbers and 8-bit floats must be equal everywhere or are the base's (`integers`). Sums are in 32 or 64 bits
    (`accumulate`). Results that are NaN or infinite are refused or counted (`nonfinite`). `digest` is that of the
    inputs. Raises SurefootError for a value that a rule does not know.
    """

    dtype: str | None = None
    missing: Literal["error", "base", "tied"] = "error"
    extra: Literal["error", "drop", "keep"] = "error"
    integers: Literal["equal", "base"] = "equal"
    accumulate: Literal["float32", "float64"] = "float32"
    nonfinite: Literal["refuse", "flag"] = "refuse"
    digest: Literal["xxh3", "sha256"] = "xxh3"

    def __post_init__(self) -> None:
        for name, choices in _choices().items():
            if getattr(self, name) not in choices:
                known = ", ".join(choices)
                raise SurefootError(f"The rule {name} cannot be {getattr(self, name)!r}: choose one of {known}.")
        dtype = FLOAT_NAMES.get(self.dtype, self.dtype) if isinstance(self.dtype, str) else self.dtype
        if dtype is not None and dtype not in FLOATS:
            raise SurefootError(
                f"The type {dtype!r} cannot be written: choose one of {', '.join((*FLOATS, *FLOAT_NAMES))}."
            )
        object.__setattr__(self, "dtype", dtype)

    @property
    def chosen(self) -> dict[str, Any]:
        """The rules that are not what they are by default, as plain values for a recipe."""
        return {one.name: getattr(self, one.name) for one in fields(self) if getattr(self, one.name) != one.default}


def _choices() -> dict[str, tuple[str, ...]]:
    return {name: get_args(kind) for name, kind in get_type_hints(EditRules).items() if get_origin(kind) is Literal}


DEFAULT_RULES = EditRules()
