"""Compiles the optional kernel of `surefoot.weights` when the package is built; without a C compiler it is left out.

Run as a script it compiles the kernel in place, for work from a checkout: python hatch_build.py
"""

import os
import shlex
import subprocess
import sys
import sysconfig
import zlib
from pathlib import Path
from typing import Any

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # as a script
    BuildHookInterface = object

SOURCE = Path(__file__).parent / "src" / "surefoot" / "weights" / "_arithmetic" / "_kernel.c"
# No contraction: a fused multiply-add rounds once where numpy rounds twice, and the bits would depend on the machine.
FLAGS = ("-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC")


def compile_kernel() -> Path | None:
    """Compile the kernel beside its source; None, with a line that says why, when it cannot be done."""
    out = SOURCE.with_name("libsurefoot.so")
    partial = out.with_name(f"libsurefoot.{os.getpid()}.part")
    command = [*shlex.split(os.environ.get("CC", "cc")), *FLAGS, f"-DSTAMP={zlib.crc32(SOURCE.read_bytes())}u"]
    try:
        subprocess.run([*command, str(SOURCE), "-o", str(partial)], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        partial.unlink(missing_ok=True)
        print(f"surefoot: the kernel was not compiled, numpy does its work: {error}", file=sys.stderr)
        return None
    return partial.replace(out)


class Hook(BuildHookInterface):  # type: ignore[misc]
    """Adds the compiled kernel to a wheel, which then is for this kind of machine and any Python 3."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile; called by hatchling before a wheel (or an editable install) is made."""
        out = compile_kernel()
        if out is not None:
            platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{platform}"
            build_data["artifacts"].append(str(out.relative_to(Path(__file__).parent)))


if __name__ == "__main__":
    raise SystemExit(0 if compile_kernel() else 1)
