"""CPU and memory of the table stages, a candidate: N synthetic candidates are read, deduplicated and thresholded.

python benchmarks/pairs_scale.py 10000 1000000 10000000

Each stage runs in a process of its own. Every tenth URL and every twentieth text comes twice. A row takes about 100
bytes on the disk and a stage writes it again: 10 million take 5 GB.
"""

import resource
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb

STAGES = {
    "read": "pairs_from_tables(sorted(Path('rows').iterdir()), Path('read'))",
    "deduplicate": "deduplicate(Path('read'), Path('unique'), DuplicateRules(by=('url', 'url+text', 'sha256')))",
    "subset": "subset(Path('unique'), 'width > 256', Path('strict'))",
}


def candidates(n: int, place: Path) -> None:
    """Files of a million rows."""
    (place / "rows").mkdir()
    for number, start in enumerate(range(0, n, 1_000_000)):
        drawn = f"""SELECT 'https://host' || n % 997 || '.org/' || md5((n - n % 10 // 9)::VARCHAR) || '.jpg' AS url,
            'a picture of ' || n // 2 AS text, n % 1000 AS width, md5((n // 20)::VARCHAR) AS page_url,
            md5((n - n % 20 // 19)::VARCHAR) AS sha256 FROM range({start}, {min(n, start + 1_000_000)}) t(n)"""
        duckdb.sql(f"COPY ({drawn}) TO '{place}/rows/{number:03d}.parquet' (FORMAT parquet, COMPRESSION zstd)")


def main() -> None:
    """Print a line a size and stage."""
    for n in map(int, sys.argv[1:]):
        with TemporaryDirectory() as place:
            candidates(n, Path(place))
            for stage, call in STAGES.items():
                code = f"from pathlib import Path\nfrom surefoot.pairs import *\n{call}\n"
                code += "import resource\nprint(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
                before = resource.getrusage(resource.RUSAGE_CHILDREN)
                Path(place, "stage.py").write_text(code)  # from -c, DuckDB would draw a bar of progress
                ended = subprocess.run([sys.executable, "stage.py"], cwd=place, check=True, stdout=subprocess.PIPE)
                after = resource.getrusage(resource.RUSAGE_CHILDREN)
                spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
                print(
                    f"{n:,} {stage}: {1e6 * spent / n:.2f} us of CPU a row, {int(ended.stdout) / 1024:.0f} MiB",
                    flush=True,
                )


if __name__ == "__main__":
    main()
