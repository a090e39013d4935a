"""`surefoot evaluate` beside clip-benchmark: one checkpoint, WebDataset shards of photographs, the same prompts.

Both measure zero-shot classification and retrieval both ways: ours in one command, the peer in one a task. Prints the
images a second by the clock and the processor seconds, of the whole commands, and what both measured.

    python benchmarks/evaluate.py --peer VENV/bin/python

The peer pins old packages: give the Python of an environment of its own with `clip-benchmark`. By default it computes
in mixed precision (`amp`), which a processor without bfloat16 emulates; `--no_amp` is 32 bits, as ours.
"""

import argparse
import io
import json
import os
import resource
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

CLASSES = ("cat", "dog", "ship", "truck")
TEMPLATE = "a photo of a {c}."
SHARDS = 4
PEER = {"zeroshot_classification": "data", "zeroshot_retrieval": "captions"}


def photograph(seed: int, size: tuple[int, int]) -> bytes:
    """A JPEG with the spectrum of a photograph, more or less: noise at several scales."""
    generator, width, height = np.random.default_rng(seed), *size
    layers = [
        np.asarray(
            Image.fromarray(generator.integers(0, 256, (height // step, width // step, 3), np.uint8)).resize(size),
            np.float32,
        )
        / rank
        for rank, step in enumerate((64, 16, 4), 1)
    ]
    stream = io.BytesIO()
    Image.fromarray(np.clip(sum(layers) / 1.8, 0, 255).astype(np.uint8)).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def write_data(place: Path, count: int, size: tuple[int, int]) -> None:
    """Shards as clip-benchmark wants them, one for each of its workers, and prompts and classes for both."""
    (place / "test").mkdir(parents=True)
    (place.parent / "captions").mkdir()
    (place.parent / "captions" / "test").symlink_to(place / "test")
    (place.parent / "captions" / "dataset_type.txt").write_text("retrieval")
    (place / "test" / "nshards.txt").write_text(f"{SHARDS}\n")
    (place / "classnames.txt").write_text("\n".join(CLASSES))
    (place / "zeroshot_classification_templates.txt").write_text(TEMPLATE)
    (place / "templates.txt").write_text(TEMPLATE.replace("{c}", "{}"))
    for shard in range(SHARDS):
        with tarfile.open(place / "test" / f"{shard}.tar", "w") as archive:
            for row in range(shard, count, SHARDS):
                texts = {"cls": str(row % len(CLASSES)), "txt": f"{CLASSES[row % len(CLASSES)]} number {row}"}
                for suffix, data in (("jpg", photograph(row, size)), *((k, v.encode()) for k, v in texts.items())):
                    member = tarfile.TarInfo(f"{row:06d}.{suffix}")
                    member.size = len(data)
                    archive.addfile(member, io.BytesIO(data))


def timed(command: list[str], place: Path) -> tuple[float, float, str]:
    """Seconds by the clock, processor seconds, and what was printed."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False, env=os.environ)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout}\n{done.stderr}")
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", required=True, help="a Python with clip-benchmark")
    parser.add_argument("--model", default="ViT-B-32")
    parser.add_argument("--pictures", type=int, default=256)
    parser.add_argument("--size", type=int, nargs=2, default=(1600, 1200))
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "2"
    with TemporaryDirectory() as folder:
        place = Path(folder)
        write_data(place / "data", options.pictures, tuple(options.size))
        save = (
            "import open_clip, torch, sys; from safetensors.torch import save_file; torch.manual_seed(0); "
            "m = open_clip.create_model(sys.argv[1]); "
            "save_file({k: v.contiguous() for k, v in m.state_dict().items()}, 'model.safetensors')"
        )
        subprocess.run([sys.executable, "-c", save, options.model], cwd=place, check=True, capture_output=True)
        ours = [sys.executable, "-c", "from surefoot.cli import main; main()", "evaluate", "--model", options.model]
        ours += ["--pretrained", "model.safetensors", "--images", "data/test", "--classes", "data/classnames.txt"]
        ours += ["--templates", "data/templates.txt", "--format", "json", "--task", "zero-shot", "--task", "retrieval"]
        runs = {
            "ours": [ours],
            "peer, 32 bits": [peer_command(options, task, "--no_amp") for task in PEER],
            "peer, as it comes": [peer_command(options, task) for task in PEER],
        }
        first: tuple[float, float] | None = None
        for name, commands in runs.items():
            done = [timed(command, place) for command in commands]
            wall, cpu = sum(one[0] for one in done), sum(one[1] for one in done)
            first = first or (wall, cpu)
            print(f"{name}: {options.pictures / wall:.2f} images/s, {cpu:.1f} CPU s", flush=True)
            print(f"  {wall / first[0]:.2f} times our time by the clock, {cpu / first[1]:.2f} times our CPU seconds")
            if name == "ours":
                found = {row["metric"]: row["value"] for row in json.loads(done[0][2])}
            else:
                files = [json.loads((place / f"{task}.json").read_text())["metrics"] for task in PEER]
                found = {"top1": files[0]["acc1"], **{k: v for k, v in files[1].items() if "recall" in k}}
            shown = ("top1", "image_retrieval_recall@5", "text_retrieval_recall@5")
            print("  " + ", ".join(f"{metric} {found[metric]:.6f}" for metric in shown), flush=True)


def peer_command(options: argparse.Namespace, task: str, *words: str) -> list[str]:
    """clip-benchmark on one task."""
    root = PEER[task]
    command = [options.peer, "-m", "clip_benchmark.cli", "eval", "--dataset", "wds/x", "--dataset_root", root]
    command += ["--model", options.model, "--pretrained", "model.safetensors", "--task", task]
    return [*command, "--recall_k", "1", "5", "10", "--output", f"{task}.json", *words]


if __name__ == "__main__":
    main()
