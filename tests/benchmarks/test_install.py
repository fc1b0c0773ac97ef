"""What pip is told."""

from benchmarks.peers.install import REQUIREMENTS, pip_arguments
from benchmarks.peers.tools import FOLDER, TOOLS


def test_torch_is_configurable_and_only_where_it_is_needed() -> None:
    with_torch = pip_arguments("convexadam", "torch==2.13.0", "https://example.org/cpu")
    assert with_torch[-1] == "torch==2.13.0"
    assert with_torch[-4:-2] == ["--extra-index-url", "https://example.org/cpu"]
    assert "--extra-index-url" not in pip_arguments("convexadam", "torch", "")
    assert pip_arguments("greedy", "torch==2.13.0", "https://example.org/cpu")[-1] == "picsl_greedy==1.4.0.3"


def test_every_tool_has_its_adapter() -> None:
    for name, tool in TOOLS.items():
        assert (FOLDER / "adapters" / f"{tool.adapter}.py").exists(), name
        assert tool.knob.low < tool.knob.default < tool.knob.high


def test_tools_of_one_environment_need_the_same() -> None:
    for tool in TOOLS.values():
        assert REQUIREMENTS[tool.environment] == tool.requirements
