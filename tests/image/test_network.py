"""g for volumes: the paper's layers, on the lattice that is promised, in towers."""

import pytest
import torch
from torch import Tensor, nn

from cst_image.lattice import lattice_shape
from cst_image.network import FeatureCNN


def volumes(*shape: int, batch: int = 1) -> Tensor:
    return torch.rand(batch, 1, *shape, generator=torch.Generator().manual_seed(0)) - 0.4


def network(seed: int = 0, **options: object) -> FeatureCNN:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return FeatureCNN(**({"channels": (4, 6, 8), "strides": (2, 1, 2), "features": 5} | options))  # type: ignore[arg-type]


def test_layers_are_the_papers():
    (tower,) = FeatureCNN().towers
    convolutions = [m for m in tower.modules() if isinstance(m, nn.Conv3d)]
    assert [c.out_channels for c in convolutions] == [32, 64, 128, 128, 128, 16]
    assert [c.stride[0] for c in convolutions] == [2, 1, 2, 1, 2, 1]
    assert [c.kernel_size[0] for c in convolutions] == [3, 3, 3, 3, 3, 1]
    assert {c.padding_mode for c in convolutions} == {"zeros"}
    assert sum(isinstance(m, nn.BatchNorm3d) for m in tower.modules()) == 5
    assert isinstance(list(tower.modules())[-1], nn.Conv3d)  # features have a sign


@pytest.mark.parametrize("shape", [(16, 20, 14), (31, 40, 24), (9, 1, 6)])
def test_features_stand_on_their_lattices(shape):
    made = network()(volumes(*shape, batch=2))
    assert made.last.shape == (2, 5, *lattice_shape(shape, 4))
    assert made.instance.shape == (2, 6, *lattice_shape(shape, 2))


def test_sites_are_centred_on_every_stride_th_voxel():
    """A volume that is mirrored about its middle voxel, with mirrored kernels, gives mirrored features."""
    net = network().eval()
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.Conv3d):
                module.weight.copy_(module.weight + module.weight.flip(2, 3, 4))
    volume = volumes(17, 13, 21)  # 4 k + 1: the last voxel is a site as the first is
    for one, other in zip(net(volume), net(volume.flip(2, 3, 4)), strict=True):
        assert torch.allclose(one.flip(2, 3, 4), other, atol=1e-5)
    changed = volume.clone()
    changed[0, 0, 8, 8, 12] += 1
    where = (net(changed).last - net(volume).last).abs().sum(1)[0].nonzero()
    assert where.amin(0).tolist() == [1, 1, 2]  # 7 voxels around: the sites at 4, 8 and 12, at 8, 12 and 16
    assert where.amax(0).tolist() == [3, 3, 4]


@torch.no_grad()
def test_by_default_instance_features_are_the_second_blocks_output():
    net, volume = network().eval(), volumes(8, 8, 8)
    (tower,) = net.towers
    second = tower.blocks[1](tower.blocks[0](volume))
    assert torch.equal(net(volume).instance, second)
    assert float(second.min()) == 0  # after ReLU, and not changed by what follows
    assert torch.equal(net(volume).last, tower.last(tower.blocks[2](second)))


@torch.no_grad()
def test_instance_features_are_those_of_the_blocks_asked_for():
    volume = volumes(8, 8, 8)
    (tower,) = network().eval().towers
    first = tower.blocks[0](volume)
    outputs = {1: first, 2: tower.blocks[1](first)}
    for blocks in ((1,), (2,), (1, 2)):
        made = network(instance_blocks=blocks).eval()(volume)
        assert torch.equal(made.instance, torch.cat([outputs[block] for block in blocks], dim=1))
        assert torch.equal(made.last, network().eval()(volume).last)


@torch.no_grad()
def test_instance_features_can_be_had_alone_and_nothing_beyond_them_is_computed():
    volume = volumes(8, 8, 8)
    for blocks in ((1,), (2,), (1, 2)):
        net = network(instance_blocks=blocks, towers=2).eval()
        expected = net(volume).instance
        for tower in net.towers:
            tower.last = nn.Identity()
            for block in list(tower.blocks)[max(blocks) :]:
                block.register_forward_pre_hook(lambda *_: pytest.fail("a block that was not needed"))
        assert torch.equal(net.instance(volume), expected)


def test_towers_are_concatenated():
    wide, volume = network(towers=3).eval(), volumes(8, 8, 8)
    made = wide(volume)
    assert (made.last.shape[1], made.instance.shape[1]) == (15, 18)
    for number in range(3):
        alone = network(seed=9).eval()
        alone.towers[0].load_state_dict(wide.towers[number].state_dict())
        assert torch.equal(made.last[:, 5 * number : 5 * number + 5], alone(volume).last)
        assert torch.equal(made.instance[:, 6 * number : 6 * number + 6], alone(volume).instance)
    assert not torch.allclose(made.last[:, :5], made.last[:, 5:10])


def test_instance_norm_is_each_volumes_own():
    batch = torch.cat([volumes(8, 8, 8), 3 * volumes(8, 8, 8)])
    for norm, own in (("instance", True), ("batch", False)):
        net = network(norm=norm).train()
        together, alone = net(batch).last[:1], net(batch[:1]).last
        assert torch.allclose(together, alone, atol=1e-5) == own
    assert {type(m) for m in network(norm="instance").modules()} & {nn.InstanceNorm3d, nn.BatchNorm3d} == {
        nn.InstanceNorm3d
    }


@pytest.mark.parametrize("options", [{"channels": (4, 6)}, {"channels": (4,), "strides": (2,)}])
def test_impossible_blocks(options):
    with pytest.raises(ValueError, match="channels and strides must be as many, two or more"):
        network(**options)
