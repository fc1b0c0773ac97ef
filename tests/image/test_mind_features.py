"""MIND-SSC in g's place: on the lattices, and as the features that make the first labels."""

import pytest
import torch

from cst_core.config import TrainConfig
from cst_core.field import Grid
from cst_core.models import load_model
from cst_core.training import self_train
from cst_image.backend import ImageBackend
from cst_image.config import ImageConfig
from cst_image.lattice import lattice_shape
from cst_image.mind import mind_ssc
from cst_image.mind_features import MindFeatures
from cst_image.network import FeatureCNN
from cst_image.pair import ImagePair
from cst_image.plugin import PLUGIN
from cst_image.presets import PRESETS

SMALL = dict(PRESETS["small"].backend) | {"adam_steps": 10, "adam_rounds": 2, "channels": (4, 4, 8, 8)}


def volumes(count: int, *shape: int) -> torch.Tensor:
    return torch.rand(count, 1, *shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("stride", "label_stride"), [(2, 1), (4, 2), (8, 2)])
def test_features_lie_on_the_lattices(stride, label_stride):
    both = volumes(2, 17, 12, 15)
    network = MindFeatures(stride, label_stride)
    last, instance = network(both)
    assert last.shape == (2, 12, *lattice_shape((17, 12, 15), stride))
    assert instance.shape == (2, 12, *lattice_shape((17, 12, 15), label_stride))
    assert torch.equal(network.instance(both), instance)
    if label_stride == 1:
        assert torch.equal(instance[1], mind_ssc(both[1]))


def test_first_features_are_as_configured():
    given = ImageConfig.model_validate(SMALL | {"first_features": "mind", "mind_radius": 2, "mind_dilation": 1})
    found = ImageBackend(given).untrained(0)
    assert isinstance(found, MindFeatures)
    assert (found.stride, found.label_stride, found.radius, found.dilation) == (2, 1, 2, 1)
    assert isinstance(ImageBackend(given).new_network(0), FeatureCNN)  # what is trained stays a network
    assert isinstance(ImageBackend(ImageConfig.model_validate(SMALL)).untrained(0), FeatureCNN)


@pytest.fixture
def pair() -> ImagePair:
    """The moving scan lies two voxels further along the first axis, and is inverted: what random features trip over."""
    texture = volumes(1, 36, 22, 20)[0] - 0.4
    texture = torch.nn.functional.avg_pool3d(texture, 3, 1, 1) * 3
    return ImagePair(
        texture[:, 4:].contiguous(), -texture[:, 2:34].contiguous(), Grid.of((32, 22, 20), (1.0, 1.0, 1.0))
    )


def first_label(pair: ImagePair, name: str) -> torch.Tensor:
    """What the first stage is taught, and that it is the registration by the first features."""
    backend = ImageBackend(ImageConfig.model_validate(SMALL | {"first_features": name}))
    first, taught = backend.untrained(0), []
    augment = backend.augment

    def seen(pair, label, generator):
        taught.append(label)
        return augment(pair, label, generator)

    backend.augment = seen
    result = self_train(backend, [pair], TrainConfig(stages=1, iterations=1, batch_size=1, margin=0), first=first)
    assert isinstance(result.network, FeatureCNN)
    (label,) = taught
    torch.testing.assert_close(label, backend.register(first, pair).refined, rtol=1e-3, atol=1e-2)  # kept as halves
    return label


def test_they_make_the_first_labels(pair):
    truth = torch.tensor([2.0, 0.0, 0.0])[:, None, None, None]
    by_mind, by_chance = (
        float((first_label(pair, name) - truth)[:, 5:-5, 5:-5, 5:-5].norm(dim=0).mean()) for name in ("mind", "random")
    )
    assert by_mind < 0.6
    assert by_chance > 1.5


def test_beside_the_networks_own_in_instance_optimisation(pair):
    """12 channels more in every round: of both scans, and of the moving one as warped so far."""
    backend = ImageBackend(ImageConfig.model_validate(SMALL | {"instance_mind": True}))
    plain = ImageBackend(ImageConfig.model_validate(SMALL))
    network, matched = backend.untrained(0).eval(), []
    optimise = backend.optimise

    def seen(fixed, moving, *rest, **settings):
        matched.append((fixed, moving))
        return optimise(fixed, moving, *rest, **settings)

    backend.optimise = seen
    found = backend.register(network, pair)
    assert [len(features) for both in matched for features in both] == [16, 16, 16, 16]
    mind = mind_ssc(pair.fixed)
    even = (mind - mind.mean((1, 2, 3), keepdim=True)) / mind.std((1, 2, 3), correction=0, keepdim=True)
    for fixed, _ in matched:
        torch.testing.assert_close(fixed[4:], even, rtol=1e-4, atol=1e-4)
    assert not torch.equal(matched[0][1], matched[1][1])
    # h does not see them
    assert torch.equal(found.predicted, plain.register(network, pair).predicted)
    assert not torch.equal(found.refined, plain.register(network, pair).refined)


def test_nothing_is_made_that_nobody_matches(pair, monkeypatch):
    monkeypatch.setattr(MindFeatures, "instance", lambda *_: pytest.fail("MIND without instance optimisation"))
    backend = ImageBackend(ImageConfig.model_validate(SMALL | {"instance_mind": True, "adam": False}))
    assert backend.register(backend.untrained(0), pair).refined.isfinite().all()


def test_not_beside_themselves(pair):
    backend = ImageBackend(ImageConfig.model_validate(SMALL | {"first_features": "mind"}))
    both = ImageBackend(backend.config.model_copy(update={"instance_mind": True}))
    first = backend.untrained(0)
    assert torch.equal(backend.register(first, pair).refined, both.register(first, pair).refined)


def test_they_are_called_what_they_are():
    model = load_model("random:small", PLUGIN, "cpu", ["first_features=mind"])
    assert model.description == "MIND features, not trained"
    assert load_model("random:small", PLUGIN, "cpu").description == "random features (seed 0), not trained"
