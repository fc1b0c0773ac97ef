"""Many pairs into one folder, by one process or by several."""

import csv
import json
import os
import subprocess
import sys

import pytest
from registering import Registering, write_pairs

from cst_core.batch_summary import SUMMARY, finished, summarise
from cst_core.cli_register import say_summary
from cst_core.errors import ConfigError, CstError
from cst_core.formats.pair_list import Listed
from cst_core.models import load_model
from cst_core.register_batch import Batch, check_batch_folder, register_batch
from cst_core.shard import Shard, held


@pytest.fixture
def plugin(toy):
    return Registering(toy)


@pytest.fixture
def model(plugin):
    return load_model("random", plugin, "cpu")


def batch(plugin, model, **given):
    return Batch(plugin, model, "random", True, "cpu", **({"resume": False, "overwrite": False} | given))


def names(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith(".lock"))


def test_a_batch_goes_on_after_failures_and_resumes(plugin, model, tmp_path):
    pairs, out, told = write_pairs(tmp_path, a="a", b="broken", c="unforeseen", d="d"), tmp_path / "out", []
    became = register_batch(batch(plugin, model), pairs, out, told.append)
    assert became == {"a": "done", "b": "failed", "c": "failed", "d": "done"}
    assert [(outcome.id, outcome.what) for outcome in told] == list(became.items())
    assert told[1].error == f"{tmp_path}/b.txt: is broken; mend it"
    assert told[2].error == "RuntimeError: two lines"
    assert names(out) == ["a", "b.failed.txt", "c.failed.txt", "d"]
    assert (out / "b.failed.txt").read_text() == f"{told[1].error}\n"

    with pytest.raises(ConfigError, match="--resume"):
        register_batch(batch(plugin, model), pairs, out, told.append)

    plugin.calls = 0
    (tmp_path / "b.txt").write_text("b")  # mended
    (tmp_path / "d.txt").write_text("another d")
    (out / ".c.999999999.partial").mkdir()  # of a process that was killed
    (out / f".b.{os.getpid()}.partial").mkdir()  # of one that had our number, as in a container
    became = register_batch(batch(plugin, model, resume=True), pairs, out, told.append)
    assert list(became.values()) == ["kept", "done", "failed", "done"]
    assert plugin.calls == 3
    assert names(out) == ["a", "b", "c.failed.txt", "d"]

    (out / "a" / "register.json").write_text("{")
    became = register_batch(batch(plugin, model, resume=True), pairs, out, told.append)
    assert list(became.values()) == ["done", "kept", "failed", "kept"]
    assert json.loads((out / "a" / "register.json").read_text())["backend"] == "toy"

    plugin.calls = 0
    register_batch(batch(plugin, model, overwrite=True), pairs, out, told.append)
    assert plugin.calls == 4


def test_shards_fill_one_folder_and_the_last_sums_up(plugin, model, tmp_path):
    pairs = write_pairs(tmp_path, a="a", b="broken", c="c", d="d", e="unforeseen")
    out, whole = tmp_path / "out", tmp_path / "whole"
    register_batch(batch(plugin, model), pairs, whole, lambda _: None)
    plugin.calls, became = 0, {}
    for number in (3, 1, 2):  # in any order
        assert finished(pairs, out) < 5 if out.exists() else True
        became |= register_batch(batch(plugin, model), pairs, out, lambda _: None, Shard(number, 3))
    assert plugin.calls == 5  # each pair once
    assert {id for id, what in became.items() if what == "failed"} == {"b", "e"}
    assert names(out) == names(whole)
    for id in ("a", "c", "d"):
        ours, theirs = (json.loads((folder / id / "register.json").read_text()) for folder in (out, whole))
        assert ours == theirs
    assert finished(pairs, out) == 5
    found = summarise(pairs, out)
    assert (found.complete, found.failed) == (3, ["b", "e"])
    assert found.mean == {"tre_mm": 1.0, "seconds": pytest.approx(0.1)}
    with (out / SUMMARY).open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["id"], row["state"], row["tre_mm"]) for row in rows] == [
        *(("a", "complete", "1.0"), ("b", "failed", ""), ("c", "complete", "1.0"), ("d", "complete", "1.0")),
        ("e", "failed", ""),
    ]
    assert rows[1]["error"].endswith("b.txt: is broken; mend it")
    said: list[str] = []
    say_summary(found, out, said.append)
    assert said == [
        "All pairs: 3 complete, 2 failed; TRE mm - -> 1.00; seconds 0.1",
        f"Summary: {out / SUMMARY}",
    ]


def test_a_shard_that_was_killed_goes_on_without_the_others_pairs(plugin, model, tmp_path):
    pairs, out = write_pairs(tmp_path, a="a", b="b", c="c", d="d"), tmp_path / "out"
    register_batch(batch(plugin, model), pairs, out, lambda _: None, Shard(1, 2))
    # another machine's process is at work on b: its number says nothing here
    (out / ".b.999999999.partial").mkdir()
    (out / ".a.999999999.partial").mkdir()
    plugin.calls = 0
    became = register_batch(batch(plugin, model, resume=True), pairs, out, lambda _: None, Shard(1, 2))
    assert became == {"a": "kept", "c": "kept"}
    assert plugin.calls == 0
    assert names(out) == [".b.999999999.partial", "a", "c"]
    with pytest.raises(ConfigError, match="holds results of 2 of the pairs"):
        register_batch(batch(plugin, model), pairs, out, lambda _: None, Shard(1, 2))


@pytest.mark.parametrize("id", ["summary.csv", "case.failed.txt"])
def test_no_pair_bears_the_name_of_a_file_beside_it(tmp_path, id):
    with pytest.raises(ConfigError, match="is the name of a file beside the results"):
        check_batch_folder(tmp_path / "out", [Listed(id, {})], False, False)


_HOLD = """
import sys
from pathlib import Path
from cst_core.shard import held, parse_shard
with held(Path(sys.argv[1]), parse_shard(sys.argv[2])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_nobody_else_has_the_same_pairs(tmp_path):
    command = [sys.executable, "-c", _HOLD, str(tmp_path), "2/4"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        for shard in (Shard(1, 4), Shard(3, 4)):
            with held(tmp_path, shard):
                pass
        for shard, words in ((Shard(2, 4), f"pid {other.pid}"), (Shard(1, 1), "is in use"), (Shard(1, 3), "4 shares")):
            with pytest.raises(CstError, match=words), held(tmp_path, shard):
                pass
        other.communicate("")
    for shard in (Shard(2, 4), Shard(1, 3), Shard(1, 1)):
        with held(tmp_path, shard):
            pass


def test_what_a_batch_reads_does_not_grow_with_its_square(plugin, model, tmp_path, monkeypatch):
    """The folder of results is listed once, and the weights are read once, however many pairs there are."""
    pairs, listed = write_pairs(tmp_path, **{f"p{i}": "x" for i in range(12)}), []
    scan = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path=".": listed.append(str(path)) or scan(path))
    weights = tmp_path / "weights"
    weights.write_bytes(b"w")
    read = []
    monkeypatch.setattr("cst_core.register._sha256", lambda path: read.append(path) or "0")
    out = tmp_path / "out"
    register_batch(batch(plugin, model._replace(file=weights)), pairs, out, lambda _: None)
    assert listed.count(str(out)) == 1
    assert read.count(weights) == 1
