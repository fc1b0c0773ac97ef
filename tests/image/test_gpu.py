"""What CUDA computes against the CPU's compiled code; beside it the same torch code in double precision on the CPU.

Tolerances: single steps 1e-4 of the largest value, gradients 1e-3; g runs in bfloat16 on CUDA, so features are within
2 %, and whole fields within a tenth of a lattice voxel in the mean.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from cst_core.config import TrainConfig
from cst_core.field import Grid, warp
from cst_core.replay import Replay
from cst_core.training import self_train
from cst_image.backend import ImageBackend
from cst_image.config import ImageConfig
from cst_image.consistency import make_consistent
from cst_image.correlation import candidate_displacements, matching_cost
from cst_image.coupled_convex import coupled_convex, upsampled
from cst_image.feature_difference import FeatureDifference
from cst_image.instance import InstanceSettings, instance_optimisation
from cst_image.lattice import box_means, box_means_adjoint
from cst_image.pair import ImagePair

CUDA = pytest.param(lambda tensor: tensor.cuda(), marks=pytest.mark.gpu, id="cuda")
DOUBLE = pytest.param(lambda tensor: tensor.double() if tensor.is_floating_point() else tensor, id="double")
There = Callable[[Tensor], Tensor]
there_ = pytest.mark.parametrize("there", [CUDA, DOUBLE])
SHAPE = (12, 9, 10)
SMALL = ImageConfig(channels=(8, 16, 16), strides=(2, 1, 2), first_towers=2, adam_steps=10, final_smoothing=1)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def agree(here: Tensor, there: Tensor, tolerance: float = 1e-4) -> None:
    found, expected = there.detach().cpu().double(), here.detach().double()
    assert float((found - expected).abs().max()) <= tolerance * float(expected.abs().max())


def mask(seed: int) -> Tensor:
    return random(*SHAPE, seed=seed) > -1.0


@there_
def test_matching_cost(there: There):
    fixed, moving, masks = random(6, *SHAPE), random(6, *SHAPE, seed=1), (mask(2), mask(3))
    for chosen in ((), masks):
        agree(
            matching_cost(fixed, moving, 2, *chosen),
            matching_cost(there(fixed), there(moving), 2, *map(there, chosen)),
        )


@there_
def test_gradients_of_the_solver(there: There):
    """Through correlation, coupled convex optimisation and the way to the label lattice."""
    weights, found = random(3, 24, 18, 20, seed=4), []
    for move in (lambda tensor: tensor.clone(), there):
        features = [move(random(6, *SHAPE, seed=seed)).requires_grad_() for seed in (0, 1)]
        cost = 0.05 * matching_cost(features[0], features[1], 2)
        field = coupled_convex(cost, candidate_displacements(2, like=cost))
        ((upsampled(field, (24, 18, 20), 2, 1) * move(weights)).sum()).backward()
        found.append((field, *(feature.grad for feature in features)))
    agree(found[0][0], found[1][0])
    for here, other in zip(found[0][1:], found[1][1:], strict=True):
        agree(here, other, 1e-3)


@there_
def test_box_means_and_their_adjoint(there: There):
    field = random(3, *SHAPE)
    for times in (1, 3):
        agree(box_means(field, times), box_means(there(field), times))
        agree(box_means_adjoint(field, times), box_means_adjoint(there(field), times))


@there_
def test_consistency(there: There):
    u, v = (box_means(5 * random(3, *SHAPE, seed=seed), 3) for seed in (0, 1))
    for here, other in zip(
        make_consistent(u, v, (2.0, 2.0, 3.0)), make_consistent(there(u), there(v), (2.0, 2.0, 3.0)), strict=True
    ):
        agree(here, other)


@there_
def test_feature_difference_and_its_gradient(there: There):
    fixed, moving = (box_means(random(4, *SHAPE, seed=seed), 2) for seed in (0, 1))
    # away from whole voxels, where the gradient jumps
    weight, u = random(*SHAPE, seed=2).abs(), torch.full((3, *SHAPE), 0.3) + 0.05 * random(3, *SHAPE, seed=3)
    here = FeatureDifference(fixed, moving, weight)(u)
    other = FeatureDifference(there(fixed), there(moving), there(weight))(there(u))
    agree(here.value, other.value)
    agree(here.gradient, other.gradient, 1e-3)


@there_
def test_instance_optimisation(there: There):
    """Adam's first steps are signs: where a gradient is nearly zero they differ, so almost all voxels must agree."""
    moving = box_means(random(8, *SHAPE), 2)
    fixed = warp(moving, torch.full((3, *SHAPE), 0.7), (1.0, 1.0, 1.0))
    start, weight, settings = torch.zeros(3, *SHAPE), torch.ones(SHAPE), InstanceSettings(20, 0.1, divergence=0.2)
    here = instance_optimisation(fixed, moving, start, weight, settings)
    other = instance_optimisation(*map(there, (fixed, moving, start, weight)), settings).cpu()
    error = (here - other).abs()
    assert float(error.median()) < 1e-3
    assert float(error.quantile(0.99)) < 0.05


def pair(device: str, shape: tuple[int, int, int] = (40, 32, 36)) -> ImagePair:
    volume = box_means(random(1, *shape), 3)
    volume = (0.5 * volume / volume.abs().max()).clamp(-0.4, 0.6)
    field = box_means(random(3, *shape, seed=1), 3)
    moving = warp(volume, 6.0 * field / field.abs().max(), (2.0, 2.0, 2.0))
    return ImagePair(volume.to(device), moving.to(device), Grid.of(shape, (2.0, 2.0, 2.0)))


@pytest.mark.gpu
def test_features_and_fields_of_a_pair():
    here, there = ImageBackend(SMALL), ImageBackend(SMALL, "cuda")
    networks = here.untrained(0).eval(), there.untrained(0).eval()
    for one, other in zip(networks[0].parameters(), networks[1].parameters(), strict=True):
        assert torch.equal(one, other.cpu())
    with torch.no_grad():
        (ours,), (theirs,) = here.features(networks[0], [pair("cpu")]), there.features(networks[1], [pair("cuda")])
    for one, other in zip(ours, theirs, strict=True):
        assert float((one - other.cpu().float()).norm() / one.norm()) < 0.02
    fields = here.register(networks[0], pair("cpu")), there.register(networks[1], pair("cuda"))
    for one, other, stride in zip(*fields, (2, 2), strict=True):
        assert other.is_cuda
        assert float((one - other.cpu()).norm(dim=0).mean()) < 0.1 * 2.0 * stride


@pytest.mark.gpu
def test_recorded_instance_optimisation_is_that_of_single_launches():
    """The first call of a kind launches, the others replay. A recorded matrix product may sum in another order."""
    given = [random(8, *SHAPE, seed=seed).cuda() for seed in range(6)]
    start, weight, again = torch.zeros(3, *SHAPE).cuda(), torch.ones(SHAPE).cuda(), Replay(instance_optimisation)
    for fixed, moving in pairwise(given):
        expected = instance_optimisation(fixed, moving, start, weight, InstanceSettings(20, 0.1))
        error = (again(fixed, moving, start, weight, settings=InstanceSettings(20, 0.1)) - expected).abs()
        assert float(error.median()) < 1e-3
        assert float(error.quantile(0.99)) < 0.05


@pytest.mark.gpu
def test_gradients_reach_the_weights_alike():
    found, soft = [], SMALL.model_copy(update={"sharpness": 1.0})  # a sharp solver is sure, and passes no gradient
    for device in ("cpu", "cuda"):
        backend = ImageBackend(soft, device)
        network = backend.new_network(1).train()
        (field,) = backend.predict(network, [pair(device)])
        field.square().mean().backward()
        found.append(torch.cat([p.grad.cpu().double().flatten() for p in network.parameters() if p.grad is not None]))
    assert float(torch.cosine_similarity(*found, dim=0)) > 0.99


@pytest.mark.gpu
def test_training_on_cuda_ends_like_training_on_the_cpu():
    losses = []
    for device in ("cpu", "cuda"):
        pairs = [pair(device), pair(device).swapped()]
        config = TrainConfig(stages=1, iterations=20, batch_size=2, learning_rate=1e-3, augment=True)
        result = self_train(ImageBackend(SMALL, device), pairs, config)
        assert next(result.network.parameters()).device.type == device
        losses += result.losses
    assert losses[1] == pytest.approx(losses[0], rel=0.1)


def test_all_tensors_are_made_on_the_pairs_device():
    """On torch's device without memory: an operation that mixes it with the CPU fails there as on CUDA."""
    backend = ImageBackend(SMALL.model_copy(update={"divergence": 0.2}), "meta")
    there, label = pair("meta"), torch.zeros(3, 20, 16, 18, device="meta")
    network = backend.untrained(0)
    for found in backend.register(network, there):
        assert found.device.type == "meta"
    moved, turned = backend.augment(there, label, torch.Generator().manual_seed(0))
    assert {part.device.type for part in (moved.fixed, moved.moving, moved.fixed_mask, turned)} == {"meta"}
    (field,) = backend.predict(backend.new_network(1).train(), [there])
    assert field.shape == label.shape
    field.sum().backward()
