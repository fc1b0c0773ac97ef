"""A recording is made of the second call of a kind, and gives what the function gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from cst_core import replay
from cst_core.replay import Recording, Replay


def shifted(tensor: Tensor, weight: Tensor, settings: float) -> Tensor:
    return tensor * weight.sum() + settings


class Counted:
    """`shifted`, and how often it was called."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, tensor: Tensor, weight: Tensor, settings: float) -> Tensor:
        self.calls += 1
        return shifted(tensor, weight, settings)


@pytest.fixture
def recordings(monkeypatch: pytest.MonkeyPatch) -> list[Recording]:
    """Recordings as CUDA makes them, without CUDA: fixed memory that a launch reads and writes."""
    made: list[Recording] = []

    def record(function: Callable[..., Tensor], tensors: Sequence[Tensor], settings: float) -> Recording:
        inputs = tuple(tensor.clone() for tensor in tensors)
        output = torch.empty_like(function(*inputs, settings))
        made.append(Recording(inputs, output, lambda: output.copy_(shifted(*inputs, settings))))
        return made[-1]

    monkeypatch.setattr(replay, "recordable", lambda tensors: True)  # noqa: ARG005
    monkeypatch.setattr(replay, "record", record)
    return made


def numbers(size: int, seed: int = 0) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(seed))


def test_every_call_gives_what_the_function_gives(recordings: list[Recording]):
    function = Counted()
    again = Replay(function)
    found = [again(numbers(5, seed), numbers(3, -seed - 1), settings=2.0) for seed in range(4)]
    for seed, each in enumerate(found):  # an earlier result is not written over by a later one
        assert torch.equal(each, shifted(numbers(5, seed), numbers(3, -seed - 1), 2.0))
    assert function.calls == 2  # as it is, and recorded
    assert len(recordings) == 1


@pytest.mark.parametrize("other", [(6, torch.float32, 2.0), (5, torch.float64, 2.0), (5, torch.float32, 3.0)])
def test_another_kind_is_recorded_anew(recordings: list[Recording], other: tuple[int, torch.dtype, float]):
    again = Replay(Counted())
    for size, dtype, settings in 3 * [(5, torch.float32, 2.0)] + 3 * [other] + 2 * [(5, torch.float32, 2.0)]:
        given = numbers(size).to(dtype), numbers(3).to(dtype)
        assert torch.equal(again(*given, settings=settings), shifted(*given, settings))
    assert len(recordings) == 3


def test_elsewhere_than_on_cuda_it_is_only_called():
    function = Counted()
    again = Replay(function)
    for _ in range(3):
        again(numbers(5), numbers(3), settings=2.0)
    assert function.calls == 3


@pytest.mark.gpu
def test_recorded_on_cuda():
    function = Counted()
    again = Replay(function)
    for seed in range(5):
        given = numbers(1000, seed).cuda(), numbers(3, seed + 9).cuda()
        assert torch.equal(again(*given, settings=2.0), shifted(*given, 2.0))
    assert function.calls == 2


@pytest.mark.gpu
def test_recording_can_be_switched_off(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(replay.SWITCH, "0")
    function = Counted()
    again = Replay(function)
    for _ in range(3):
        again(numbers(5).cuda(), numbers(3).cuda(), settings=2.0)
    assert function.calls == 3
