"""Other registration tools, each in a virtual environment of its own: never a dependency of cst.

python -m benchmarks.peers.install TOOL... | all [--torch REQUIREMENT] [--torch-index URL]

``--torch`` and ``--torch-index`` are for tools that need torch: its CPU build, as .ci/setup takes it. deeds has no
package: its environment holds what the adapter needs, its binaries are named by `compare_images --deeds FOLDER`.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys

from benchmarks.peers.point_tools import ENVIRONMENTS_OF_POINTS
from benchmarks.peers.tools import ENVIRONMENTS, TOOLS

REQUIREMENTS = {tool.environment: tool.requirements for tool in TOOLS.values()} | dict(ENVIRONMENTS_OF_POINTS)
CPU_TORCH = "https://download.pytorch.org/whl/cpu"


def main() -> None:
    """Make or complete the environments that are named; exit code 1 if one of them failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tools", nargs="+", choices=[*REQUIREMENTS, "all"], metavar="TOOL")
    parser.add_argument("--torch", default="torch", help="requirement, e.g. torch==2.13.0")
    parser.add_argument("--torch-index", default=CPU_TORCH, help="extra index; empty: pip's own alone")
    options = parser.parse_args()
    failed = []
    for name in REQUIREMENTS if "all" in options.tools else options.tools:
        print(f"{name}: {', '.join(REQUIREMENTS[name])}", flush=True)
        try:
            install(name, options.torch, options.torch_index)
        except subprocess.CalledProcessError as error:
            print(f"{name}: failed, {error}; the others go on", flush=True)
            failed.append(name)
    sys.exit(f"not installed: {', '.join(failed)}" if failed else 0)


def install(name: str, torch: str, index: str) -> None:
    """One environment; none is left that lacks its packages. Raises CalledProcessError where venv or pip fails."""
    folder = ENVIRONMENTS / name
    is_new = not (folder / "bin" / "python").exists()
    try:
        if is_new:
            subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(folder / "bin" / "python"), "-m", "pip", *pip_arguments(name, torch, index)], check=True)
    except subprocess.CalledProcessError:
        if is_new:  # where there is a folder, a tool counts as installed
            shutil.rmtree(folder, ignore_errors=True)
        raise


def pip_arguments(name: str, torch: str, index: str) -> list[str]:
    """What pip is told for a tool; ``index`` counts only where torch is needed."""
    needed = REQUIREMENTS[name]
    requirements = [torch if requirement == "torch" else requirement for requirement in needed]
    extra = ["--extra-index-url", index] if index and "torch" in needed else []
    return ["install", "--quiet", "--prefer-binary", *extra, *requirements]


if __name__ == "__main__":
    main()
