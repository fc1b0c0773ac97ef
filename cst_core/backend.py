"""The seam: what the self-training loop needs from a modality, and nothing more (Eq. 1).

A registration is ``f = h ∘ g``: g, a learned feature extractor; h, a solver without weights that turns the features of
the fixed and the moving scan into a displacement field. A `Backend` is one choice of g, h, augmentation and refinement.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, TypeVar

from torch import Generator, Tensor, nn

Pair = TypeVar("Pair")
"""What one modality calls a pair of scans: tensors only, never a segmentation or a landmark."""


class Registration(NamedTuple):
    """The two fields that one run of the label stream yields.

    Both have shape ``(3, *sites)``, in mm along the array axes, mapping fixed x to moving x + u(x).
    """

    predicted: Tensor
    """What the solver h gave."""
    refined: Tensor
    """After refinement: the pseudo label."""


class Backend(Protocol[Pair]):
    """Four verbs: all that `cst_core.self_train` knows of a modality."""

    def new_network(self, seed: int) -> nn.Module:
        """A feature extractor g with random weights that depend on ``seed`` alone, on the backend's device."""
        ...

    def predict(self, network: nn.Module, pairs: Sequence[Pair]) -> list[Tensor]:
        """h(g(pair)) for a batch of pairs (Eq. 1), differentiable in the network's weights.

        Returns one ``(3, *sites)`` field in mm a pair; the sites are those of the pair's label.
        """
        ...

    def register(self, network: nn.Module, pair: Pair) -> Registration:
        """The label stream, and test time: evaluation mode, no gradients, a function of its arguments alone."""
        ...

    def augment(self, pair: Pair, label: Tensor | None, generator: Generator) -> tuple[Pair, Tensor | None]:
        """The training stream: a randomly transformed pair, and its label transformed exactly with it (Sec. 2.3).

        Without a label, as supervisions that know no field have it, the pair alone, transformed in the same way.
        """
        ...
