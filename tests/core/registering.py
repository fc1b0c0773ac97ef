"""The toy, able to register: what is common to all backends needs no more."""

from pathlib import Path

from cst_core.errors import DataError
from cst_core.formats.pair_list import Listed, read_pairs


class Registering:
    """The toy, able to register text files; one that says ``broken`` it refuses."""

    def __init__(self, toy) -> None:
        self._toy, self.calls = toy, 0

    def __getattr__(self, name):
        return getattr(self._toy, name)

    def register_files(self, model, request, folder):
        assert model.description
        assert list(folder.iterdir()) == []
        self.calls += 1
        (folder / "half").write_text("half")
        text = request.moving.read_text()
        if text == "broken":
            raise DataError(f"{request.moving}: is broken; mend it")
        if text == "unforeseen":
            raise RuntimeError("two\nlines")
        return {"final": {"dice": float("nan"), "tre_mm": 1.0}, "initial": {}, "seconds": {"total": 0.1}, "notes": [],
                "files": {}, "confidence": None}  # fmt: skip


def write_pairs(folder: Path, **texts: str) -> list[Listed]:
    """A list of pairs, of which the moving file says what happens."""
    rows = ["id,fixed,moving"]
    for id, text in texts.items():
        (folder / f"{id}.txt").write_text(text)
        rows.append(f"{id},f.txt,{id}.txt")
    (folder / "f.txt").write_text("f")
    (folder / "pairs.csv").write_text("\n".join(rows))
    return read_pairs(folder / "pairs.csv")
