"""Heads: one or a few affine layers on an embedding, read as plain numbers; no code in a file is ever run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args
from zipfile import BadZipFile, ZipFile

import numpy as np

from surefoot.core import SurefootError, full_disk_is_said

if TYPE_CHECKING:
    from numpy.typing import NDArray

Activation = Literal["", "none", "relu", "sigmoid", "softmax"]
_LARGEST = 256 << 20
_WEIGHT, _BIAS = re.compile(r".*(weight|kernel)(:0)?"), ("bias", "bias:0")


@dataclass(frozen=True, kw_only=True)
class Head:
    """Affine layers, each a weight (out, in) and a bias (out,), on a unit vector; the last gives one number or two.

    `activation` stands between layers, `output` behind the last: none, relu, sigmoid, softmax. Of two numbers the
    score is the second with softmax, else the second less the first. `model` is the digest of the encoder that it was
    made for, where it is known.
    """

    layers: tuple[tuple[NDArray[np.float32], NDArray[np.float32]], ...]
    activation: str = "none"
    output: str = "none"
    model: str = ""

    def __call__(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """The scores (n,) of vectors (n, dimension)."""
        values = vectors
        for place, (weight, bias) in enumerate(self.layers, 1):
            values = _through(self.output if place == len(self.layers) else self.activation, values @ weight.T + bias)
        if values.shape[1] == 1:
            return values[:, 0]
        return values[:, 1] if self.output == "softmax" else values[:, 1] - values[:, 0]

    @property
    def dimension(self) -> int:
        """Of the vectors that it takes."""
        return self.layers[0][0].shape[1]

    @property
    def digest(self) -> str:
        """Of all that it is."""
        whole = sha256(f"{self.activation} {self.output}".encode())
        for array in (array for layer in self.layers for array in layer):
            whole.update(f"{array.shape}".encode() + array.tobytes())
        return whole.hexdigest()


def read_head(path: Path, *, activation: Activation = "", output: Activation = "") -> Head:
    """A head in `.npz`, `.npy`, `.safetensors` or a checkpoint of torch (`.pth`, `.pt`, `.bin`: tensors alone).

    Layers are the tensors called `weight` (out, in) or `kernel` (in, out), in the order of their names, with `bias`
    where there is one: so LAION's aesthetic heads are written. `mean` and `variance` are of a normalisation before the
    first. A `.npy` of two rows is a pair of prompts, as clip-retrieval's for Q16: the score is the product with the
    second less that with the first. Several layers need an `activation`. Raises `SurefootError` for anything else.
    """
    arrays = {name: np.asarray(value) for name, value in _arrays(path).items()}
    said = {name: str(arrays.pop(name)) for name in ("activation", "output", "model") if name in arrays}
    layers = _layers(path, {name: value.astype(np.float64) for name, value in arrays.items()})
    between, last = activation or said.get("activation", ""), output or said.get("output", "none")
    if len(layers) > 1 and not between:
        raise SurefootError(
            f"{path} has {len(layers)} layers and does not say what stands between them: add ,activation=relu "
            "(or sigmoid, none), as its makers say."
        )
    for one in (between or "none", last):
        if one not in get_args(Activation):
            raise SurefootError(f"There is no activation '{one}': name none, relu, sigmoid or softmax.")
    whole = tuple((weight.astype(np.float32), bias.astype(np.float32)) for weight, bias in layers)
    return Head(layers=whole, activation=between or "none", output=last, model=said.get("model", ""))


def _layers(path: Path, arrays: dict[str, NDArray[np.float64]]) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    """Weights (out, in) and biases in order, a normalisation of the input put into the first."""
    shift = [arrays.pop(name) for end in ("mean", "variance") for name in [*arrays] if name.split(".")[-1] == end]
    layers = []
    for name in sorted(filter(_WEIGHT.fullmatch, arrays), key=_natural):
        stem = name.removesuffix(":0").removesuffix("weight").removesuffix("kernel")
        weight = arrays.pop(name).T if "kernel" in name else arrays.pop(name)
        bias = next((arrays.pop(f"{stem}{one}") for one in _BIAS if f"{stem}{one}" in arrays), np.zeros(len(weight)))
        layers.append((weight, bias.ravel()))
    if arrays or not layers or len(shift) not in (0, 2):
        odd = next(iter(arrays), "")
        raise SurefootError(f"{path} is no head of affine layers: it has {odd or 'no tensor called weight'}.")
    if shift:
        spread = np.maximum(np.sqrt(shift[1].ravel()), 1e-7)
        (weight, bias), *rest = layers
        layers = [(weight / spread, bias - weight @ (shift[0].ravel() / spread)), *rest]
    shapes = [weight.shape for weight, _ in layers]
    fits = all(len(one) == 2 for one in shapes) and [one[1] for one in shapes[1:]] == [one[0] for one in shapes[:-1]]
    if not fits or shapes[-1][0] > 2 or not all(np.isfinite(one).all() for layer in layers for one in layer):
        raise SurefootError(f"{path} is no head: layers of the shapes {shapes} do not lead to one number or two.")
    return layers


def write_head(path: Path, head: Head) -> None:
    """Write a head as `.npz`, as `read_head` reads it."""
    arrays: dict[str, Any] = {name: getattr(head, name) for name in ("activation", "output", "model")}
    for place, (weight, bias) in enumerate(head.layers):
        arrays |= {f"layer.{place}.weight": weight, f"layer.{place}.bias": bias}
    with full_disk_is_said(path), path.open("wb") as file:
        np.savez(file, **arrays)


def _arrays(path: Path) -> Mapping[str, Any]:
    try:
        if path.suffix == ".npy":
            rows = np.load(path, mmap_mode="r", allow_pickle=False)
            return {"weight": rows if rows.ndim == 2 else rows[None]}
        if path.suffix == ".npz":
            with ZipFile(path) as packed:
                if sum(one.file_size for one in packed.infolist()) > _LARGEST:
                    raise SurefootError(f"{path} unpacks to more than {_LARGEST >> 20} MB: it is no head.")
            with np.load(path, allow_pickle=False) as loaded:
                return dict(loaded)
    except (OSError, ValueError, BadZipFile, EOFError) as error:
        raise SurefootError(f"{path} cannot be read as plain numbers ({error}).") from None
    return _tensors(path)


def _tensors(path: Path) -> Mapping[str, Any]:
    import torch
    from safetensors.torch import load_file

    try:
        packed = path.suffix == ".safetensors"
        state: Any = load_file(path) if packed else torch.load(path, map_location="cpu", weights_only=True)
        return {name: tensor.float().numpy() for name, tensor in state.get("state_dict", state).items()}
    except Exception as error:  # torch raises many kinds for one reason
        said = f"{path} is no file of plain tensors, and nothing else is loaded ({error!s:.80})."
        raise SurefootError(said) from None


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(one), "") if one.isdecimal() else (-1, one) for one in re.split(r"(\d+)", name)]


def _through(kind: str, values: NDArray[np.float32]) -> NDArray[np.float32]:
    if kind == "relu":
        return np.maximum(values, 0)
    if kind == "sigmoid":
        return np.float32(0.5) + np.float32(0.5) * np.tanh(values / 2)
    if kind == "softmax":
        powers = np.exp(values - values.max(1, keepdims=True))
        return powers / powers.sum(1, keepdims=True)
    return values
