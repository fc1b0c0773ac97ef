"""Do the tests notice when a solver is changed? Mutants of field, coupled convex and belief propagation, by mutmut.

    python -m benchmarks.mutation [--count] [--json benchmarks/results/mutation.json]

``[tool.mutmut]`` in pyproject.toml says which modules and which tests: those of the module alone, so that a mutant
costs seconds. Properties are not mutated (mutmut cannot). What is known already is not tried again: remove ``mutants/``
to begin anew. mutmut forks each mutant from the process that has run the tests, which is safe with one thread alone,
and with a threading layer of numba's that survives it; both are set here. A mutant that runs out of time counts as
noticed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tomllib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.record import circumstances, write

ROOT = Path(__file__).parents[1]
ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL", "NUMBA")}
NOTICED = {1: "failed", 3: "failed", 36: "out of time", -24: "out of time", 24: "out of time", 152: "out of time"}
"""By the exit code that mutmut keeps; 0 is a survivor."""


def main() -> None:
    """Mutate, print, write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--count", action="store_true", help="what mutmut run has found before, without another run")
    options = parser.parse_args()
    environment = {**os.environ, **ONE_THREAD, "NUMBA_THREADING_LAYER": "workqueue"}
    environment.pop("PYTHONPATH", None)  # the mutants must be found, not what they were made from
    if not options.count:
        subprocess.run(["mutmut", "run", "--max-children", "1"], cwd=ROOT, env=environment, check=True)
    result = {"modules": results(ROOT), "circumstances": circumstances(1)}
    for name, row in result["modules"].items():
        print(f"{name}: {row['noticed']} of {row['mutants']} mutants noticed ({row['score']:.1%})")
        print("".join(f"  {survivor}\n" for survivor in row["survivors"]), end="")
    write(result, options.json)


def results(root: Path) -> dict[str, Any]:
    """By module: how many mutants there are, how many were noticed, and what the others change."""
    modules = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["mutmut"]["only_mutate"]
    found = {}
    for module in modules:
        codes = json.loads((root / "mutants" / f"{module}.meta").read_text())["exit_code_by_key"]
        found[module] = {**counted(codes), "survivors": [changed(root, name) for name in codes if codes[name] == 0]}
    return found


def counted(codes: Mapping[str, int | None]) -> dict[str, Any]:
    """Figures of one module; ValueError where a mutant was not tried, or ended in an unknown way."""
    if unknown := {name: code for name, code in codes.items() if code != 0 and code not in NOTICED}:
        raise ValueError(f"mutants: neither noticed nor survived: {unknown}")
    noticed = Counter(NOTICED[code] for code in codes.values() if code)
    return {
        "mutants": len(codes),
        "noticed": noticed.total(),
        "out_of_time": noticed["out of time"],
        "score": round(noticed.total() / len(codes), 4),
    }


def changed(root: Path, name: str) -> str:
    """The mutant's line."""
    shown = subprocess.run(["mutmut", "show", name], cwd=root, check=True, capture_output=True, text=True).stdout
    lines = [line[1:].strip() for line in shown.splitlines() if line.startswith("+") and not line.startswith("+++")]
    return f"{name.partition('.x')[2].strip('_ǁ')}: {' '.join(lines)}"


if __name__ == "__main__":
    main()
