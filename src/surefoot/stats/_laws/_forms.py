"""The forms of laws: error as a sum of non-negative coefficients times positive columns with few exponents.

Every form is E(x) = sum_j c_j * phi_j(x; theta) with c_j >= 0, so that for fixed theta the best coefficients are
a linear problem. Inputs enter as natural logarithms less a centre, so that no form is badly scaled.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from surefoot.core import SurefootError

Floats = NDArray[np.float64]
Basis = Callable[[Floats, Floats], tuple[Floats, Floats]]

LARGEST_EXPONENT = 6.0


@dataclass(frozen=True, kw_only=True)
class Form:
    """A form of law.

    `basis(z, theta)` takes centred logs (n, variables) and a batch of exponents (B, q) and gives the logs of the
    columns (B, n, k) and their derivatives in theta (B, n, k, q). `grid(z)` gives starting exponents (G, q).
    `degrees(theta)` (B, k, variables) says how a column scales with each variable; `locations` pairs an entry of
    theta that is the log of a place on an axis with its variable; variables of one `units` entry share a centre.
    `bounds` are (low, high) of each entry of theta; `logs` names entries that are logs of what is reported. `signs` are
    those of the coefficients (all 1 if empty); with `either_sign` the first may have any, and a fit tries both.
    `floor` is added to the columns: a floor that was fixed.
    """

    name: str
    formula: str
    variables: tuple[str, ...]
    units: tuple[int, ...]
    exponents: tuple[str, ...]
    coefficients: tuple[str, ...]
    basis: Basis
    grid: Callable[[Floats], Floats]
    degrees: Callable[[Floats], Floats]
    bounds: tuple[tuple[float, float], ...]
    locations: tuple[tuple[int, int], ...] = ()
    logs: tuple[int, ...] = ()
    signs: tuple[int, ...] = ()
    either_sign: bool = False
    floor: float = 0.0

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of all parameters: exponents, then coefficients."""
        return self.exponents + self.coefficients


def _column(z: Floats, exponent: Floats) -> tuple[Floats, Floats]:
    """Log of x^-b and its derivative in b, both (B, n)."""
    log_phi = -exponent[:, None] * z[None, :]
    return log_phi, np.broadcast_to(-z, log_phi.shape)


def _stack(
    shape: tuple[int, int], columns: list[tuple[Floats, dict[int, Floats]] | None], q: int
) -> tuple[Floats, Floats]:
    """Columns (log, derivatives by entry of theta; None is the constant) as one array each."""
    log_phi = np.zeros((*shape, len(columns)))
    slope = np.zeros((*shape, len(columns), q))
    for j, column in enumerate(columns):
        if column is not None:
            log_phi[..., j] = column[0]
            for entry, derivative in column[1].items():
                slope[..., j, entry] = derivative
    return log_phi, slope


def _additive(columns: tuple[int | None, ...]) -> Basis:
    """Columns x_v^-theta_j for each variable named (None: the constant)."""
    powers = [v for v in columns if v is not None]

    def basis(z: Floats, theta: Floats) -> tuple[Floats, Floats]:
        parts: list[tuple[Floats, dict[int, Floats]] | None] = []
        for v in columns:
            if v is None:
                parts.append(None)
            else:
                entry = powers.index(v)
                value, slope = _column(z[:, v], theta[:, entry])
                parts.append((value, {entry: slope}))
        return _stack((len(theta), len(z)), parts, len(powers))

    return basis


def _additive_degrees(columns: tuple[int | None, ...]) -> Callable[[Floats], Floats]:
    powers = [v for v in columns if v is not None]

    def degrees(theta: Floats) -> Floats:
        out = np.zeros((len(theta), len(columns), len(powers)))
        for j, v in enumerate(columns):
            if v is not None:
                out[:, j, v] = theta[:, powers.index(v)]
        return out

    return degrees


def _first_degree(k: int, entry: int | None) -> Callable[[Floats], Floats]:
    """Degrees of a one-variable form whose last column scales with x to the minus theta[entry]."""

    def degrees(theta: Floats) -> Floats:
        out = np.zeros((len(theta), k, 1))
        if entry is not None:
            out[:, -1, 0] = theta[:, entry]
        return out

    return degrees


def _soft(value: Floats) -> tuple[Floats, Floats]:
    """log(1 + e^value) and its derivative, without overflow."""
    soft = np.logaddexp(0.0, value)
    return soft, np.exp(value - soft)


def _shifted(floor: bool) -> Basis:
    def basis(z: Floats, theta: Floats) -> tuple[Floats, Floats]:
        exponent, place = theta[:, :1], theta[:, 1:2]
        soft, rate = _soft(place - z[:, 0])
        log_sum = z[:, 0] + soft
        column = (-exponent * log_sum, {0: -log_sum, 1: -exponent * rate})
        return _stack((len(theta), len(z)), [None, column] if floor else [column], 2)

    return basis


def _bounded(z: Floats, theta: Floats) -> tuple[Floats, Floats]:
    exponent, place = theta[:, :1], theta[:, 1:2]
    distance = z[:, 0] - place
    soft, rate = _soft(exponent * distance)
    return _stack((len(theta), len(z)), [None, (-soft, {0: -rate * distance, 1: rate * exponent})], 2)


def _broken(floor: bool) -> Basis:
    def basis(z: Floats, theta: Floats) -> tuple[Floats, Floats]:
        before, after, place = theta[:, :1], theta[:, 1:2], theta[:, 2:3]
        width = np.exp(theta[:, 3:4])
        distance = z[:, 0] - place
        soft, rate = _soft(distance / width)
        bend = width * soft
        gain = after - before
        value = -before * z[:, 0] - gain * bend
        slopes = {0: bend - z[:, 0], 1: -bend, 2: gain * rate, 3: -gain * (bend - rate * distance)}
        return _stack((len(theta), len(z)), [None, (value, slopes)] if floor else [(value, slopes)], 4)

    return basis


def _repeated(z: Floats, theta: Floats) -> tuple[Floats, Floats]:
    """Columns 1, G^-a and D^-b, with D the unique data U plus what S - U repeated samples are worth."""
    size, seen, unique = z[:, 0], z[:, 1], z[:, 2]
    patience = np.exp(theta[:, 2:3])
    repeats = np.maximum(np.expm1(seen - unique), 0.0)
    decay = np.exp(-repeats / patience)
    worth = 1 + patience * (1 - decay)
    # Less than one pass over the data has no repetition: all that is seen counts.
    log_data = np.minimum(seen, unique) + np.log(worth)
    in_patience = (patience * (1 - decay) - repeats * decay) / worth
    value, slope = _column(size, theta[:, 0])
    data = (-theta[:, 1:2] * log_data, {1: -log_data, 2: -theta[:, 1:2] * in_patience})
    return _stack((len(theta), len(z)), [None, (value, {0: slope}), data], 3)


def _repeated_degrees(theta: Floats) -> Floats:
    out = np.zeros((len(theta), 3, 3))
    out[:, 1, 0] = theta[:, 0]
    out[:, 2, 1] = theta[:, 1]
    return out


def _exponent_grid(count: int) -> Floats:
    return np.geomspace(0.01, 3.0, count)


def _mesh(*axes: Floats) -> Floats:
    return np.array(list(product(*axes)), dtype=np.float64)


def _exponents_only(*counts: int) -> Callable[[Floats], Floats]:
    return lambda z: _mesh(*(_exponent_grid(count) for count in counts))


def _with_place(exponents: int, places: int, margin: float) -> Callable[[Floats], Floats]:
    def grid(z: Floats) -> Floats:
        low, high = float(z.min()), float(z.max())
        return _mesh(_exponent_grid(exponents), np.linspace(low - margin, high + margin, places))

    return grid


def _broken_grid(z: Floats) -> Floats:
    slopes = np.array([0.0, 0.05, 0.15, 0.3, 0.6, 1.0, 1.8])
    low, high = float(z.min()), float(z.max())
    mesh = _mesh(slopes, slopes, np.linspace(low, high, 9)[1:], np.log([0.15, 0.5, 1.5]))
    return mesh[mesh[:, 0] != mesh[:, 1]]


_EXPONENT = (0.0, LARGEST_EXPONENT)
_PLACE = (-60.0, 60.0)


def _one(name: str, formula: str, floor: bool, **fields: object) -> Form:
    names = ("floor", "coefficient") if floor else ("coefficient",)
    given = {"variables": ("x",), "units": (0,), "coefficients": names} | fields
    return Form(name=name, formula=formula, **given)  # type: ignore[arg-type]


def _shifted_form(floor: bool) -> Form:
    return _one(
        "shifted+floor" if floor else "shifted",
        "floor + coefficient * (x + shift)^-exponent" if floor else "coefficient * (x + shift)^-exponent",
        floor,
        exponents=("exponent", "shift"),
        basis=_shifted(floor),
        grid=_with_place(20, 16, 4.0),
        degrees=_first_degree(1 + floor, 0),
        bounds=(_EXPONENT, _PLACE),
        locations=((1, 0),),
        logs=(1,),
    )


def _broken_form(floor: bool) -> Form:
    head = "floor + " if floor else ""
    return _one(
        "broken+floor" if floor else "broken",
        head + "coefficient * x^-before * (1 + (x/break)^(1/width))^(-(after - before)*width)",
        floor,
        exponents=("before", "exponent", "break", "width"),
        basis=_broken(floor),
        grid=_broken_grid,
        degrees=_first_degree(1 + floor, 0),
        bounds=(_EXPONENT, _EXPONENT, _PLACE, (np.log(0.05), np.log(5.0))),
        locations=((2, 0),),
        logs=(2, 3),
    )


POWER = _one(
    "power",
    "coefficient * x^-exponent",
    False,
    exponents=("exponent",),
    basis=_additive((0,)),
    grid=_exponents_only(24),
    degrees=_first_degree(1, 0),
    bounds=((-LARGEST_EXPONENT, LARGEST_EXPONENT),),
)
FLOOR = _one(
    "power+floor",
    "floor + coefficient * x^-exponent",
    True,
    exponents=("exponent",),
    basis=_additive((None, 0)),
    grid=_exponents_only(64),
    degrees=_first_degree(2, 0),
    bounds=(_EXPONENT,),
)
OFFSET = replace(
    FLOOR,
    name="power+offset",
    formula="offset + coefficient * x^-exponent",
    coefficients=("offset", "coefficient"),
    either_sign=True,
)
SHIFTED, SHIFTED_FLOOR = _shifted_form(False), _shifted_form(True)
BOUNDED = _one(
    "bounded",
    "floor + coefficient / (1 + (x/middle)^exponent)",
    True,
    exponents=("exponent", "middle"),
    basis=_bounded,
    grid=_with_place(20, 16, 4.0),
    degrees=_first_degree(2, None),
    bounds=(_EXPONENT, _PLACE),
    locations=((1, 0),),
    logs=(1,),
)
BROKEN, BROKEN_FLOOR = _broken_form(False), _broken_form(True)
TWO_VARIABLE = Form(
    name="two-variable",
    formula="floor + A * N^-alpha + B * D^-beta",
    variables=("N", "D"),
    units=(0, 1),
    exponents=("alpha", "beta"),
    coefficients=("floor", "A", "B"),
    basis=_additive((None, 0, 1)),
    grid=_exponents_only(24, 24),
    degrees=_additive_degrees((None, 0, 1)),
    bounds=(_EXPONENT, _EXPONENT),
)
DATA_AWARE = Form(
    name="data-aware",
    formula="floor + A * G^-alpha + B * S^-beta + C * U^-gamma",
    variables=("G", "S", "U"),
    units=(0, 1, 2),
    exponents=("alpha", "beta", "gamma"),
    coefficients=("floor", "A", "B", "C"),
    basis=_additive((None, 0, 1, 2)),
    grid=_exponents_only(12, 12, 12),
    degrees=_additive_degrees((None, 0, 1, 2)),
    bounds=(_EXPONENT,) * 3,
)
REPEATED = Form(
    name="repeated-data",
    formula="floor + A * G^-alpha + B * D^-beta, D = U * (1 + R * (1 - exp(-(S/U - 1)/R)))",
    variables=("G", "S", "U"),
    units=(0, 1, 1),
    exponents=("alpha", "beta", "R"),
    coefficients=("floor", "A", "B"),
    basis=_repeated,
    grid=lambda z: _mesh(_exponent_grid(14), _exponent_grid(14), np.log(np.geomspace(0.3, 300, 9))),
    degrees=_repeated_degrees,
    bounds=(_EXPONENT, _EXPONENT, (-3.0, 12.0)),
    logs=(2,),
)

_ALL = (POWER, FLOOR, OFFSET, SHIFTED, SHIFTED_FLOOR, BOUNDED, BROKEN, BROKEN_FLOOR, TWO_VARIABLE, DATA_AWARE, REPEATED)
FORMS = MappingProxyType({form.name: form for form in _ALL})
"""The forms by name. `power` to `broken+floor` take one variable, the others two or three."""


def form_of(form: str | Form) -> Form:
    """A form by its name, or as it is. Raises SurefootError for a name that is none."""
    if isinstance(form, Form):
        return form
    if form not in FORMS:
        raise SurefootError(f"There is no form '{form}'. Choose one of: {', '.join(FORMS)}.")
    return FORMS[form]


def restricted(form: Form, *, tied: Sequence[tuple[str, str]] = (), fixed: Mapping[str, float] | None = None) -> Form:
    """A form whose exponents are tied to each other (pairs of names: the second equals the first) or fixed to a value.

    A floor can be fixed to 0 or above. The form keeps its name; what is tied or fixed is no parameter any more and
    stands in its formula. Raises SurefootError for names that are no exponents of the form.
    """
    values = dict(fixed or {})
    floor = values.pop("floor", None)
    if floor is not None and not (0 <= floor < np.inf and "floor" in form.coefficients):
        raise SurefootError(f"A floor can be fixed to 0 or above, and the form '{form.name}' must have one.")
    for name in (*values, *(name for pair in tied for name in pair)):
        if name not in form.exponents or form.exponents.index(name) in form.logs:
            free = ", ".join(one for place, one in enumerate(form.exponents) if place not in form.logs)
            raise SurefootError(f"The form '{form.name}' has no exponent '{name}' to tie or fix. It has: {free}.")
    stands_for = {second: first for first, second in tied}
    kept = [name for name in form.exponents if name not in stands_for and name not in values]
    spread, offset = np.zeros((len(kept), len(form.exponents))), np.zeros(len(form.exponents))
    for place, name in enumerate(form.exponents):
        source = stands_for.get(name, name)
        if source in values:
            offset[place] = values[source]
        elif source in kept:
            spread[kept.index(source), place] = 1
        else:
            raise SurefootError(f"'{source}' is tied itself: tie every exponent to one that stays.")
    said = [f"{second} = {first}" for first, second in tied] + [f"{name} = {value:g}" for name, value in values.items()]
    said += [f"floor = {floor:g}"] if floor is not None else []
    return _reduced(form, kept, spread, offset, floor=floor, said=said)


def _reduced(
    form: Form, kept: list[str], spread: Floats, offset: Floats, *, floor: float | None, said: list[str]
) -> Form:
    columns = [j for j, name in enumerate(form.coefficients) if floor is None or name != "floor"]
    places = [form.exponents.index(name) for name in kept]

    def full(theta: Floats) -> Floats:
        return theta @ spread + offset

    def basis(z: Floats, theta: Floats) -> tuple[Floats, Floats]:
        log_phi, slope = form.basis(z, full(theta))
        return log_phi[..., columns], slope[..., columns, :] @ spread.T

    return replace(
        form,
        formula=f"{form.formula}, {', '.join(said)}",
        exponents=tuple(kept),
        coefficients=tuple(form.coefficients[j] for j in columns),
        basis=basis,
        grid=lambda z: np.unique(form.grid(z)[:, places], axis=0) if places else np.zeros((1, 0)),
        degrees=lambda theta: form.degrees(full(theta))[:, columns],
        bounds=tuple(form.bounds[place] for place in places),
        locations=tuple((places.index(entry), variable) for entry, variable in form.locations if entry in places),
        logs=tuple(places.index(entry) for entry in form.logs if entry in places),
        floor=floor or 0.0,
    )
