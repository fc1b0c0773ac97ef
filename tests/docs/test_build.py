"""The documentation is built without a warning, from what is in the repository alone, and says all that there is."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from cst_core.config import TrainConfig
from cst_image.config import ImageConfig
from cst_image.presets import PRESETS as IMAGE_PRESETS
from cst_points.config import PRESETS as POINTS_PRESETS
from cst_points.config import PointsConfig

ROOT = Path(__file__).resolve().parents[2]
_ELSEWHERE = r"\"?(?:https?:)?//"
_FETCHED = re.compile(
    rf"<(?:script|img|iframe|source)\b[^>]*\bsrc={_ELSEWHERE}"
    rf"|<link\b[^>]*\brel=\"?(?:stylesheet|preconnect|preload)\b[^>]*\bhref={_ELSEWHERE}"
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not all(find_spec(name) for name in ("mkdocs", "material", "mkdocstrings")):
        pytest.skip("needs mkdocs-material and mkdocstrings (pip install -e .[docs])")
    folder = tmp_path_factory.mktemp("site")
    environment = os.environ | {
        "NO_MKDOCS_2_WARNING": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        # whatever asks for a page of another host finds nobody there
        **dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9"),
    }
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


def text_of(site: Path, page: str) -> str:
    return (site / page).read_text(encoding="utf-8")


def test_nothing_comes_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 20
    fetched = [page.name for page in pages if _FETCHED.search(page.read_text(encoding="utf-8"))]
    assert fetched == []
    styles = "".join(path.read_text(encoding="utf-8") for path in site.rglob("*.css"))
    assert not re.search(r"url\(['\"]?(?:https?:)?//", styles)


def test_what_is_fetched_is_noticed() -> None:
    assert _FETCHED.search('<link rel="preconnect" href="https://fonts.example" crossorigin>')
    assert _FETCHED.search('<script src="//cdn.example/a.js"></script>')
    assert not _FETCHED.search('<script src="assets/a.js"></script><link rel="stylesheet" href="a.css">')


def test_every_command_is_there(site: Path) -> None:
    page = text_of(site, "reference/commands.html")
    for verb in ("train", "register", "evaluate", "tune", "apply", "convert", "report", "info", "prepare-lung"):
        assert f'id="cst-{verb}"' in page
    for option in ("--interpolation", "--no-affine", "--against", "--dirlab", "--target-sdlogj"):
        assert option in page


def test_every_setting_and_preset_is_there_with_its_text(site: Path) -> None:
    page = text_of(site, "reference/settings.html")
    for kind in (TrainConfig, ImageConfig, PointsConfig):
        for key in kind.model_fields:
            cells = re.search(rf"<td><code>{key}</code></td>\s*<td><code>[^<]+</code></td>\s*<td>(.*?)</td>", page)
            assert cells is not None, key
            assert cells[1], f"{key} has no text"
    for name in (*IMAGE_PRESETS, *POINTS_PRESETS):
        assert f"<td><code>{name}</code></td>" in page


def test_figures_are_there_in_light_and_dark(site: Path) -> None:
    page = text_of(site, "explanation/conventions.html")
    for name in re.findall(r'src="\.\./assets/([\w-]+\.svg)', page):
        assert "</svg>" in text_of(site, f"assets/{name}")
    assert len(set(re.findall(r"assets/[\w-]+-(?:light|dark)\.svg", page))) == 6


def test_public_classes_have_their_words(site: Path) -> None:
    for page, name in (("core", "cst_core.field.DisplacementField"), ("image", "cst_image.backend.ImageBackend")):
        assert f'id="{name}"' in text_of(site, f"reference/{page}.html")
