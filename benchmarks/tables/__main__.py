"""The tables of the documentation from the results, so that no figure is copied by hand.

    python -m benchmarks.tables                                       # writes docs/results/*.md
    python -m benchmarks.tables --show runs/bench/comparison_*.json   # these tables on the screen; nothing is written

Table 3 comes from ``comparison_DATA.json``, Table 1 from ``ablation_training.json``, ``beyond.json`` and
``hippocampus_test_time.json``, the page of speed from ``speed_*.json`` and ``timing_*.json``, all in
benchmarks/results. What is not there is said, with the command that makes it.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from benchmarks.tables.comparison import comparison_tables, origins
from benchmarks.tables.pages import DOCS, PAGES, RESULTS, rendered


def main() -> None:
    """Write the pages, or show some files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--out", type=Path, default=DOCS)
    parser.add_argument("--show", type=Path, nargs="+", metavar="FILE")
    options = parser.parse_args()
    for file in options.show or ():
        result = json.loads(file.read_text())
        print(f"{file.stem}\n\n{comparison_tables(file.name, result)}\nHow each was made:\n\n{origins(result)}")
    if not options.show:
        options.out.mkdir(parents=True, exist_ok=True)
        for name, page in PAGES.items():
            (options.out / name).write_text(rendered(page, options.results), encoding="utf-8")
            print(options.out / name)


if __name__ == "__main__":
    main()
