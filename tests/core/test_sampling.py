"""Draws depend on their key alone, and follow their weights."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cst_core.sampling import difficulty_weights, epoch_batch, seeded, weighted_batch


def test_weights_fall_along_the_sigmoid_of_a_line_over_the_ranks():
    weights = difficulty_weights([3.0, 1.0, 2.0, 5.0, 4.0])  # ranks 2 0 1 4 3
    expected = torch.sigmoid(torch.tensor([0.0, 5.0, 2.5, -5.0, -2.5]).double())
    assert torch.allclose(weights, expected)


@given(st.lists(st.floats(0.0, 100.0), min_size=1, max_size=30))
@settings(max_examples=50, deadline=None)
def test_weights_are_in_the_open_unit_interval_and_never_rise_with_difficulty(difficulties):
    weights = difficulty_weights(difficulties)
    assert weights.shape == (len(difficulties),)
    assert ((weights > 0) & (weights < 1)).all()
    for a, weight_a in zip(difficulties, weights, strict=True):
        assert all(weight_a >= weight_b for b, weight_b in zip(difficulties, weights, strict=True) if a < b)


def test_only_the_ranks_count_and_ties_keep_their_order():
    assert torch.equal(difficulty_weights([1.0, 2.0, 9.0]), difficulty_weights([0.1, 50.0, 51.0]))
    tied = difficulty_weights([2.0, 2.0, 2.0])
    assert tied[0] > tied[1] > tied[2]


def test_a_single_pair_is_drawn():
    assert weighted_batch(difficulty_weights([1.0]), 3, (0, 1, 0)) == [0, 0, 0]


@given(st.lists(st.integers(-(2**40), 2**40), min_size=1, max_size=4))
@settings(max_examples=50, deadline=None)
def test_a_stream_depends_on_its_whole_key(key):
    def first(*parts: int) -> list[int]:
        return torch.randint(2**31, (4,), generator=seeded(*parts)).tolist()

    assert first(*key) == first(*key)
    for place in range(len(key)):
        assert first(*key) != first(*[part + (k == place) for k, part in enumerate(key)])
    assert first(*key) != first(*key, 0)
    if key[0] != key[-1]:
        assert first(*key) != first(*reversed(key))


def test_neighbouring_keys_give_unrelated_streams():
    draws = torch.stack([torch.rand(2, generator=seeded(0, 1, step)) for step in range(2000)]).double()
    assert draws.unique(dim=0).shape == draws.shape
    assert (draws.mean(dim=0) - 0.5).abs().max() < 0.03
    pairs = torch.stack([draws[:-1, 0], draws[1:, 0], draws[:-1, 1]])
    assert (torch.corrcoef(pairs) - torch.eye(3)).abs().max() < 0.08


def test_weighted_draws_are_replayed_and_follow_the_weights():
    weights = torch.tensor([0.7, 0.2, 0.1, 0.0], dtype=torch.float64)
    assert weighted_batch(weights, 8, (3, 2, 1)) == weighted_batch(weights, 8, (3, 2, 1))
    drawn = [pair for step in range(500) for pair in weighted_batch(weights, 4, (0, 1, step))]
    shares = torch.bincount(torch.tensor(drawn), minlength=4) / len(drawn)
    assert torch.allclose(shares.double(), weights, atol=0.04)
    assert shares[3] == 0.0


def test_weighted_draws_are_with_replacement():
    batch = weighted_batch(torch.ones(2), 64, (0, 1, 0))
    assert len(batch) == 64
    assert set(batch) == {0, 1}


@given(st.integers(1, 9), st.integers(1, 5), st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_every_pass_draws_every_pair_once_even_across_batches(n_pairs, batch_size, seed):
    steps = -(-3 * n_pairs // batch_size)
    drawn = [pair for step in range(steps) for pair in epoch_batch(n_pairs, batch_size, (seed, 1, step))]
    for epoch in range(3):
        assert sorted(drawn[epoch * n_pairs : (epoch + 1) * n_pairs]) == list(range(n_pairs))


def test_passes_differ_between_epochs_and_stages():
    orders = {tuple(epoch_batch(20, 20, (0, stage, step))) for stage in (1, 2) for step in range(3)}
    assert len(orders) == 6
