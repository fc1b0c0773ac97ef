"""What the command line needs of a backend besides the loop's four verbs.

A distribution adds a backend by declaring an entry point in the group ``cst.backends`` whose value is an object with
the attributes and methods of `BackendPlugin`. Nothing in this package has to change for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeVar

from pydantic import BaseModel
from torch import Tensor, nn

from cst_core.backend import Backend
from cst_core.supervision import Supervision

if TYPE_CHECKING:
    from cst_core.models import Model

Pair = TypeVar("Pair")


class Landmarks(NamedTuple):
    """Points that correspond: ``fixed[i]`` and ``moving[i]`` show the same anatomy. Both ``(L, 3)``, mm."""

    fixed: Tensor
    moving: Tensor


@dataclass(frozen=True)
class EvalCase(Generic[Pair]):
    """A pair and the truth about it. The only type that carries truth: training sees `pair` alone."""

    id: str
    pair: Pair
    landmarks: Landmarks | None = None
    correspondence: Tensor | None = field(default=None, kw_only=True)
    """``(3, *sites)``, mm: the displacement at every site of the pair's fields, where it is known."""


@dataclass(frozen=True)
class Dataset(Generic[Pair]):
    """What `BackendPlugin.read_data` found, already split by fold."""

    source: str
    """``phantom`` or the folder, as the manifest and the results name it."""
    fingerprint: str
    """SHA-256 over all that was read, in hexadecimal."""
    train: Sequence[EvalCase[Pair]]
    test: Sequence[EvalCase[Pair]]
    notes: Sequence[str] = field(default_factory=tuple)
    """Said to the user once: what was clamped, skipped or assumed."""
    train_notes: Sequence[str] = field(default_factory=tuple)
    """The same of the training pairs alone."""

    def split(self, name: str) -> Sequence[EvalCase[Pair]]:
        """The pairs that ``--split train`` and ``--split test`` mean."""
        return {"train": self.train, "test": self.test}[name]


@dataclass(frozen=True)
class PairScore:
    """One row of ``cst evaluate --json``; what does not apply to a backend is None. mm, seconds, Dice as a fraction."""

    id: str
    tre_mm: float | None = None
    tre_mm_initial: float | None = None
    dice: float | None = None
    dice_initial: float | None = None
    dice_per_label: dict[str, float] | None = None
    dice_per_label_initial: dict[str, float] | None = None
    hd95_mm: float | None = None
    sdlogj_l2r: float | None = None
    sdlogj: float | None = None
    folding_percent: float | None = None
    seconds: float | None = None


class Preset(NamedTuple):
    """A named set of overrides of the default configuration: ``train`` of `TrainConfig`, ``backend`` of its own."""

    about: str
    train: Mapping[str, Any]
    backend: Mapping[str, Any]


class BackendPlugin(Protocol[Pair]):
    """The second protocol: configuration, data, scoring and shipped weights, for ``cst`` verbs."""

    @property
    def name(self) -> str:
        """What ``--backend`` calls it."""
        ...

    @property
    def config_class(self) -> type[BaseModel]:
        """Its settings, a subclass of `cst_core.config.Settings`; every ``config`` below is one of these."""
        ...

    @property
    def presets(self) -> Mapping[str, Preset]:
        """By the names that ``--preset`` takes."""
        ...

    @property
    def default_preset(self) -> str:
        """Which of them serves without ``--preset``."""
        ...

    def backend(self, config: Any, device: str) -> Backend[Pair]:
        """The four verbs under this configuration, on ``cpu`` or ``cuda``."""
        ...

    def untrained(self, backend: Any, seed: int) -> nn.Module:
        """Random features: the network that makes the first labels, and ``--model random``.

        Others say what they are by an attribute ``features_name``.
        """
        ...

    def read_data(self, source: str, fold: int | None, config: Any, device: str) -> Dataset[Pair]:
        """Read and validate ``phantom`` or a folder; errors name file, rule, value and remedy (`DataError`)."""
        ...

    def score(self, backend: Any, network: nn.Module, case: EvalCase[Pair]) -> PairScore:
        """Register one pair and measure it against its truth."""
        ...

    def shipped(self) -> Mapping[str, Path]:
        """Weights that come with the package: name -> safetensors file."""
        ...

    def picture(self, backend: Any, network: nn.Module, case: EvalCase[Pair], path: Path) -> None:
        """A PNG of one pair before and after registration."""
        ...


@dataclass(frozen=True)
class RegisterRequest:
    """The files of one ``cst register``; None is a file that was not given. All that is named here exists."""

    fixed: Path
    moving: Path
    fixed_mask: Path | None = None
    moving_mask: Path | None = None
    fixed_labels: Path | None = None
    """For measuring only; the registration never sees labels or landmarks."""
    moving_labels: Path | None = None
    landmarks: Path | None = None
    """As `cst_core.formats.landmark_files` reads them."""
    affine: bool = True
    """Whether a pre-alignment may be estimated; else the scans lie where their headers say."""
    device: str = "cpu"


class FileRegistration(Protocol):
    """A third protocol, which a plugin may have besides `BackendPlugin`: ``cst register`` needs it."""

    def register_files(self, model: Model, request: RegisterRequest, folder: Path) -> Mapping[str, Any]:
        """Register one pair of files and write what was found into ``folder``, which exists and is empty.

        Returns the backend's part of register.json (`cst_core.register` adds versions, model, options and inputs):
        ``grid``, ``working_grid``, ``affine``, ``initial``, ``final``, ``sdlogj``, ``sdlogj_l2r``,
        ``folding_percent``, ``displacement_mm``, ``inverse_residual_mm``, ``confidence``, ``landmarks``, ``files``,
        ``seconds`` and ``notes``; what does not apply is None.

        Raises:
            DataError: a file cannot be used.
        """
        ...


class Supervising(Protocol[Pair]):
    """A further protocol, which a plugin may have: supervisions beside self-training (``cst train --supervision``)."""

    @property
    def supervisions(self) -> Mapping[str, str]:
        """Their names, each with a line about it."""
        ...

    def supervision(self, name: str, backend: Any, cases: Sequence[EvalCase[Pair]]) -> Supervision[Pair]:
        """The supervision of that name; ``cases`` are the training pairs, of which some need the truth.

        Raises:
            DataError: it needs a truth that the data does not have.
        """
        ...


class Informative(Protocol):
    """A further protocol, which a plugin may have: what ``cst info`` can tell beyond versions and models."""

    def checks(self, check: bool) -> Mapping[str, str]:
        """What works here, by name, in a line each; with ``check`` also what takes long to find out."""
        ...

    def recognise(self, folder: Path) -> str | None:
        """What a folder of data is to this backend, in a line; None if it is nothing. No large file is read."""
        ...


class Frugal(Protocol):
    """A further protocol, which a plugin may have: what to say where memory runs out."""

    @property
    def saves_memory(self) -> str:
        """The settings that take the most memory, to follow "lower": ``--set batch_size and towers``."""
        ...


class Tunable(Protocol):
    """A fifth protocol, which a plugin may have: ``cst tune`` needs it."""

    @property
    def regularisation(self) -> str:
        """The setting that makes fields smoother at test time: a field of `BackendPlugin.config_class`.

        Any positive number is allowed there; the larger it is, the smaller the standard deviation of log J, all the
        way; and `BackendPlugin.score` reads it.
        """
        ...


class Measured(Protocol):
    """A sixth protocol, which a plugin may have: whose figures are comparable under some settings only."""

    @property
    def measured_by(self) -> Sequence[str]:
        """Fields of `BackendPlugin.config_class` that change how a registration is measured, not the registration.

        ``cst evaluate`` says them where they are not at their defaults, and that results which differ in them are not
        comparable.
        """
        ...
