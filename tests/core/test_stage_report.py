"""The line a stage prints, and what the first features are called in it and in the log."""

from types import SimpleNamespace
from typing import Any

import pytest

from cst_core.config import TrainConfig
from cst_core.evaluation import stage_table
from cst_core.progress import Progress
from cst_core.stage_report import StageReport


class Kept:
    """A run and its progress, in memory."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.logged: dict[int, Any] = {}

    def line(self, text: str) -> None:
        self.lines.append(text)

    def evaluations(self) -> dict[int, Any]:
        return self.logged

    def evaluated(self, stage: int, summary: Any) -> None:
        self.logged[stage] = summary

    def finish_stage(self, *_: Any) -> None: ...


def report(kept: Any, toy: Any, cases: Any) -> StageReport:
    config: Any = SimpleNamespace(train=TrainConfig(), backend=toy.config_class())
    progress: Progress = kept
    return StageReport(kept, toy, toy.backend(toy.config_class(), "cpu"), config, "phantom", cases, progress)


@pytest.mark.parametrize("name", ["random features", "MIND features"])
@pytest.mark.parametrize("truth", [True, False])
def test_the_first_features_are_called_what_they_are(toy, name, truth):
    kept, config = Kept(), toy.config_class()
    cases = toy.read_data("phantom", None, config, "cpu").test[:2] if truth else []
    network = toy.backend(config, "cpu").new_network(0)
    if name != "random features":
        network.features_name = name
    report(kept, toy, cases).after_stage(0, network)
    assert kept.lines[0].startswith(f"stage 0 ({name}): ")
    # a run that goes on later knows it from its log
    report(kept, toy, cases).after_stage(1, toy.backend(config, "cpu").new_network(1))
    assert kept.lines[1].startswith("stage 1: ")
    assert (f", {name} " in kept.lines[1]) == truth
    if truth:
        assert any(cell == name for cell in stage_table(kept.logged).columns[0].cells)
