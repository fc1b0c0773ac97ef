import pytest

from cst_core.errors import ConfigError
from cst_core.shard import WHOLE, Shard, parse_shard


@pytest.mark.parametrize(("n", "count"), [(10, 3), (3, 5), (0, 2), (16, 16), (10_000, 7)])
def test_every_item_belongs_to_one_share_and_shares_are_even(n: int, count: int):
    shares = [Shard(number, count).of(range(n)) for number in range(1, count + 1)]
    assert sorted(item for share in shares for item in share) == list(range(n))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_what_is_said_is_what_is_read():
    assert parse_shard("3/16") == Shard(3, 16)
    assert str(Shard(3, 16)) == "3/16"
    assert parse_shard("1/1") == WHOLE


@pytest.mark.parametrize(
    ("text", "words"),
    [
        *((text, "must be NUMBER/COUNT") for text in ("", "3", "3/", "/16", "-1/4", "3/16/2", "a/b", "٣/٤")),
        *((text, "number the tasks of an array from 1") for text in ("0/16", "17/16", "1/0")),
    ],
)
def test_what_is_no_share_is_said(text: str, words: str):
    with pytest.raises(ConfigError, match=words):
        parse_shard(text)
