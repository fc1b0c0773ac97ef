"""The four verbs on clouds whose motion is known."""

import pytest
import torch
from torch import Tensor

from cst_core.affine import augment_label_cloud, draw_similarity, in_mm
from cst_core.sampling import seeded
from cst_points.backend import PointsBackend
from cst_points.cloud import CloudPair
from cst_points.config import PRESETS, PointsConfig
from cst_points.phantom import lung_phantom

ORIGIN, HALF_EXTENT = torch.tensor([10.0, -20.0, 5.0]), torch.tensor([130.0, 96.0, 168.0])
SMALL = PointsConfig(
    neighbours_moving=10, features=16, first_towers=2, candidates=32, second_candidates=16, rounds=6, training_rounds=3
)

SOFT = SMALL.model_copy(update={"weight": 1.0, "training_weight": 1.0, "sharpness": 2.0})
"""On so few keypoints, so far apart, the default read-out is as good as a choice of one candidate: no gradient."""


def motion(points: Tensor) -> Tensor:
    """Smooth, 21 mm on average: more than the distance between keypoints."""
    x, y, z = ((points - ORIGIN) / 100).unbind(1)
    return torch.stack([6 * torch.sin(1.5 * y), 5 * torch.cos(1.2 * z), -20 + 12 * torch.tanh(z) + 2 * x], 1)


def planted(n: int = 150, seed: int = 0, jitter: float = 0.0, extra: int = 0) -> tuple[CloudPair, Tensor]:
    """A pair whose moving cloud is the fixed one, moved and shuffled (and blurred, among others); its motion (3, n)."""
    generator = torch.Generator().manual_seed(seed)
    size = torch.tensor([100.0, 80.0, 120.0])
    fixed = (torch.rand(n, 3, generator=generator) * 2 - 1) * size + ORIGIN
    moved = fixed + motion(fixed) + jitter * torch.randn(n, 3, generator=generator)
    others = (torch.rand(extra, 3, generator=generator) * 2 - 1) * size + ORIGIN
    moving = torch.cat([moved, others + motion(others)])
    moving = moving[torch.randperm(n + extra, generator=generator)]
    return CloudPair(fixed, moving, ORIGIN, HALF_EXTENT), motion(fixed).T


def mean_error(field: Tensor, truth: Tensor) -> float:
    return float((field - truth).norm(dim=0).mean())


def test_register_recovers_a_planted_deformation():
    backend = PointsBackend(SMALL)
    pair, truth = planted()
    registration = backend.register(backend.untrained(0), pair)
    assert mean_error(torch.zeros_like(truth), truth) > 20
    assert mean_error(registration.predicted, truth) < 1
    assert mean_error(registration.refined, truth) < 1


def test_register_copes_with_jitter_and_strangers():
    backend = PointsBackend(SMALL)
    pair, truth = planted(jitter=1.0, extra=60)
    registration = backend.register(backend.untrained(0), pair)
    assert mean_error(registration.refined, truth) < 0.35 * mean_error(torch.zeros_like(truth), truth)


def test_register_repeats_to_the_bit_and_asks_for_no_gradient():
    backend = PointsBackend(SMALL.model_copy(update={"views": 2, "forward_backward": True}))
    pair, _ = planted(jitter=1.0, extra=60)
    network = backend.untrained(0)
    first = backend.register(network, pair)
    torch.rand(3)  # the global stream does not matter
    again = backend.register(network, pair)
    assert torch.equal(first.predicted, again.predicted)
    assert torch.equal(first.refined, again.refined)
    assert not first.predicted.requires_grad
    assert not first.refined.requires_grad
    assert not network.training


def test_predict_is_differentiable():
    backend = PointsBackend(SOFT)
    pairs, truths = zip(*(planted(n, seed=n, jitter=1.0, extra=30) for n in (60, 90)), strict=True)
    network = backend.new_network(0)
    fields = backend.predict(network, pairs)
    assert [tuple(field.shape) for field in fields] == [(3, 60), (3, 90)]
    sum((field - truth).norm(dim=0).mean() for field, truth in zip(fields, truths, strict=True)).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0 or name.endswith("bias"), name  # instance norm takes biases away


def test_a_gradient_step_lowers_the_loss():
    backend = PointsBackend(SOFT)
    pair, truth = planted(80, jitter=1.0, extra=40)
    network = backend.new_network(0)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    losses = []
    for _ in range(8):
        loss = (backend.predict(network, [pair])[0] - truth).norm(dim=0).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.95 * losses[0]


def test_a_batch_is_its_pairs():
    backend = PointsBackend(SMALL)
    pairs = [planted(n, seed=n)[0] for n in (60, 90)]
    network = backend.new_network(0)
    for field, pair in zip(backend.predict(network, pairs), pairs, strict=True):
        assert torch.allclose(field, backend.predict(network, [pair])[0], atol=0.01)


def test_fields_are_in_millimetres_per_axis():
    """The solver sees normalised coordinates alone: stretching all millimetres stretches the field."""
    backend = PointsBackend(SMALL)
    pair, _ = planted(jitter=1.0, extra=40)
    scale = torch.tensor([2.0, 0.5, 4.0])  # powers of two: exact
    stretched = CloudPair(pair.fixed * scale, pair.moving * scale, pair.origin * scale, pair.half_extent * scale)
    network = backend.new_network(0)
    (field,), (stretched_field,) = backend.predict(network, [pair]), backend.predict(network, [stretched])
    assert torch.allclose(stretched_field, field * scale[:, None], atol=1e-4)
    assert field.abs().mean() > 3


def test_a_sharp_read_out_lands_on_moving_keypoints():
    backend = PointsBackend(SMALL.model_copy(update={"sharpness": 1e6}))
    pair, _ = planted(jitter=1.0, extra=40)
    (field,) = backend.predict(backend.new_network(0), [pair])
    gap = torch.cdist(pair.fixed + field.T, pair.moving, compute_mode="donot_use_mm_for_euclid_dist").amin(1)
    assert gap.median() < 1e-3  # where two candidates are as good as equal, their mean is read


@pytest.mark.parametrize(("n", "m"), [(6, 5), (5, 9), (1, 4)])
def test_clouds_smaller_than_every_k(n, m):
    backend = PointsBackend(PointsConfig(first_towers=1, smooth=n > 3, second_warp=n > 3))
    pair, _ = planted(9)
    small = CloudPair(pair.fixed[:n], pair.moving[:m], pair.origin, pair.half_extent)
    registration = backend.register(backend.untrained(0), small)
    assert registration.refined.shape == (3, n)
    assert registration.refined.isfinite().all()


def test_a_prior_moves_the_fixed_keypoints_and_is_added():
    backend = PointsBackend(SMALL.model_copy(update={"candidates": 4}))
    pair, _ = planted(jitter=1.0, extra=40)
    with torch.no_grad():
        (features,) = backend.features(backend.new_network(0), [pair])
        prior = torch.tensor([[4.0], [-3.0], [-30.0]]).expand(3, len(pair.fixed))
        carried = CloudPair(pair.fixed + prior.T, pair.moving, ORIGIN, HALF_EXTENT)
        rest = backend.solve(carried, *features, backend.effort)
        field = backend.solve(pair, *features, backend.effort, prior)
        still = backend.solve(pair, *features, backend.effort, torch.zeros_like(prior))
        assert torch.allclose(still, backend.solve(pair, *features, backend.effort))
    assert torch.allclose(field, prior + rest, atol=1e-2)
    assert (field - still).abs().max() > 1


def test_augmentation_keeps_a_planted_correspondence():
    backend = PointsBackend(SMALL.model_copy(update={"max_degrees": 40.0}))
    pair, label = planted()
    pair = CloudPair(pair.fixed, pair.fixed + label.T, pair.origin, pair.half_extent)  # unshuffled
    moved, moved_label = backend.augment(pair, label, seeded(3))
    assert torch.allclose(moved.fixed + moved_label.T, moved.moving, atol=1e-4)
    assert (moved.fixed - pair.fixed).norm(dim=1).mean() > 5
    assert torch.equal(moved.origin, pair.origin)
    assert torch.equal(moved.half_extent, pair.half_extent)
    # wrong: the label turned by the draw, whose axes are not of equal length in mm
    drawn = draw_similarity(seeded(3), 40.0, 0.1, 0.1)
    assert not torch.allclose(moved.fixed + augment_label_cloud(label, drawn).T, moved.moving, atol=0.5)


def test_augmentation_is_the_drawn_similarity_of_normalised_coordinates():
    backend = PointsBackend(SMALL)
    pair, label = planted()
    moved, _ = backend.augment(pair, label, seeded(4))
    drawn = draw_similarity(seeded(4), 10.0, 0.1, 0.1)
    for before, after in zip(pair.normalised(), moved.normalised(), strict=True):
        assert torch.allclose(drawn.apply(before), after, atol=1e-5)
    again, _ = backend.augment(pair, label, seeded(4))
    other, _ = backend.augment(pair, label, seeded(5))
    assert torch.equal(again.fixed, moved.fixed)
    assert not torch.allclose(other.fixed, moved.fixed, atol=0.1)
    assert in_mm(drawn, pair.origin, pair.half_extent).matrix.det() > 0


def test_networks_depend_on_their_seed_alone():
    backend = PointsBackend(SMALL)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = backend.new_network(5).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    again, other = backend.new_network(5).state_dict(), backend.new_network(6).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_the_untrained_network_is_wide():
    backend = PointsBackend(SMALL.model_copy(update={"towers": 1, "first_towers": 3}))
    assert (len(backend.new_network(0).towers), len(backend.untrained(0).towers)) == (1, 3)


def test_presets_are_valid_and_the_papers_is_as_published():
    for preset in PRESETS.values():
        PointsConfig(**preset.backend)
    paper = PointsConfig(**PRESETS["paper"].backend)
    assert (paper.weight, paper.rounds, paper.candidates, paper.sharpness) == (10.0, 4, 256, 50.0)
    assert (paper.training_weight, paper.training_rounds) == (10.0, 4)
    assert (paper.first_towers, paper.views) == (1, 1)
    assert not any((paper.second_warp, paper.smooth, paper.forward_backward))


def test_agreement_without_the_spline_that_uses_it_is_refused():
    with pytest.raises(ValueError, match="forward_backward needs smooth"):
        PointsConfig(forward_backward=True, smooth=False)


def test_a_training_step_of_real_size_repeats_bit_for_bit():
    # small clouds stay below the sizes at which torch adds gradients in parallel
    pair = lung_phantom(1)[0].pair
    backend = PointsBackend(PointsConfig(candidates=64, training_rounds=2, neighbours_moving=20))
    network = backend.new_network(1)

    def gradients() -> list[torch.Tensor]:
        network.zero_grad()
        torch.linalg.vector_norm(backend.predict(network, [pair])[0], dim=0).mean().backward()
        return [parameter.grad.clone() for parameter in network.parameters()]

    first = gradients()
    for _ in range(3):
        assert all(torch.equal(one, other) for one, other in zip(first, gradients(), strict=True))
