"""A small world, and a script that trains on it, killed twice on the way: python train_shapes.py DIRECTORY."""

import json
import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import open_clip  # noqa: F401 - loaded once, before the processes part

from surefoot.contrastive import Drawings, Pretrain, TrainingPairs
from surefoot.core import Store, StoredInputs, write_record
from surefoot.training import _loop

COLOURS = {"red": (220, 30, 30), "green": (30, 160, 30), "blue": (40, 40, 220), "black": (10, 10, 10)}
DATA = TrainingPairs(drawings=(Drawings(style="twemoji"),))  # its place in a store; what lies there is ours
STEP = Pretrain(data=DATA, model="rn-4", samples=1600, batch=16, augmentation="colour", learning_rate=3e-3)

SHORT = replace(STEP, samples=256)


def write_shapes(directory: Path) -> None:
    """Squares and discs in four colours, at five places each, with captions, as the directory of a data Step."""
    rows, columns = np.mgrid[:32, :32]
    images, captions = [], []
    for name, colour in COLOURS.items():
        for shape in ("square", "disc"):
            for place in range(8, 24, 3):
                far = (
                    np.hypot(rows - 16, columns - place)
                    if shape == "disc"
                    else np.maximum(abs(rows - 16), abs(columns - place))
                )
                images.append(np.where((far < 8)[..., None], np.array(colour), 255).astype(np.uint8))
                captions.append([f"{name} {shape}", f"a {shape} that is {name}"])
    directory.mkdir(parents=True)
    np.save(directory / "images.npy", np.stack(images))
    (directory / "captions.json").write_text(json.dumps(captions))
    write_record(directory, DATA, ())


def train_in(directory: Path, step: Pretrain = SHORT) -> list[object]:
    """Make the Step in a directory, anew or from its checkpoints; returns what it measured."""
    store = Store(directory / "store")
    if not store.has(DATA):
        write_shapes(store.path(DATA))
    out = directory / "work" / "part"
    out.mkdir(parents=True, exist_ok=True)
    return list(step.make(out, StoredInputs(store)))


def killed_after_a_checkpoint(directory: Path) -> bool:
    """Train in a process of its own, killed as soon as it has left a new checkpoint; returns whether it was."""
    checkpoint = directory / "work" / "resume" / _loop.CHECKPOINT
    before = checkpoint.stat().st_mtime_ns if checkpoint.is_file() else 0
    child = os.fork()
    if not child:
        _loop.CHECKPOINT_SECONDS = 0.0
        train_in(directory)
        os._exit(0)
    while not (checkpoint.is_file() and checkpoint.stat().st_mtime_ns > before):
        if os.waitpid(child, os.WNOHANG) != (0, 0):
            return False
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


if __name__ == "__main__":
    place = Path(sys.argv[1])
    for _ in range(2):
        if not killed_after_a_checkpoint(place) or (place / "work" / "part" / "model.safetensors").exists():
            sys.exit("The training ended before it was killed.")
    train_in(place)
