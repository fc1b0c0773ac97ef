"""What the pages of results hold: a section a file; what is not there is said, with the command that makes it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.tables.ablations import test_time_section, training_section
from benchmarks.tables.comparison import comparison_section
from benchmarks.tables.faults import faults_section
from benchmarks.tables.scaling import batch_section, clouds_section, scans_section, side_section, store_section
from benchmarks.tables.speed import images_section, points_section
from benchmarks.tables.speed_tools import timing_images_section, timing_points_section
from benchmarks.tables.speed_training import training_cost_section

ROOT = Path(__file__).resolve().parents[2]
RESULTS, DOCS = ROOT / "benchmarks" / "results", ROOT / "docs" / "results"
_MADE = "<!-- Made by: python -m benchmarks.tables -->\n\n"


class Part(NamedTuple):
    """One section of a page."""

    title: str
    file: str
    section: Callable[..., str]
    """Of the file's name and content, and of that of ``beside``."""
    command: str
    """What makes the file."""
    beside: tuple[str, ...] = ()
    """Other files; an empty mapping stands for one that is not there."""


class Page(NamedTuple):
    """One page."""

    title: str
    about: str
    parts: tuple[Part, ...]


_RESULT = "benchmarks/results/"
_FULL = "make bench-full DATA=FOLDER"
_FAULTS = "python -m benchmarks.faults --json " + _RESULT + "faults.json"
_SCALING = "python -m benchmarks.scaling --json " + _RESULT + "scaling.json"
PAGES = {
    "comparison.md": Page(
        "Side by side",
        "Every method on the same test pairs, its labels warped and its landmarks moved by the same code. Supervisions "
        "share network, solver, schedule and augmentation; only what teaches differs. *saw* says what a method was "
        "given besides scans. *h alone* is the registration without instance optimisation, which makes up for much "
        "of what features lack. *Wide* networks have three times as many channels in their first block; *best*, on the "
        "lungs, is three trained networks side by side, on the abdomen the preset of that name. Our registrations of "
        "volumes penalise changes of volume beside roughness, as all presets but `paper` do at test time; those of "
        "*roughness alone*, and with *labels at 8 mm*, do not (`test_divergence=0`, `test_smoothness` 0.65 for the "
        "hippocampus and 1 for the abdomen). `make bench` repeats it on the phantoms, "
        "which need no data, `make bench-full DATA=FOLDER` on the real ones.\n"
        "\n[Measures](../explanation/measures.md) defines the figures; "
        "[Compare two models](../how-to/compare.md#at-equal-smoothness) says how SDlogJ is matched.\n\n"
        "![Dice and landmark error by stage](stages.svg)\n\n"
        "The test pairs after each stage, by what taught them (`python -m benchmarks.tables.figure_stages`); for the "
        "abdomen one run, three listed pairs, by roughness alone.\n",
        (
            Part("Lungs: COPDGene, five folds", "comparison_lungs.json", comparison_section, _FULL),
            Part("Hippocampus, MR", "comparison_hippocampus.json", comparison_section, _FULL),
            Part(
                "Hippocampus, consecutive subjects",
                "comparison_hippocampus_consecutive.json",
                comparison_section,
                "python -m benchmarks.consecutive --data FOLDER --out PAIRS` and then `python -m benchmarks.model_row "
                "--backend image --model RUN --method NAME --data PAIRS --json "
                + _RESULT
                + "comparison_hippocampus_consecutive.json",
            ),
            Part("Abdomen, CT at 4 mm, the three listed pairs", "comparison_abdomen.json", comparison_section, _FULL),
            Part(
                "Abdomen, CT at 4 mm, twenty pairs of training scans",
                "comparison_abdomen_training_pairs.json",
                comparison_section,
                "python -m benchmarks.peers.compare_images --data FOLDER --preset coarse --split train "
                "--set max_train_pairs=20 --tools greedy convex-mind-adam --json "
                + _RESULT
                + "comparison_abdomen_training_pairs.json",
            ),
        ),
    ),
    "ablations.md": Page(
        "What each part is worth",
        "On the hippocampus, pairs of subjects that were not trained on. Adam penalises changes of volume beside "
        "roughness at test time, as the preset says, except beyond the paper (`--set test_smoothness=0.65 --set "
        "test_divergence=0`).\n",
        (
            Part(
                "In training",
                "ablation_training.json",
                training_section,
                "python benchmarks/ablation_training.py --data FOLDER --fold 1 --json "
                + _RESULT
                + "ablation_training.json",
            ),
            Part(
                "In training, beyond the paper",
                "beyond.json",
                training_section,
                "python benchmarks/beyond.py --data FOLDER --fold 1 --iterations 100 --json " + _RESULT + "beyond.json",
            ),
            Part(
                "At test time",
                "hippocampus_test_time.json",
                test_time_section,
                "python benchmarks/ablation.py --data FOLDER --fold 1 --json " + _RESULT + "hippocampus_test_time.json",
            ),
        ),
    ),
    "scaling.md": Page(
        "What grows",
        "Processor seconds and peak memory, each point a process of its own on one thread; memory is what the process "
        "took beyond the 0.46 GB that Python, torch and numba need. An exponent is the slope of the least-squares line "
        "through the logarithms: 1 is proportional, 0 is flat.\n\n"
        "![Seconds and memory against scans and voxels](scaling.svg)\n",
        tuple(
            Part(title, "scaling.json", section, _SCALING)
            for title, section in (
                ("With the number of scans", scans_section),
                ("With the number of clouds", clouds_section),
                ("With the size of a volume", side_section),
                ("With the number of labels", store_section),
                ("With the pairs of a batch", batch_section),
            )
        ),
    ),
    "speed.md": Page(
        "How fast it is",
        "On a CPU, as ratios of what one run measured: seconds are of one machine, ratios of most. *textbook*: the "
        "same result from whole tensors, autograd and library optimisers, in plain torch on the same threads; a dash "
        "where ours is what a textbook writes, or was timed as a part. *floor*: the longer of two times that the "
        "machine needs at least, for the step's operations at the rate of its multiply-adds, and for the bytes it must "
        "read and write at the rate of its memory. What fits into the cache, or needs fewer operations than counted, "
        "may be above its floor.\n",
        (
            Part(
                "Each step of volumes",
                "speed_image.json",
                images_section,
                "python -m benchmarks.speed.image --json " + _RESULT + "speed_image.json",
            ),
            Part(
                "Each step of clouds",
                "speed_points.json",
                points_section,
                "python -m benchmarks.speed.points --data FOLDER --json " + _RESULT + "speed_points.json",
            ),
            Part(
                "Hippocampus, beside other tools",
                "timing_hippocampus.json",
                timing_images_section,
                "python -m benchmarks.peers.time_images --data FOLDER --fold 1 --preset small --model hippocampus "
                f"--json {_RESULT}timing_hippocampus.json",
                ("comparison_hippocampus.json",),
            ),
            Part(
                "Lungs, beside other tools",
                "comparison_lungs.json",
                timing_points_section,
                _FULL,
                ("timing_lungs.json", "copd.json"),
            ),
            Part(
                "What a training costs",
                "scaling.json",
                training_cost_section,
                _SCALING,
                ("speed_image.json", "speed_points.json", "comparison_hippocampus.json", "comparison_lungs.json"),
            ),
        ),
    ),
    "faults.md": Page(
        "When something goes wrong",
        "Each fault was provoked for real: full and read-only disks are small file systems in memory, signals are "
        "sent, files are cut, bits flipped. What is said is what `cst` wrote, with short names for folders; an "
        "error goes to stderr, in one line, and names file or option, rule, value and remedy. "
        "Weights are compared by their SHA-256. "
        f"`{_FAULTS}` does it all, and fails if a message, an exit code or a remedy is not as it should be. "
        "Kills at random moments are in `python -m benchmarks.kills`, damaged and hostile files by the thousand in "
        "`python -m benchmarks.fuzz`.\n",
        tuple(
            Part(title, "faults.json", faults_section(group), _FAULTS)
            for group, title in (
                ("machine", "The machine"),
                ("training", "A training"),
                ("input", "Scans, clouds, lists"),
                ("command", "The command line"),
                ("stranger", "Files of strangers"),
            )
        ),
    ),
}


def rendered(page: Page, results: Path) -> str:
    """A page's Markdown; the same bytes for the same results."""
    parts = [f"# {page.title}\n\n{_MADE}{page.about}"]
    for part in page.parts:
        file = results / part.file
        beside = [_content(results / name) for name in part.beside]
        made = part.section(part.file, _content(file), *beside) if file.exists() else _missing(part)
        parts.append(f"## {part.title}\n\n{made}")
    return "\n".join(parts)


def _content(file: Path) -> Mapping[str, Any]:
    return json.loads(file.read_text()) if file.exists() else {}


def _missing(part: Part) -> str:
    return f"Not measured yet: there is no `benchmarks/results/{part.file}`. `{part.command}` makes it.\n"
