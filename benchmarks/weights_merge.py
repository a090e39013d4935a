"""Checkpoint arithmetic: CPU seconds, memory and exactness of whole processes, beside mergekit in the same run.

    python benchmarks/weights_merge.py [--mergekit /path/to/mergekit-yaml]
        [--sd-mecha /path/to/its/python] [--layers 8] [--rounds 2] [--folder DIR]

Base and three tuned models of the shape of a language model in bfloat16 (about 1 GiB each with 8 layers, 0.2 GB for
TIES) are merged by whole processes, import included, in turns: a copy loop that reads and writes the same bytes (the
control for wall time), ours, and mergekit 0.1.5 and sd-mecha 1.1.8 (which averages models of any shape, but has no
task arithmetic for them) from environments of their own. Peers that are not given are left out.
Read the figures as ratios: CPU seconds too grow on a busy machine.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from surefoot.weights import open_checkpoint
from surefoot.weights._files._checkpoint import Files
from surefoot.weights._files._safetensors import header_bytes

COPY = """
import os, sys
*sources, out = sys.argv[1:]
left, write = os.path.getsize(sources[0]), os.open(out, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
files = [os.open(path, os.O_RDONLY) for path in sources]
buffers = [bytearray(1 << 20) for _ in files]
while left > 0:
    for file, buffer in zip(files, buffers):
        count = os.readv(file, [buffer])
    os.write(write, memoryview(buffers[0])[:count])
    left -= count
os.fsync(write)
"""
MECHA = """
import pathlib, sys, sd_mecha, torch
*places, out = map(pathlib.Path, sys.argv[1:])
sd_mecha.merge(sd_mecha.n_average(*map(sd_mecha.model, places)), output=out, output_dtype=torch.bfloat16, threads=2)
"""
PLAIN = (
    "from surefoot.weights._arithmetic import _kernel; _kernel.library = lambda: None; "  # as where no C compiler was
)
MERGE = "import sys; from surefoot.cli import main; sys.argv[0] = 'surefoot'; main()"


@dataclass(frozen=True)
class Cost:
    """What one process took: CPU and wall seconds, and its largest resident size in MiB."""

    cpu: float
    wall: float
    resident: float


def shapes(width: int, inner: int, layers: int, words: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a language model with tied embeddings."""
    found: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (words, width)}
    for layer in range(layers):
        prefix = f"model.layers.{layer}."
        found |= {f"{prefix}self_attn.{name}_proj.weight": (width, width) for name in "qkvo"}
        found |= {f"{prefix}mlp.{name}_proj.weight": (inner, width) for name in ("gate", "up")}
        found[f"{prefix}mlp.down_proj.weight"] = (width, inner)
        found |= {f"{prefix}{name}_layernorm.weight": (width,) for name in ("input", "post_attention")}
    return found | {"model.norm.weight": (width,)}


def make(folder: Path, width: int, inner: int, layers: int, words: int) -> list[Path]:
    """Write the four models, unless they are there."""
    layout = shapes(width, inner, layers, words)
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": width, "vocab_size": words,
        "intermediate_size": inner, "num_hidden_layers": layers, "num_attention_heads": width // 64,
        "num_key_value_heads": width // 64, "tie_word_embeddings": True, "torch_dtype": "bfloat16",
    }  # fmt: skip
    places = [folder / name for name in ("base", "a", "b", "c")]
    for number, place in enumerate(places):
        if (place / "model.safetensors").exists():
            continue
        place.mkdir(parents=True, exist_ok=True)
        (place / "config.json").write_text(json.dumps(config))
        with (place / "model.safetensors").open("wb") as file:
            file.write(header_bytes({name: ("BF16", shape) for name, shape in layout.items()}, {"format": "pt"}))
            for index, shape in enumerate(layout.values()):
                size = int(np.prod(shape))
                values = np.random.default_rng([0, index]).standard_normal(size, dtype=np.float32)
                if number:
                    values += 0.1 * np.random.default_rng([number, index]).standard_normal(size, dtype=np.float32)
                bits = (values * np.float32(0.02)).view(np.uint32)
                file.write(((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16).tobytes())
    return places


def run(command: list[str]) -> Cost:
    """Run a command to its end."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment)
    error = process.stderr.read().decode() if process.stderr else ""
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command[:3])} failed:\n{error[-2000:]}")
    wall = time.perf_counter() - started
    return Cost(usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss / 1024)


def apart(function: Callable[..., Any], *given: Any) -> Any:
    """Call a function in another process: the resident size of a child begins at that of its parent."""
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(function, given)


def configuration(path: Path, method: str, places: list[Path], **settings: float) -> Path:
    """A merge configuration in YAML (of which JSON is a part)."""
    models = [{"model": str(place), "parameters": {"weight": 0.3, **settings}} for place in places[1:]]
    content = {"merge_method": method, "base_model": str(places[0]), "models": models, "dtype": "bfloat16"}
    path.write_text(json.dumps(content))
    return path


def compare(title: str, commands: dict[str, list[str]], rounds: int) -> dict[str, Cost]:
    """Run all commands in turns and print the best of each."""
    costs: dict[str, list[Cost]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            costs[name].append(run(command))
    best = {
        name: Cost(min(one.cpu for one in some), min(one.wall for one in some), min(one.resident for one in some))
        for name, some in costs.items()
    }
    print(f"\n{title}\n{'':12s}{'CPU s':>8s}{'wall s':>8s}{'MiB':>8s}")
    for name, cost in best.items():
        print(f"{name:12s}{cost.cpu:8.2f}{cost.wall:8.2f}{cost.resident:8.0f}")
    for peer in ("mergekit", "sd-mecha", "numpy"):
        if peer in best:
            ours = best["surefoot"]
            print(f"{peer} / surefoot: CPU {best[peer].cpu / ours.cpu:.1f}, wall {best[peer].wall / ours.wall:.1f}")
    if "copy" in best:
        print(f"surefoot / copy loop: wall {best['surefoot'].wall / best['copy'].wall:.2f}")
    return best


def off_oracle(out: Path, places: list[Path]) -> float:
    """Share of elements, of a sample, that differ from base + 0.3 sum(tuned - base) in 64 bits, rounded once."""
    from surefoot.weights._files._types import decode, encode

    checkpoints = [open_checkpoint(place / "model.safetensors") for place in places]
    made = open_checkpoint(out)
    off = total = 0
    with Files() as files:

        def values(source: object, count: int) -> np.ndarray:
            return decode(files.read(source, 0, count, np.empty(2 * count, np.uint8)), "BF16", np.empty(count))

        for name, tensor in made.tensors.items():
            count = min(tensor.size, 500_000)
            base, *tuned = (values(one.tensors[name], count) for one in checkpoints)
            exact = encode(base + 0.3 * sum(one - base for one in tuned), "BF16")[0].view(np.uint16)
            there = files.read(tensor, 0, count, np.empty(2 * count, np.uint8)).view(np.uint16)
            off, total = off + int((there != exact).sum()), total + count
    return off / total


def main() -> None:
    """Print the table of each figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mergekit", default=os.environ.get("MERGEKIT_YAML"))
    parser.add_argument("--sd-mecha")
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        large = apart(make, folder / "large", 2048, 5632, options.layers, 64_000)
        small = apart(make, folder / "small", 768, 2048, 9, 32_000)
        out = folder / "out"

        def commands(method: str, places: list[Path], **settings: float) -> dict[str, list[str]]:
            config = str(configuration(folder / f"{method}.yml", method, places, **settings))
            words = ["weights", "merge", config, str(out / "mine.safetensors")]
            found = {"surefoot": [sys.executable, "-c", MERGE, *words]}
            found["numpy"] = [sys.executable, "-c", PLAIN + MERGE, *words]
            if options.mergekit:
                found["mergekit"] = [options.mergekit, config, str(out / "theirs"), "--no-copy-tokenizer"]
            return found

        out.mkdir(parents=True, exist_ok=True)
        sources = [str(place / "model.safetensors") for place in large]
        copy = {"copy": [sys.executable, "-c", COPY, *sources, str(out / "copy")]}
        compare(
            "task arithmetic, base and three tuned models", copy | commands("task_arithmetic", large), options.rounds
        )
        print(f"elements off the exactly rounded oracle: {apart(off_oracle, out / 'mine.safetensors', large):.4%}")
        if options.mergekit:
            print(f"the same of mergekit: {apart(off_oracle, out / 'theirs', large):.4%}")
        compare("TIES at density 0.5, four models of 0.2 GB", commands("ties", small, density=0.5), options.rounds)
        slowest = commands("della", small, density=0.5, epsilon=0.1)
        del slowest["numpy"]  # it is what computes this method anyway
        compare("DELLA, the method that takes the longest, four models of 0.2 GB", slowest, 1)
        average = [
            sys.executable,
            "-c",
            MERGE,
            "weights",
            "average",
            *map(str, small),
            "-o",
            str(out / "mean.safetensors"),
        ]
        models = [str(place / "model.safetensors") for place in small]
        mecha = [str(options.sd_mecha), "-c", MECHA, *models, str(out / "mecha.safetensors")]
        peers = {"sd-mecha": mecha} if options.sd_mecha else {}
        compare("average, four models of 0.2 GB", {"surefoot": average, **peers}, options.rounds)
        add = [sys.executable, "-c", MERGE, "weights", "add", *map(str, small), "-o", str(out / "one.safetensors")]
        run(add)
        recipe = str(out / "one.safetensors.recipe.json")
        again = [sys.executable, "-c", MERGE, "weights", "apply", recipe, str(out / "at-{}.safetensors")]
        grid = [word for step in range(21) for word in ("--coefficient", str(step / 20))]
        found = compare("21 coefficients, small models", {"one by one": add, "in one pass": again + grid}, 1)
        print(f"21 runs / one pass: CPU {21 * found['one by one'].cpu / found['in one pass'].cpu:.1f}")
        help_of = {"surefoot": [sys.executable, "-c", MERGE, "weights", "--help"]}
        if options.mergekit:
            help_of["mergekit"] = [options.mergekit, "--help"]
        compare("--help", help_of, options.rounds)


if __name__ == "__main__":
    main()
