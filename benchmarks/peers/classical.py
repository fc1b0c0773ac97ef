"""The classical parts of our own framework, alone: g without training, h and Adam apart from each other."""

from __future__ import annotations

import time
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from benchmarks.peers.methods import Found
from benchmarks.peers.tools import Knob
from cst_image.backend import ImageBackend
from cst_image.config import ImageConfig
from cst_image.lattice import lattice_shape
from cst_image.mind_features import MindFeatures
from cst_image.pair import ImagePair
from cst_image.plugin import at_test
from cst_image.refine import optimised

NAMES = ("adam-random", "adam-mind", "convex-mind", "convex-mind-adam")
_SEED = 0
_WHAT = {
    "adam-random": "Adam alone, from no displacement, on what a random network gives it to match",
    "adam-mind": "Adam alone, from no displacement, on MIND-SSC",
    "convex-mind": "correlation and coupled convex on MIND-SSC, consistency and warps as configured, no Adam",
    "convex-mind-adam": "the whole of h and refinement on MIND-SSC",
}


class ClassicalMethod:
    """`benchmarks.peers.methods.Method` of one of `NAMES`."""

    kind = "classical"

    def __init__(self, name: str, config: ImageConfig) -> None:
        self.name, self._config = name, config
        convex = name == "convex-mind"
        # h has no weight of smoothness of its own: the cost's scale says how much matching counts beside it
        self.knob = (
            Knob("1 / cost_scale", 1.0 / config.cost_scale, 0.01, 100.0)
            if convex
            else Knob("test_smoothness", config.test_smoothness, 0.001, 100.0)
        )

    def identity(self) -> dict[str, Any]:
        """Configuration and threads; code that changes wants another folder of what is remembered."""
        return {"name": self.name, "config": self._config.model_dump(mode="json"), "threads": torch.get_num_threads()}

    def register(self, pair: ImagePair, strength: float | None) -> Found:
        """On the pair's grid, as `cst register` gives it."""
        backend, changed = self._backend(strength)
        network = self._network(backend).eval()
        start, busy = time.perf_counter(), time.process_time()
        field = (
            backend.dense(pair, self._adam_alone(backend, network, pair))
            if self.name.startswith("adam")
            else backend.displacement(network, pair)
        )
        seconds, busy = time.perf_counter() - start, time.process_time() - busy
        return Found(field, seconds, busy, None, None, None, {"source": _WHAT[self.name], **changed})

    def _backend(self, strength: float | None) -> tuple[ImageBackend, dict[str, float]]:
        changed: dict[str, float] = {}
        if strength is not None:
            name, _, cost = self.knob.name.rpartition("/ ")
            changed = {cost: 1.0 / strength} if name else {self.knob.name: strength}
        config = self._config.model_copy(update={**changed, "adam": self.name != "convex-mind"})
        return at_test(ImageBackend(config)), changed

    def _network(self, backend: ImageBackend) -> nn.Module:
        if self.name == "adam-random":
            return backend.untrained(_SEED)
        return MindFeatures(backend.config.stride, backend.config.label_stride)

    @torch.no_grad()
    def _adam_alone(self, backend: ImageBackend, network: nn.Module, pair: ImagePair) -> Float[Tensor, "3 X Y Z"]:
        (features,) = backend.features(network, [pair])
        nothing = features.fixed_instance.new_zeros(3, *lattice_shape(pair.grid.shape, backend.config.label_stride))
        return optimised(backend, pair, features, nothing.float())
