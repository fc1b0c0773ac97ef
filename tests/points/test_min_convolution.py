"""The compiled min-convolution against the textbook one, its ties, its gradients, and the CUDA kernel."""

from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from cst_points.min_convolution import min_convolution, min_convolution_reference


class Problem(NamedTuple):
    h: Tensor
    candidates: Tensor
    source: Tensor
    target: Tensor

    def to(self, dtype: torch.dtype) -> "Problem":
        return self._replace(h=self.h.to(dtype), candidates=self.candidates.to(dtype))


def problem(k: int, edges: int = 40, seed: int = 0, offset: float = 0.0) -> Problem:
    generator = torch.Generator().manual_seed(seed)
    return Problem(
        torch.rand(edges, k, generator=generator),
        torch.randn(9, 3, k, generator=generator) + offset,
        torch.randint(0, 9, (edges,), generator=generator),
        torch.randint(0, 9, (edges,), generator=generator),
    )


def whole_numbers(k: int, edges: int = 60, seed: int = 0) -> Problem:
    """Small integers: float32 is exact, and most minima have ties."""
    generator = torch.Generator().manual_seed(seed)
    return Problem(
        torch.randint(0, 3, (edges, k), generator=generator).float(),
        torch.randint(-1, 2, (7, 3, k), generator=generator).float(),
        torch.randint(0, 7, (edges,), generator=generator),
        torch.randint(0, 7, (edges,), generator=generator),
    )


def spread(p: Problem, gradient: Tensor) -> Tensor:
    """The gradient by hand: all of it to the first minimiser."""
    difference = p.candidates[p.source].unsqueeze(3) - p.candidates[p.target].unsqueeze(2)
    terms = (p.h.unsqueeze(2) + difference.square().sum(1)).numpy()
    first = np.argmin(terms, axis=1)  # numpy promises the first one
    result = np.zeros(p.h.shape)
    for e, row in enumerate(first):
        np.add.at(result[e], row, gradient[e].double().numpy())
    return torch.from_numpy(result)


@pytest.mark.parametrize("k", [1, 2, 3, 4, 5, 8, 17, 32])
@pytest.mark.parametrize("with_argmin", [False, True])
def test_kernels_equal_the_reference(k, with_argmin):
    p = problem(k)
    message = min_convolution(p.h.requires_grad_(with_argmin), *p[1:])
    expected = min_convolution_reference(*p.to(torch.float64))
    assert message.dtype == torch.float32
    assert torch.allclose(message.double(), expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("k", [5, 16])
@pytest.mark.parametrize("with_argmin", [False, True])
def test_candidates_far_from_the_origin_cost_no_digits(k, with_argmin):
    p = problem(k, offset=1000.0)
    message = min_convolution(p.h.requires_grad_(with_argmin), *p[1:])
    expected = min_convolution_reference(*p.to(torch.float64))
    assert torch.allclose(message.double(), expected, rtol=0, atol=2e-5)
    # the expansion without centring, for comparison
    i, j = p.candidates[p.source], p.candidates[p.target]
    squares = i.square().sum(1).unsqueeze(2) + j.square().sum(1).unsqueeze(1)
    plain = (p.h.unsqueeze(2) + squares - 2 * torch.einsum("eda,edb->eab", i, j)).amin(1)
    assert (plain.double() - expected).abs().max() > 0.05


@pytest.mark.parametrize("k", [1, 2, 3, 5, 8, 17])
def test_first_minimiser_of_a_tie_takes_the_gradient(k):
    p = whole_numbers(k)
    gradient = torch.randint(-4, 5, p.h.shape, generator=torch.Generator().manual_seed(1)).float()
    h = p.h.clone().requires_grad_()
    message = min_convolution(h, *p[1:])
    message.backward(gradient)
    assert torch.equal(message, min_convolution_reference(*p))
    assert torch.equal(h.grad.double(), spread(p, gradient))
    if k > 4:  # the last minimiser would be another one
        backwards = Problem(p.h.flip(1), torch.cat([p.candidates.flip(2), p.candidates]), p.source, p.target + 7)
        assert not torch.equal(spread(backwards, gradient).flip(1), spread(p, gradient))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradient_equals_that_of_the_reference(dtype):
    p = problem(17, seed=3).to(dtype)
    weights = torch.randn(p.h.shape, generator=torch.Generator().manual_seed(2), dtype=dtype)
    ours, theirs = p.h.clone().requires_grad_(), p.h.double().requires_grad_()
    (min_convolution(ours, *p[1:]) * weights).sum().backward()
    (min_convolution_reference(theirs, *p.to(torch.float64)[1:]) * weights).sum().backward()
    assert torch.allclose(ours.grad.double(), theirs.grad, atol=1e-5)


def test_gradcheck():
    p = problem(5, edges=6, seed=4).to(torch.float64)
    assert torch.autograd.gradcheck(lambda h: min_convolution(h, *p[1:]), (p.h.requires_grad_(),))


def test_gradient_need_not_be_contiguous():
    p = problem(8)
    h = p.h.requires_grad_()
    min_convolution(h, *p[1:]).sum().backward()  # its gradient is one number, expanded
    assert float(h.grad.sum()) == h.numel()


def test_strided_arguments():
    p = problem(6)
    wide = torch.stack([p.h, -p.h], 2)[..., 0]
    turned = p.candidates.transpose(1, 2).contiguous().transpose(1, 2)
    assert torch.equal(min_convolution(wide, turned, p.source, p.target), min_convolution(*p))


def test_blocks_of_the_plain_path_equal_the_whole():
    p = problem(64, edges=1030).to(torch.float64)  # 1024 edges a block
    tail = slice(1020, 1030)
    expected = min_convolution_reference(p.h[tail], p.candidates, p.source[tail], p.target[tail])
    assert torch.equal(min_convolution(*p)[tail], expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("with_argmin", [False, True])
def test_no_edges(dtype, with_argmin):
    p = problem(8, edges=0).to(dtype)
    message = min_convolution(p.h.requires_grad_(with_argmin), *p[1:])
    assert message.shape == (0, 8)
    if with_argmin:
        message.sum().backward()
        assert p.h.grad.shape == (0, 8)


@pytest.mark.parametrize(("k", "edges"), [(5, 12), (70, 4)])  # less than a block; more than one of each kind
def test_triton_kernel_interpreted(k, edges, interpreted):
    p = whole_numbers(k, edges)
    message, argmin = interpreted("cst_points.min_convolution_cuda", "min_convolution_cuda", p._asdict())
    assert torch.equal(message, min_convolution_reference(*p))
    ones = torch.ones_like(p.h)
    assert torch.equal(torch.zeros_like(ones).scatter_add_(1, argmin.long(), ones).double(), spread(p, ones))


@pytest.mark.gpu
@pytest.mark.parametrize("k", [1, 17, 256])
def test_cuda_equals_cpu(k):
    for p in (problem(k, edges=200), whole_numbers(k)):
        results = []
        for device in ("cpu", "cuda"):
            h = p.h.to(device).requires_grad_()
            message = min_convolution(h, *(part.to(device) for part in p[1:]))
            message.sum().backward()
            results.append((message.detach().cpu(), h.grad.cpu()))
        (message, gradient), (on_cuda, gradient_on_cuda) = results
        assert torch.allclose(message, on_cuda, atol=2e-5)
        assert torch.allclose(gradient, gradient_on_cuda)
