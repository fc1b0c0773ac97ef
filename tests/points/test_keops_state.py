from cst_points import knn
from cst_points.keops_state import keops_state


def test_state_from_the_cache_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("KEOPS_CACHE_FOLDER", str(tmp_path))
    assert "nothing compiled yet" in keops_state(False)
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "formula.so").write_bytes(b"")
    assert "1 compiled formulas" in keops_state(False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "no C++ compiler found: install g++" in keops_state(False)


def test_trying_says_why_it_fails(monkeypatch):
    def broken(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(knn, "nearest_keops", broken)
    knn.keops_works.cache_clear()
    assert "no space left" in keops_state(True)
    knn.keops_works.cache_clear()
