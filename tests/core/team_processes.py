"""What the processes of the tests' teams do, where these can import it."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import pickle
import socket
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from copy import deepcopy
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numba
import torch
from torch import Tensor, nn

from cst_core.backend import Registration
from cst_core.config import TrainConfig
from cst_core.errors import DataError
from cst_core.event import Event
from cst_core.global_norm import global_statistics
from cst_core.labelling import make_labels
from cst_core.labels import PseudoLabels
from cst_core.launch import Place
from cst_core.processes import Processes
from cst_core.team import Alone, Team, sum_gradients
from cst_core.training import self_train

Job = Callable[[Team, Any], Any]


class Said(NamedTuple):
    """How a process ended."""

    result: Any
    """What its job returned, or the error that it raised."""
    text: str
    """What it printed."""


def in_processes(size: int, job: Job, given: Any, folder: Path) -> list[Any]:
    """``job(team, given)`` in each of ``size`` gloo processes; what each returned.

    RuntimeError: one of them failed.
    """
    port = free_port()
    places = [Place(rank, size, rank, "127.0.0.1", port) for rank in range(size)]
    said = started([(_in_team, (place, job, given)) for place in places], folder)
    for one in said:
        if isinstance(one.result, Exception):
            raise RuntimeError(one.text) from one.result
    return [one.result for one in said]


def commands(size: int, arguments: Sequence[str], folder: Path, break_rank: int = -1, what: str = "") -> list[Said]:
    """``cst`` with these arguments in each of ``size`` processes, as torchrun would start it; see `Command`."""
    shared = {"WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    each = [shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(size)]
    return started([(command, (Command(arguments, environ, break_rank, what),)) for environ in each], folder)


def started(work: Sequence[tuple[Callable[..., Any], tuple[Any, ...]]], folder: Path) -> list[Said]:
    """Call each function in a process of its own, all at once; AssertionError where one hangs.

    They are forks of a process that has imported ours once, and started no thread.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["torch", "cst_core.cli", "cst_core.cli_train", "cst_core.processes"]
    )  # once for all
    processes = [context.Process(target=_told, args=(*one, folder / f"said-{place}")) for place, one in enumerate(work)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        if process.exitcode is None:
            process.kill()
            raise AssertionError("a process hangs")
    return [Said(*pickle.loads((folder / f"said-{place}").read_bytes())) for place in range(len(work))]


def free_port() -> int:
    """One that nobody listens at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _told(function: Callable[..., Any], arguments: tuple[Any, ...], path: Path) -> None:
    torch.set_num_threads(1)
    numba.set_num_threads(1)
    with path.with_suffix(".txt").open("w") as stream, redirect_stdout(stream), redirect_stderr(stream):
        try:
            result = function(*arguments)
        except Exception as error:
            traceback.print_exc()
            result = error
    path.write_bytes(pickle.dumps((result, path.with_suffix(".txt").read_text())))
    os._exit(0)  # nothing is tidied up, as where a process fails


def _in_team(place: Place, job: Job, given: Any) -> Any:
    team = Processes(place, "cpu")
    result = job(team, given)
    team.close()
    return result


class Numbers:
    """Pairs are numbers; the field of one has as many sites as it says, and is the number everywhere."""

    def __init__(self) -> None:
        self.registered: list[int] = []

    def new_network(self, seed: int) -> nn.Module:
        del seed
        return nn.Linear(1, 1)

    def predict(self, network: nn.Module, pairs: Any) -> list[Tensor]:
        raise NotImplementedError

    def augment(self, pair: int, label: Tensor | None, generator: Any) -> Any:
        raise NotImplementedError

    def register(self, network: nn.Module, pair: int) -> Registration:
        del network
        self.registered.append(pair)
        field = torch.full((3, sites_of(pair)), float(pair))
        return Registration(field, field + 1)


def sites_of(pair: int) -> int:
    return 5 + pair * 37 % 60


def label(team: Team, given: tuple[float | None, Path | None]) -> Any:
    """Labels of 40 such pairs: bytes by pair, difficulties, who was registered here, what was told."""
    gb, folder = given
    labels, backend, events = PseudoLabels(40, folder, "s", team.rank), Numbers(), list[Event]()
    make_labels(backend, nn.Linear(1, 1), range(40), labels, TrainConfig(max_labels_gb=gb), 1, events.append, team)
    found = {pair: labels[pair].numpy().tobytes() for pair in labels.pairs}
    told = sorted((event.done, event.value) for event in events)
    return found, labels.difficulties, backend.registered, told


class Training(NamedTuple):
    """What `train` is given."""

    backend: Any
    pairs: Sequence[Any]
    settings: Mapping[str, Any]
    folder: Path


class Trained(NamedTuple):
    """What `train` returns."""

    state: dict[str, Tensor]
    """Weights and buffers in the end."""
    gradients: dict[str, Tensor]
    """Of the last step."""


def train(team: Team, given: Training) -> Trained:
    """All of training."""
    settings = TrainConfig(**given.settings)
    network = self_train(given.backend, given.pairs, settings, labels_folder=given.folder, team=team).network
    gradients = {name: parameter.grad for name, parameter in network.named_parameters() if parameter.grad is not None}
    return Trained(network.state_dict(), gradients)


def train_alone(team: Team, given: Training) -> Trained:
    """As `train` without a team."""
    del team
    return train(Alone(), given)


def check_first_step(training: Training, folder: Path) -> None:
    """Labels, and gradients and batch statistics of the first step, of two processes are those of one.

    Adam makes steps of one size of gradients of any size, also of those that are rounding alone: its weights are no
    measure.
    """
    only = training._replace(settings={"stages": 1, "iterations": 1, "batch_size": 4})
    # in a process as the others are: what threads the tests' own has, changes the order of sums
    (alone,) = in_processes(1, train_alone, only._replace(folder=folder / "alone"), folder)
    one, other = in_processes(2, train, only._replace(folder=folder / "team"), folder)
    assert all(torch.equal(tensor, other.state[name]) for name, tensor in one.state.items())
    largest = max(float(gradient.norm()) for gradient in alone.gradients.values())
    assert alone.gradients.keys() == one.gradients.keys()
    for name, gradient in alone.gradients.items():
        assert (one.gradients[name] - gradient).norm() < 1e-4 * largest, name
    for name, tensor in alone.state.items():
        if "running" in name:
            assert torch.allclose(one.state[name], tensor, rtol=1e-4, atol=1e-6), name
    made = sorted((folder / "alone" / "stage-01").glob("*.npy"))
    assert len(made) == len(training.pairs)
    for path in made:
        assert path.read_bytes() == (folder / "team" / "stage-01" / path.name).read_bytes()


def normalise(team: Team, given: Tensor) -> dict[str, Any]:
    """Batch norm of this process's share of ``given``, 3 of 8 for process 0, 5 for process 1."""
    torch.manual_seed(1)
    norm = nn.BatchNorm3d(given.shape[1], momentum=0.3)
    nn.init.normal_(norm.weight)
    network = nn.Sequential(norm, nn.ReLU(inplace=True))
    share = (given if team.size == 1 else (given[:3], given[3:])[team.rank]).clone().requires_grad_()
    with global_statistics(network, team):
        y = network(share)
    loss = (y * torch.arange(y[0].numel()).view_as(y[0]).cos()).square().sum()
    loss.backward()
    total = sum_gradients(network, loss, team)
    state = deepcopy(network.state_dict())
    with global_statistics(network, team):
        half = network(share.detach().bfloat16()) if team.size > 1 else y
    network.load_state_dict(state)
    return {
        "y": y.detach(),
        "gradient": share.grad,
        "parameters": [parameter.grad for parameter in network.parameters()],
        "loss": total.detach(),
        "state": state,
        "half": half.dtype,
        "evaluated": network.eval()(share).detach(),
    }


class Command(NamedTuple):
    """What `command` is given."""

    arguments: Sequence[str]
    environ: Mapping[str, str]
    break_rank: int
    """The process in which something breaks."""
    what: str
    """``module.attribute`` that raises there, when called the third time."""


def command(given: Command) -> int:
    """``cst`` as a launcher starts it; the exit code."""
    from cst_core.cli import main

    os.environ |= given.environ
    if given.what and int(given.environ["RANK"]) == given.break_rank:
        module, kind, name = given.what.split(":")
        owner, calls = getattr(import_module(module), kind), itertools.count(1)
        real = getattr(owner, name)

        def breaks(*arguments: Any) -> Any:
            if next(calls) == 3:
                raise DataError("a scan: is broken")
            return real(*arguments)

        setattr(owner, name, breaks)
    try:
        main(list(given.arguments))
    except SystemExit as end:
        return int(end.code or 0)
