import pytest
from pydantic import ValidationError

from cst_image.config import ImageConfig


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("window", (300, -200)),
        ("window", (100, 100)),
        ("percentiles", (99, 1)),
        ("percentiles", (-1, 99)),
        ("percentiles", (1, 101)),
        ("spacing", 0),
        ("shape", (64, 64)),
        ("shape", (64, 64, 0)),
        ("memory_gb", 0),
        ("max_train_pairs", 0),
        ("max_test_pairs", 0),
    ],
)
def test_impossible_data_settings(name, value):
    with pytest.raises(ValidationError, match=name):
        ImageConfig.model_validate({name: value})


def test_no_bound_on_training_pairs():
    assert ImageConfig(max_train_pairs=None).max_train_pairs is None
