"""Speed of pretraining: two `Pretrain` Steps side by side against one plain training loop with two threads.

Run it on an idle machine with two cores: python benchmarks/pretrain.py [--model rn-16] [--batch 128] [--rounds 3].
Both train the same model on the same pictures and captions with the same loss, precision and optimizer. The plain loop
is what one writes on open_clip and a DataLoader: transforms a picture, tokenizes a caption with open_clip's whole
vocabulary, trains. The in-memory loop has our small vocabulary and no data to read at all. In turns, several
times over, so that a busy machine slows both. "wall" counts samples a second by the clock, "cpu" a second of processor
time, which other work on the machine disturbs less. Then the whole ladder, one thread, samples a second of each.
"""

import argparse
import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

PICTURES, WORDS = 2000, ("red", "green", "blue", "small", "large", "square", "disc", "ring", "house", "tree", "fruit")
Speed = tuple[float, float]  # samples a second: of wall time, of processor time


def write_data(directory: Path) -> None:
    """Random pictures of 32 pixels with captions of three to six words, as a Step gives them."""
    generator = np.random.default_rng(0)
    directory.mkdir(parents=True)
    np.save(directory / "images.npy", generator.integers(0, 256, size=(PICTURES, 32, 32, 3), dtype=np.uint8))
    captions = [
        [" ".join(generator.choice(WORDS, size=generator.integers(3, 7))) for _ in range(4)] for _ in range(PICTURES)
    ]
    (directory / "captions.json").write_text(json.dumps(captions))


def surefoot_training(root: str, name: str, settings: dict[str, Any], ready: Any) -> Speed:
    """One Pretrain Step in this process; the start-up of Python and torch is not counted for either side."""
    import torch  # noqa: F401

    from surefoot.core import Store, StoredInputs

    step, store = _step(settings), Store(Path(root))
    out = Path(root) / name / "part"
    out.mkdir(parents=True)
    if ready is not None:
        ready.wait()
    started, used = time.perf_counter(), time.process_time()
    list(step.make(out, StoredInputs(store)))
    return settings["samples"] / (time.perf_counter() - started), settings["samples"] / (time.process_time() - used)


def plain_training(root: str, settings: dict[str, Any]) -> Speed:
    """The loop that one writes on open_clip, torch's DataLoader and torchvision, with two threads."""
    import torch
    from open_clip import ClipLoss, SimpleTokenizer
    from PIL import Image
    from torchvision import transforms

    from surefoot.contrastive import build, ladder_config
    from surefoot.core import Store

    torch.set_num_threads(2)
    directory = Store(Path(root)).path(_step(settings).data)
    started, used = time.perf_counter(), time.process_time()
    images, captions = np.load(directory / "images.npy"), json.loads((directory / "captions.json").read_text())
    tokenizer = SimpleTokenizer(context_length=16)
    transform = transforms.Compose(
        [
            transforms.RandomAffine(0, translate=(0.1, 0.1), scale=(0.8, 1.2), fill=255),
            transforms.ToTensor(),
            transforms.Normalize((0.5,) * 3, (0.5,) * 3),
        ]
    )

    class Data(torch.utils.data.Dataset[Any]):
        def __len__(self) -> int:
            return settings["samples"]

        def __getitem__(self, row: int) -> tuple[torch.Tensor, torch.Tensor]:
            texts = captions[row % PICTURES]
            return transform(Image.fromarray(images[row % PICTURES])), tokenizer([texts[row % len(texts)]])[0]

    loader = torch.utils.data.DataLoader(Data(), batch_size=settings["batch"], shuffle=True, drop_last=True)
    model = build(ladder_config(settings["model"], vocabulary_size=49408))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.1)
    loss_of, steps = ClipLoss(), settings["samples"] // settings["batch"]
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5 * (1 + math.cos(math.pi * step / steps)))
    for pictures, tokens in loader:
        optimizer.zero_grad()
        loss_of(*model(pictures, tokens)).backward()
        optimizer.step()
        schedule.step()
    return settings["samples"] / (time.perf_counter() - started), settings["samples"] / (time.process_time() - used)


def plain_training_in_memory(root: str, settings: dict[str, Any]) -> Speed:
    """The same model and loss with two threads, on ready batches in memory: nothing but open_clip and torch."""
    import torch
    from open_clip import ClipLoss

    from surefoot.contrastive import build, ladder_config

    torch.set_num_threads(2)
    model = build(ladder_config(settings["model"], vocabulary_size=len(WORDS) + 3))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.1)
    loss_of, batch = ClipLoss(), settings["batch"]
    pictures, tokens = torch.randn(batch, 3, 32, 32), torch.randint(1, len(WORDS) + 3, (batch, 16))
    started, used = time.perf_counter(), time.process_time()
    for _ in range(settings["samples"] // batch):
        optimizer.zero_grad()
        loss_of(*model(pictures, tokens)).backward()
        optimizer.step()
    return settings["samples"] / (time.perf_counter() - started), settings["samples"] / (time.process_time() - used)


def _step(settings: dict[str, Any]) -> Any:
    from surefoot.contrastive import Drawings, Pretrain, TrainingPairs

    return Pretrain(data=TrainingPairs(drawings=(Drawings(style="twemoji"),)), **settings)


def in_processes(function: Callable[..., Speed], calls: list[tuple[Any, ...]], threads: int) -> list[Speed]:
    """The function in fresh processes side by side, with this many threads each."""
    os.environ["OMP_NUM_THREADS"] = str(threads)
    with get_context("spawn").Pool(len(calls)) as pool:
        return pool.starmap(function, calls)


def side_by_side(root: Path, settings: dict[str, Any], turn: int) -> Speed:
    """Two Steps at once: their speeds by the clock add up, a second of processor time is a second of either."""
    with get_context("spawn").Manager() as manager:
        ready = manager.Barrier(2)
        calls = [(str(root), f"{turn}-{worker}", {**settings, "seed": worker}, ready) for worker in range(2)]
        speeds = in_processes(surefoot_training, calls, threads=1)
    return sum(wall for wall, _ in speeds), sum(cpu for _, cpu in speeds) / 2


def main() -> None:
    """Run everything and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="rn-16")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--samples", type=int, default=6400)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ladder", action="store_true", help="also the speed of every model, one thread")
    options = parser.parse_args()
    settings = {"model": options.model, "batch": options.batch, "samples": options.samples}
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        from surefoot.core import Store, write_record

        data = _step(settings).data
        write_data(Store(root).path(data))
        write_record(Store(root).path(data), data, ())
        found: dict[str, list[Speed]] = {"two Steps": [], "DataLoader loop": [], "in-memory loop": []}
        for turn in range(options.rounds):
            found["two Steps"].append(side_by_side(root, settings, turn))
            found["DataLoader loop"] += in_processes(plain_training, [(str(root), settings)], threads=2)
            found["in-memory loop"] += in_processes(plain_training_in_memory, [(str(root), settings)], threads=2)
        _print(found)
        if options.ladder:
            _print_ladder(root, settings)


def _print(found: dict[str, list[Speed]]) -> None:
    print(f"{'':<18}{'samples/s wall':>16}{'samples/s cpu':>16}")
    for name, speeds in found.items():
        print(f"{name:<18}{median(wall for wall, _ in speeds):>16.0f}{median(cpu for _, cpu in speeds):>16.0f}")
    for peer in ("DataLoader loop", "in-memory loop"):
        pairs = list(zip(found["two Steps"], found[peer], strict=True))
        wall, cpu = (median(ours[unit] / theirs[unit] for ours, theirs in pairs) for unit in (0, 1))
        print(f"two Steps / {peer}: {wall:.2f} by the clock, {cpu:.2f} by processor time")


def _print_ladder(root: Path, settings: dict[str, Any]) -> None:
    from surefoot.contrastive import ladder

    for name in ladder():
        call = (str(root), f"ladder-{name}", {**settings, "model": name}, None)
        print(
            name, f"{in_processes(surefoot_training, [call], threads=1)[0][1]:.0f} samples a second of processor time"
        )


if __name__ == "__main__":
    sys.exit(main())
