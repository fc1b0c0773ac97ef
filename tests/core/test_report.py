"""Reports as files: what they hold, that they hold it all themselves, and what they say when something is missing."""

from __future__ import annotations

import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import report_folders
from PIL import Image

from cst_core.errors import DataError
from cst_core.report import write_registration_report, write_run_report
from cst_core.report.charts import counts, nice_ticks
from cst_core.report.checks import checks_of, verdict_of
from cst_core.report.mosaic import columns, contrast, label_bytes, lossy, mosaic
from cst_core.report.page import embedded_json
from cst_core.report.run_figures import sign_test
from cst_core.report.run_log import read_log
from cst_core.report.volume_file import read_header, read_vectors, read_volume, reduction

VOID = {"meta", "link", "input", "img", "br", "hr", "circle", "line", "rect", "polyline"}


class Page(HTMLParser):
    """Collects what tests ask for, and that every element is closed in its turn."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def data(self, name: str) -> dict[str, Any]:
        """What a script of the page is given."""
        found = re.search(rf'id="{name}">(.*?)</script>', self.source, re.DOTALL)
        assert found
        return json.loads(found[1])


def check_alone(page: Page) -> None:
    """Nothing is loaded, pictures are described, controls are named."""
    for tag, attributes in page.elements:
        for name in ("src", "href", "action", "srcset", "data"):
            address = attributes.get(name)
            assert address is None or address.startswith(("data:", "#")), (tag, address)
        if tag in ("img", "svg", "canvas"):
            assert attributes.get("alt") or attributes.get("aria-label")
    assert not re.findall(r"(?:https?:)?//[a-z]+\.[a-z]", re.sub(r"base64,[^\"')]*", "", page.source))
    assert "@import" not in page.source
    assert 'http-equiv="Content-Security-Policy"' in page.source


def decoded(uri: str, shape: tuple[int, int, int]) -> np.ndarray:
    """The volume in a mosaic, as the browser reads it."""
    import io

    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))).convert("L"))
    wide = columns(shape)
    tiles = [
        picture[(k // wide) * shape[1] : (k // wide + 1) * shape[1], (k % wide) * shape[0] : (k % wide + 1) * shape[0]]
        for k in range(shape[2])
    ]
    return np.stack(tiles, axis=-1).transpose(1, 0, 2)


@pytest.fixture(scope="module")
def registration(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Page]:
    folder = report_folders.registration_folder(tmp_path_factory.mktemp("image"))
    write_registration_report(folder, folder / "report.html")
    return folder, Page(folder / "report.html")


def test_a_registration_is_shown_whole(registration: tuple[Path, Page]) -> None:
    folder, page = registration
    check_alone(page)
    assert (folder / "report.html").stat().st_size < 300_000
    data = page.data("planes-data")
    assert [image["key"] for image in data["images"]] == ["fixed", "warped", "moving"]
    assert [one["key"] for one in data["maps"]] == ["displacement", "jacobian", "confidence"]
    assert set(data["labels"]) == {"fixed", "warped", "moving"}
    assert len(page.all("canvas")) == 3
    assert sum(a.get("type") == "range" for a in page.all("input")) == 4
    for said in (
        "moving onto fixed",
        "Good",
        "Forward and backward agree",
        "0.610 → 0.860",
        "A note about <this> & that.",
        "liver",
    ):
        assert said in page.text
    assert "antsApplyTransforms -d 3 -i moving.nii.gz -r fixed.nii.gz" in page.text


def test_volumes_reach_the_page_in_anatomical_order(registration: tuple[Path, Page]) -> None:
    _, page = registration
    data = page.data("planes-data")
    shape = tuple(data["shape"])
    assert shape == report_folders.SHAPE
    assert data["spacing"] == pytest.approx(report_folders.SPACING)
    affine = np.diag([*data["spacing"], 1.0])
    affine[:3, 3] = data["origin"]
    values, labels = report_folders.body(report_folders.world(shape, affine))
    np.testing.assert_array_equal(decoded(data["labels"]["fixed"], shape), labels)
    fixed = decoded(data["images"][0]["uri"], shape)
    assert np.abs(contrast(values).bytes(values).astype(int) - fixed).mean() < 5


def test_the_moving_scan_is_shown_where_its_header_places_it(registration: tuple[Path, Page]) -> None:
    _, page = registration
    data = page.data("planes-data")
    shape = tuple(data["shape"])
    fixed, warped, moving = (decoded(data["labels"][key], shape) for key in ("fixed", "warped", "moving"))
    np.testing.assert_array_equal(fixed, warped)
    x = [np.argwhere(labels == 2)[:, 0].mean() * data["spacing"][0] for labels in (fixed, moving)]
    assert x[1] - x[0] == pytest.approx(report_folders.SHIFT, abs=2.5)  # about what it was displaced by, rightwards


def test_folds_and_displacements_survive(registration: tuple[Path, Page]) -> None:
    _, page = registration
    data = page.data("planes-data")
    shape = tuple(data["shape"])
    folds = decoded(data["maps"][1]["folds"], shape)
    assert np.argwhere(folds).tolist() == [[shape[0] - 1 - 20, shape[1] - 1 - 18, 6]]  # the file runs to L and P
    field = data["field"]
    vectors = np.frombuffer(base64.b64decode(field["data"]), "<i2").reshape(*field["shape"][::-1], 3)
    largest = vectors[..., 0].max() / field["scale"]
    assert largest == pytest.approx(report_folders.SHIFT, rel=0.1)
    assert not vectors[..., 1:].any()


def test_an_affine_is_taken_out_of_the_field(tmp_path: Path) -> None:
    folder = report_folders.registration_folder(tmp_path)
    affine = np.eye(4)
    affine[0, 3] = report_folders.SHIFT
    shape, grid = report_folders.SHAPE, report_folders.grid(report_folders.SHAPE, report_folders.SPACING, "LPS")
    lps = np.zeros((*shape, 1, 3), dtype=np.float32)
    lps[..., 0] = -report_folders.SHIFT
    report_folders.save(folder / "displacement.nii.gz", lps, grid, "vector")
    change(folder, affine={"used": True, "matrix_ras": affine.tolist()})
    write_registration_report(folder, tmp_path / "report.html")
    data = Page(tmp_path / "report.html").data("planes-data")
    assert not np.frombuffer(base64.b64decode(data["field"]["data"]), "<i2").any()
    assert [image["key"] for image in data["images"]] == ["fixed", "warped", "affine", "moving"]
    assert set(data["labels"]) == {"fixed", "warped", "moving", "affine"}


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    folder = report_folders.registration_folder(tmp_path)
    (tmp_path / "moving.nii.gz").unlink()
    (tmp_path / "fixed_labels.nii.gz").write_bytes(b"changed")
    (folder / "jacobian.nii.gz").unlink()
    (folder / "confidence.nii.gz").write_bytes(b"no volume")
    (folder / "displacement.nii.gz").write_bytes((folder / "displacement.nii.gz").read_bytes()[:900])
    write_registration_report(folder, tmp_path / "report.html")
    page = Page(tmp_path / "report.html")
    data = page.data("planes-data")
    assert [image["key"] for image in data["images"]] == ["fixed", "warped"]
    assert data["maps"] == []
    assert data["field"] is None
    for said in (
        "moving.nii.gz) is not there any more",
        "fixed_labels.nii.gz (fixed_labels) has changed",
        "jacobian.nii.gz is missing",
        "confidence.nii.gz: no readable NIfTI file",
        "displacement.nii.gz: voxels cannot be read",
    ):
        assert said in page.text


def test_without_images_figures_remain(tmp_path: Path) -> None:
    report_folders.write_result(tmp_path, {"fixed": {"path": "/nowhere/fixed.nii.gz", "sha256": None}}, "image")
    write_registration_report(tmp_path, tmp_path / "report.html")
    page = Page(tmp_path / "report.html")
    check_alone(page)
    assert not page.all("canvas")
    assert "0.610 → 0.860" in page.text


def test_figures_that_are_not_there_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "register.json").write_text('{"format": "cst-registration-1", "confidence": null, "notes": null}')
    write_registration_report(tmp_path, tmp_path / "report.html")
    page = Page(tmp_path / "report.html")
    check_alone(page)
    assert "No confidence was computed" in page.text
    assert "Checks" not in page.text


def test_clouds_are_packed_whole(tmp_path: Path) -> None:
    folder = report_folders.cloud_folder(tmp_path)
    write_registration_report(folder, tmp_path / "report.html")
    page = Page(tmp_path / "report.html")
    check_alone(page)
    assert (tmp_path / "report.html").stat().st_size < 200_000
    sets = {one["key"]: one for one in page.data("clouds-data")["sets"]}
    assert set(sets) == {"fixed", "displaced", "moving", "landmarks"}
    fixed, displaced, moving = (unpacked(sets[key]["points"]) for key in ("fixed", "displaced", "moving"))
    lengths = np.linalg.norm(displaced - fixed, axis=1)
    np.testing.assert_allclose(
        lengths, np.frombuffer(base64.b64decode(sets["displaced"]["values"]["displacement"]), "<f4"), atol=1e-3
    )
    np.testing.assert_allclose(np.sort(moving, axis=0), np.sort(displaced, axis=0), atol=1e-3)
    assert [scale["key"] for scale in page.data("clouds-data")["scales"]] == ["displacement", "error"]
    assert "Every landmark" in page.text


def test_columns_are_found_by_name_and_a_common_shift_is_taken_off(tmp_path: Path) -> None:
    folder = report_folders.cloud_folder(tmp_path)
    x = np.random.default_rng(0).normal(size=(50, 3))
    u = np.array([500.0, 0, 0]) + np.arange(150).reshape(50, 3) / 50
    np.savetxt(folder / "displaced.csv", x + u, delimiter=",", header="x,y,z", comments="")
    table = np.hstack([x, u, np.full((50, 1), 2.5)])
    np.savetxt(folder / "displacement.csv", table, delimiter=",", header="x,y,z,dx,dy,dz,confidence_mm", comments="")
    write_registration_report(folder, tmp_path / "report.html")
    data = Page(tmp_path / "report.html").data("clouds-data")
    sets = {one["key"]: one for one in data["sets"]}
    np.testing.assert_allclose(np.sort(unpacked(sets["fixed"]["points"]), axis=0), np.sort(x, axis=0), atol=1e-4)
    assert data["scales"][0]["name"] == "displacement beyond the common shift of 501 mm"
    assert data["scales"][0]["top"] < 4
    assert set(np.frombuffer(base64.b64decode(sets["displaced"]["values"]["confidence"]), "<f4")) == {2.5}


def unpacked(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), "<f4").reshape(-1, 3)


def change(folder: Path, **changes: Any) -> None:
    """Other values in ``register.json``."""
    path = folder / "register.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize("measure", ["dice", "tre_mm"])
def test_a_run_is_shown_whole(measure: str, tmp_path: Path) -> None:
    run = report_folders.run_folder(tmp_path, measure)
    (run / "figures").mkdir()
    Image.new("RGB", (2000, 400), "red").save(run / "figures" / "pair_1.png")
    write_run_report(run, tmp_path / "report.html")
    page = Page(tmp_path / "report.html")
    check_alone(page)
    assert (tmp_path / "report.html").stat().st_size < 100_000
    charts = [str(a.get("aria-label")) for a in page.all("svg")]
    assert sum("Difficulty" in name for name in charts) == 2
    assert "Training loss" in charts
    assert ("Dice of every class, first and last" in charts) == (measure == "dice")
    assert [a.get("alt") for a in page.all("img")] == ["pair 1: before and after registration"]
    for said in ("Good", "better in 5 of 5 test pairs", "best", "median", "worst", "the built-in phantom", "reach"):
        assert said in page.text
    if measure == "dice":
        assert "<spleen>" in page.text


@pytest.mark.parametrize("name", [None, "<MIND> features"])
def test_the_first_features_are_called_what_they_are(name: str | None, tmp_path: Path) -> None:
    run = report_folders.run_folder(tmp_path)
    if name:
        first, *rest = (run / "log.jsonl").read_text().splitlines()
        (run / "log.jsonl").write_text("\n".join([json.dumps(json.loads(first) | {"features": name}), *rest]) + "\n")
    write_run_report(run, tmp_path / "report.html")
    text = Page(tmp_path / "report.html").text
    assert ("random" in text) == (name is None)
    for said in ("0.600 with {}, ", "{} are the start of the cycle"):
        assert said.format(name or "random features") in text


def test_an_unfinished_run_says_so(tmp_path: Path) -> None:
    run = report_folders.run_folder(tmp_path, status="running")
    log = (run / "log.jsonl").read_text().splitlines()
    (run / "log.jsonl").write_text("\n".join(log[: len(log) // 2]) + '\n{"kind": "st')
    (run / "config.toml").write_text("[train]\nstages = 2\n")
    write_run_report(run, tmp_path / "report.html")
    page = Page(tmp_path / "report.html")
    for said in ("is not finished", "0 of 2 stages are evaluated", "1 damaged line", "the gain is unknown"):
        assert said in page.text


def test_an_empty_run_is_shown(tmp_path: Path) -> None:
    run = report_folders.run_folder(tmp_path, status="running")
    (run / "log.jsonl").unlink()
    (run / "config.toml").unlink()
    write_run_report(run, tmp_path / "report.html")
    assert "No stage was evaluated" in Page(tmp_path / "report.html").text


def test_a_resumed_run_counts_steps_once(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    lines = [report_folders.event("step", stage, done, 40, value) for stage, done, value in
             [(1, 20, 5.0), (1, 40, 4.0), (1, 40, 3.0), (2, 20, 2.0)]]  # fmt: skip
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert read_log(path).losses == [(20.0, 5.0), (40.0, 3.0), (60.0, 2.0)]


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "is no registration"), ("{", "is damaged"), ('{"format": "other"}', "has the format 'other'")],
)
def test_no_registration_is_refused(content: str | None, said: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "register.json").write_text(content)
    with pytest.raises(DataError, match=said):
        write_registration_report(tmp_path, tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_the_command_tells_the_folders_apart(cst, tmp_path: Path) -> None:
    run, result = report_folders.run_folder(tmp_path), report_folders.cloud_folder(tmp_path)
    assert cst("report", run).code == 0
    assert cst("report", result, "--out", tmp_path / "other.html").out.startswith(f"{tmp_path / 'other.html'} (0.")
    assert "Training run" in (run / "report.html").read_text()
    for arguments, code, said in (
        ((tmp_path,), 1, "holds neither a run (manifest.json) nor a registration (register.json)"),
        ((tmp_path / "nothing",), 1, "there is no such folder"),
        ((run, "--out", tmp_path), 2, "is a folder"),
        ((run, "--out", tmp_path / "no" / "file.html"), 2, "does not exist"),
    ):
        answer = cst("report", *arguments)
        assert answer.code == code
        assert said in answer.err
        assert answer.err.count("\n") == 1


def test_large_volumes_are_reduced_to_cubes() -> None:
    assert reduction((512, 512, 800), (0.7, 0.7, 1.0), 8e6) == (4, 4, 2)
    assert reduction((192, 160, 256), (2.0, 2.0, 2.0), 8e6) == (1, 1, 1)
    assert reduction((512, 512, 40), (0.8, 0.8, 5.0), 8e6) == (2, 2, 1)


def test_reduced_volumes_lie_where_the_whole_ones_do(tmp_path: Path) -> None:
    affine = report_folders.grid((20, 17, 13), (1.0, 2.0, 3.0), "SLP")
    points = report_folders.world((20, 17, 13), affine)
    report_folders.save(tmp_path / "x.nii.gz", points[0].astype(np.float32), affine)
    volume = read_volume(tmp_path / "x.nii.gz", (3, 2, 2), "mean")
    expected = report_folders.world(volume.values.shape, volume.affine)[0]
    np.testing.assert_allclose(volume.values, expected, atol=1e-4)
    assert volume.values.shape == (8, 6, 6)  # right, anterior, superior
    assert (np.diag(volume.affine)[:3] > 0).all()


def test_the_least_value_of_a_block_is_kept(tmp_path: Path) -> None:
    values = np.ones((8, 8, 8), dtype=np.float32)
    values[5, 2, 7] = -1
    report_folders.save(tmp_path / "j.nii.gz", values, np.eye(4))
    least = read_volume(tmp_path / "j.nii.gz", (2, 2, 2), "least").values
    assert np.argwhere(least < 0).tolist() == [[2, 1, 3]]


@pytest.mark.parametrize("shape", [(6, 5, 4, 3), (6, 5, 4, 1, 3)])
def test_vectors_become_ras(shape: tuple[int, ...], tmp_path: Path) -> None:
    values = np.zeros(shape, dtype=np.float32)
    values[...] = [1, 2, 3]
    report_folders.save(tmp_path / "u.nii.gz", values, report_folders.grid((6, 5, 4), (1, 1, 1), "PIR"))
    read = read_vectors(tmp_path / "u.nii.gz", (1, 1, 1))
    assert read.values.shape == (4, 6, 5, 3)
    assert (read.values == [-1, -2, 3]).all()


def test_a_tilt_is_measured(tmp_path: Path) -> None:
    angle = np.radians(20)
    affine = np.eye(4)
    affine[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    report_folders.save(tmp_path / "t.nii.gz", np.zeros((4, 4, 4), np.float32), affine)
    assert read_header(tmp_path / "t.nii.gz").tilt == pytest.approx(20, abs=1e-4)


def test_a_mosaic_holds_every_slice() -> None:
    values = np.random.default_rng(0).integers(0, 255, (5, 7, 11), dtype=np.uint8)
    tiles, wide = mosaic(values), columns((5, 7, 11))
    for k in range(11):
        row, column = divmod(k, wide)
        np.testing.assert_array_equal(tiles[row * 7 : (row + 1) * 7, column * 5 : (column + 1) * 5], values[..., k].T)


def test_noise_does_not_make_a_page_large() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (60, 60, 60), dtype=np.uint8)
    free, bounded = (len(lossy(noise, most)) for most in (10**9, 60_000))
    assert free > 120_000
    assert bounded < 60_000 * 1.4


def test_labels_share_numbers_between_maps() -> None:
    known: list[int] = []
    first = label_bytes(np.array([[[0, 900, 3]]]), known)
    second = label_bytes(np.array([[[3, 900, 7]]]), known)
    assert first.tolist() == [[[0, 2, 1]]]
    assert second.tolist() == [[[1, 2, 3]]]


def test_contrast_shows_the_body() -> None:
    values = np.full((20, 20, 20), -1000.0)
    values[5:15, 5:15, 5:15] = np.linspace(-100, 200, 1000).reshape(10, 10, 10)
    window = contrast(values)
    assert -400 < window.low < -100
    assert 150 < window.high < 250


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(0.0, 1.0, [0, 0.25, 0.5, 0.75, 1]), (0.37, 0.39, None), (3.0, 3.0, None), (0.0, 97.0, None)],
)
def test_ticks_are_round_and_enclose(low: float, high: float, ticks: list[float] | None) -> None:
    found = nice_ticks(low, high)
    assert found[0] <= low
    assert found[-1] >= high
    assert 2 <= len(found) <= 7
    if ticks:
        assert found == ticks


def test_a_histogram_counts_every_value_once() -> None:
    assert counts([0.0, 0.5, 1.0, 1.99, 2.0], [0.0, 1.0, 2.0]) == [2, 3]


@pytest.mark.parametrize(("better", "of", "chance"), [(5, 5, 1 / 32), (0, 4, 1.0), (2, 3, 0.5)])
def test_the_sign_test_counts_coins(better: int, of: int, chance: float) -> None:
    assert sign_test(better, of) == pytest.approx(chance)


def test_a_failed_check_takes_the_good_verdict_away() -> None:
    good = {"verdict": "good", "text": "Fine."}
    initial, final = {"dice": 0.5}, {"dice": 0.4}
    assert verdict_of({"confidence": good}) == ("good", "Fine.")
    assert verdict_of({"confidence": good, "initial": initial, "final": final})[0] == "check"
    assert verdict_of({"confidence": None})[0] == "check"
    checks = checks_of({"folding_percent": 5.0, "initial": {"ncc": 0.1}, "final": {"ncc": 0.2}})
    assert [check.mark for check in checks] == ["ok", "bad"]


def test_data_in_a_page_cannot_end_its_script() -> None:
    text = embedded_json({"a": "</script><b>", "b": float("nan")})
    assert "<" not in text
    assert json.loads(text) == {"a": "</script><b>", "b": None}
