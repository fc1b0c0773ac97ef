"""What is common to all backends: the toy's plugin with a registration that writes one small file."""

import pytest
from registering import Registering

from cst_core.errors import ConfigError, DataError
from cst_core.models import load_model
from cst_core.plugin import RegisterRequest
from cst_core.register import check_request, identity, read_result, register, register_files_of, same_request


@pytest.fixture
def plugin(toy):
    return Registering(toy)


@pytest.fixture
def model(plugin):
    return load_model("random", plugin, "cpu")


@pytest.fixture
def request_(tmp_path):
    for name in ("fixed", "moving"):
        (tmp_path / name).write_text(name)
    return RegisterRequest(tmp_path / "fixed", tmp_path / "moving")


def test_a_backend_that_cannot_register_files_says_so(toy):
    with pytest.raises(ConfigError, match="--backend toy: cannot register files"):
        register_files_of(toy)


def test_the_result_says_what_it_was_made_of(plugin, model, request_, tmp_path):
    known = identity(model, "random", request_, "toy")
    result = register(plugin, model, request_, known, tmp_path / "out")
    assert read_result(tmp_path / "out") == result
    assert result["format"] == "cst-registration-1"
    assert result["backend"] == "toy"
    assert result["model"] == {"reference": "random", "description": model.description, "sha256": None}
    assert result["inputs"]["fixed"]["path"] == str(tmp_path / "fixed")
    assert len(result["inputs"]["moving"]["sha256"]) == 64
    assert result["inputs"]["landmarks"] is None
    assert result["final"] == {"dice": None, "tre_mm": 1.0}  # JSON has no NaN
    assert (tmp_path / "out" / "half").exists()


def test_a_failure_leaves_nothing_and_an_old_result_as_it_was(plugin, model, request_, tmp_path):
    out, known = tmp_path / "out", identity(model, "random", request_, "toy")
    before = register(plugin, model, request_, known, out)
    with pytest.raises(ConfigError, match="--overwrite"):
        register(plugin, model, request_, known, out)
    request_.moving.write_text("broken")
    with pytest.raises(DataError, match="is broken"):
        register(plugin, model, request_, known, out, overwrite=True)
    with pytest.raises(DataError, match="is broken"):
        register(plugin, model, request_, known, tmp_path / "other")
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir() and "out" in path.name) == ["out"]
    assert not (tmp_path / "other").exists()
    assert read_result(out) == before


def test_inputs_are_never_in_the_way(request_, tmp_path):
    check_request(request_, tmp_path / "out")
    for out in (tmp_path, tmp_path / "fixed"):
        with pytest.raises(DataError, match="would be replaced"):
            check_request(request_, out)
    with pytest.raises(DataError, match=r"no such file .given as moving mask"):
        check_request(RegisterRequest(request_.fixed, request_.moving, moving_mask=tmp_path / "none"), tmp_path / "out")
    with pytest.raises(DataError, match="measure nothing"):
        check_request(RegisterRequest(request_.fixed, request_.moving, fixed_labels=request_.fixed), tmp_path / "out")


@pytest.mark.parametrize("content", [None, "{", "[]", '{"format": "other"}'])
def test_what_is_no_result_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "register.json").write_text(content)
    with pytest.raises(DataError, match=r"register\.json: "):
        read_result(tmp_path)


def test_the_same_request_is_known_by_content_and_options(model, request_, tmp_path):
    known = identity(model, "random", request_, "toy")
    moved = tmp_path / "elsewhere"
    moved.write_text("moving")
    assert same_request(known, identity(model, "random", RegisterRequest(request_.fixed, moved), "toy"))
    moved.write_text("other")
    assert not same_request(known, identity(model, "random", RegisterRequest(request_.fixed, moved), "toy"))
    without = RegisterRequest(request_.fixed, request_.moving, affine=False)
    assert not same_request(known, identity(model, "random", without, "toy"))
    assert not same_request(known, identity(model, "random:long", request_, "toy"))
    assert not same_request({}, known)
