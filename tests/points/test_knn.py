"""Nearest neighbours: three ways, one answer; and what happens where KeOps cannot compile."""

import functools
import warnings

import pytest
import torch
from torch import Tensor

from cst_points import knn
from cst_points.knn import keops_works, nearest, nearest_keops, nearest_torch, nearest_tree


def cloud(n: int, seed: int) -> Tensor:
    return torch.rand(n, 3, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def brute_force(queries: Tensor, points: Tensor, k: int) -> Tensor:
    distance = (queries.double()[:, None] - points.double()[None]).square().sum(2)
    return distance.argsort(1)[:, :k]


@pytest.fixture(scope="session")
def keops() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if not keops_works("cpu"):
            pytest.skip("KeOps cannot compile here (needs a C++ compiler and Python's headers)")


@pytest.fixture
def unasked():
    """`keops_works` as if never asked; what a test makes it remember is forgotten."""
    keops_works.cache_clear()
    yield
    keops_works.cache_clear()


@pytest.mark.parametrize("search", [nearest, nearest_tree, nearest_torch])
@pytest.mark.parametrize("k", [1, 10, 80])
def test_equals_brute_force_nearest_first(search, k):
    queries, points = cloud(50, 1), cloud(80, 2)
    index = search(queries, points, k)
    assert index.dtype == torch.int64
    assert torch.equal(index, brute_force(queries, points, k))


@pytest.mark.usefixtures("keops")
def test_keops_equals_brute_force():  # k = 2 is compiled by the fixture already
    queries, points = cloud(50, 1), cloud(80, 2)
    assert torch.equal(nearest_keops(queries, points, 2), brute_force(queries, points, 2))
    strided = cloud(50, 1).T.contiguous().T
    assert torch.equal(nearest_keops(strided, points, 2), brute_force(queries, points, 2))


def test_far_from_the_origin():
    queries, points = cloud(50, 1) + 1000, cloud(80, 2) + 1000
    for search in (nearest_tree, nearest_torch):
        assert torch.equal(search(queries, points, 5), brute_force(queries, points, 5))


def test_blocks_equal_the_whole(monkeypatch):
    queries, points = cloud(50, 1), cloud(80, 2)
    whole = nearest_torch(queries, points, 5)
    monkeypatch.setattr(knn, "_BLOCK", 7 * 80)
    assert torch.equal(nearest_torch(queries, points, 5), whole)


@pytest.mark.parametrize("k", [0, -1, 81])
def test_k_out_of_range(k):
    with pytest.raises(ValueError, match=f"k: must be between 1 and .*80.* got {k}"):
        nearest(cloud(5, 1), cloud(80, 2), k)


def broken(*_: object) -> Tensor:
    raise RuntimeError("no compiler\nlong story")


def wrong(queries: Tensor, _points: Tensor, k: int) -> Tensor:
    return torch.zeros(len(queries), k, dtype=torch.int64)


@pytest.mark.usefixtures("unasked")
@pytest.mark.parametrize(("search", "reason"), [(broken, "no compiler"), (wrong, "wrong neighbours")])
def test_warns_once_where_keops_does_not_work(search, reason, monkeypatch):
    monkeypatch.setattr(knn, "nearest_keops", search)
    with pytest.warns(RuntimeWarning, match="KeOps does not work") as caught:
        assert not keops_works("cpu")
    assert len(caught) == 1
    assert reason in str(caught[0].message)
    assert "long story" not in str(caught[0].message)
    assert "apt-get install g++" in str(caught[0].message)
    assert not keops_works("cpu")  # again: nothing is said, or this would be an error


@pytest.mark.usefixtures("unasked")
@pytest.mark.parametrize(("works", "k", "expected"), [(True, 64, "keops"), (True, 65, "torch"), (False, 2, "torch")])
def test_choice_away_from_the_cpu(works, k, expected, monkeypatch):
    monkeypatch.setattr(knn, "keops_works", lambda _: works)
    chosen: list[str] = []

    def note(name: str, queries: Tensor, _points: Tensor, k: int) -> Tensor:
        chosen.append(name)
        return queries.new_zeros(len(queries), k).long()

    for name in ("keops", "torch", "tree"):
        monkeypatch.setattr(knn, f"nearest_{name}", functools.partial(note, name))
    nearest(torch.zeros(3, 3, device="meta"), torch.zeros(90, 3, device="meta"), k)
    assert chosen == [expected]


@pytest.mark.gpu
@pytest.mark.parametrize("k", [2, 80])
def test_cuda_equals_cpu(k):
    queries, points = cloud(50, 1), cloud(80, 2)
    assert torch.equal(nearest(queries.cuda(), points.cuda(), k).cpu(), nearest(queries, points, k))
