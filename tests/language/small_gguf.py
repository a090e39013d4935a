"""A GGUF file cut down to its first layers and words: what reads the whole one reads it alike, in little time."""

import struct
from math import prod
from pathlib import Path
from typing import Any

_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_TEXT, _LIST = 8, 9
Field = tuple[int, Any]
Tensor = tuple[list[int], int, bytes]


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def numbers(self, form: str) -> tuple[Any, ...]:
        found = struct.unpack_from(f"<{form}", self.data, self.at)
        self.at += struct.calcsize(f"<{form}")
        return found

    def value(self, kind: int) -> Any:
        if kind == _TEXT:
            (size,) = self.numbers("Q")
            self.at += size
            return self.data[self.at - size : self.at]
        if kind == _LIST:
            inner, count = self.numbers("IQ")
            return inner, [self.value(inner) for _ in range(count)]
        return self.numbers(_NUMBERS[kind])[0]


def _written(kind: int, value: Any) -> bytes:
    if kind == _TEXT:
        return struct.pack("<Q", len(value)) + value
    if kind == _LIST:
        inner, cells = value
        return struct.pack("<IQ", inner, len(cells)) + b"".join(_written(inner, cell) for cell in cells)
    return struct.pack(f"<{_NUMBERS[kind]}", value)


def read_gguf(path: Path) -> tuple[dict[bytes, Field], dict[bytes, Tensor]]:
    """Fields by name, as type and value; tensors by name: sizes, type, and bytes."""
    file = _Reader(path.read_bytes())
    _, _, tensors, fields = file.numbers("IIQQ")
    read = {file.value(_TEXT): (kind := file.numbers("I")[0], file.value(kind)) for _ in range(fields)}
    told = []
    for _ in range(tensors):
        name, (count,) = file.value(_TEXT), file.numbers("I")
        told.append((name, list(file.numbers(f"{count}Q")), *file.numbers("IQ")))
    data = file.data[-(-file.at // 32) * 32 :]
    ends = [offset for _, _, _, offset in told[1:]] + [len(data)]
    return read, {name: (sizes, kind, data[at:end]) for (name, sizes, kind, at), end in zip(told, ends, strict=True)}


def count_of(tensors: dict[bytes, Tensor]) -> int:
    """How many numbers the tensors have."""
    return sum(prod(sizes) for sizes, _, _ in tensors.values())


def cut_gguf(source: Path, target: Path, *, layers: int, words: int) -> dict[bytes, Tensor]:
    """Write a llama model with its first layers and the first words of its vocabulary; gives its tensors."""
    fields, tensors = read_gguf(source)
    known = set(fields[b"tokenizer.ggml.tokens"][1][1][:words])
    merges = [
        one for one in fields[b"tokenizer.ggml.merges"][1][1] if {*one.split(b" "), one.replace(b" ", b"")} <= known
    ]
    fields |= {b"llama.block_count": (4, layers), b"llama.vocab_size": (4, words)}
    fields |= {b"tokenizer.ggml.merges": (_LIST, (_TEXT, merges))}
    for name in (b"tokenizer.ggml.tokens", b"tokenizer.ggml.token_type"):
        kind, cells = fields[name][1]
        fields[name] = (_LIST, (kind, cells[:words]))
    kept = {name: one for name, one in tensors.items() if name[:4] != b"blk." or int(name.split(b".")[1]) < layers}
    (width, whole), kind, data = kept[b"token_embd.weight"]
    kept[b"token_embd.weight"] = [width, words], kind, data[: len(data) // whole * words]
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(kept), len(fields))
    head += b"".join(
        _written(_TEXT, name) + struct.pack("<I", kind) + _written(kind, value)
        for name, (kind, value) in fields.items()
    )
    body = b""
    for name, (sizes, kind, data) in kept.items():
        head += _written(_TEXT, name) + struct.pack(f"<I{len(sizes)}QIQ", len(sizes), *sizes, kind, len(body))
        body += data + b"\0" * (-len(data) % 32)
    target.write_bytes(head + b"\0" * (-len(head) % 32) + body)
    return kept
