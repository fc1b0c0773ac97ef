"""Reports as a person meets them: in a browser, with a mouse or a keyboard, in the dark and on a phone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import report_folders
from headless_browser import Browser, find

from cst_core.report import write_registration_report, write_run_report

pytestmark = pytest.mark.browser
PICTURE = "document.querySelector('{}').toDataURL()"
DRAWN = "document.getElementById('planes').dataset.drawn === 'yes'"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    program = find()
    if program is None:
        pytest.skip("needs Chromium on the path (apt-get install chromium)")
    with Browser(program, tmp_path_factory.mktemp("profile")) as one:
        yield one


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("reports")
    found = {name: root / f"{name}.html" for name in ("image", "clouds", "run")}
    write_registration_report(report_folders.registration_folder(root / "a"), found["image"])
    write_registration_report(report_folders.cloud_folder(root / "b"), found["clouds"])
    write_run_report(report_folders.run_folder(root / "c"), found["run"])
    return found


@pytest.mark.parametrize("name", ["image", "clouds", "run"])
@pytest.mark.parametrize("width", [360, 1200])
def test_every_page_fits_and_is_quiet(name: str, width: int, browser: Browser, pages: dict[str, Path]) -> None:
    browser.size(width)
    browser.open(pages[name])
    browser.run("new Promise((done) => setTimeout(done, 200))")
    assert browser.run("document.documentElement.scrollWidth") <= width
    assert browser.problems == []
    assert all(url.startswith(("file:", "data:")) for url in browser.fetched)
    wide = "[...document.querySelectorAll('main *')].filter((e) => !e.closest('.scroll, svg, .low')"
    assert browser.run(f"{wide} && e.getBoundingClientRect().right > {width}).length") == 0


@pytest.mark.parametrize("name", ["image", "clouds", "run"])
def test_dark_follows_the_system_and_the_switch(name: str, browser: Browser, pages: dict[str, Path]) -> None:
    back = "getComputedStyle(document.body).backgroundColor"
    browser.size(1200)
    browser.open(pages[name])
    light = browser.run(back)
    browser.size(1200, dark=True)
    dark = browser.run(back)
    assert dark != light
    switch = "((s) => {{ s.value = '{}'; s.dispatchEvent(new Event('change')); }})(document.getElementById('theme'))"
    browser.run(switch.format("light"))
    assert browser.run(back) == light
    browser.run(switch.format("dark"))
    browser.size(1200)
    assert browser.run(back) == dark
    browser.run(switch.format("auto"))


def test_keys_move_every_slider_of_the_planes(browser: Browser, pages: dict[str, Path]) -> None:
    browser.size(1200)
    browser.open(pages["image"])
    browser.until(DRAWN)
    for place in range(3):
        canvas, slider = f".plane:nth-child({place + 1}) canvas", f".plane:nth-child({place + 1}) input"
        before = browser.run(PICTURE.format(canvas))
        browser.run(f"document.querySelector('{slider}').focus()")
        said = browser.run(f"document.querySelector('{slider}').getAttribute('aria-valuetext')")
        for _ in range(3):
            browser.key("ArrowRight")
        browser.until(f"{PICTURE.format(canvas)} !== {before!r}")
        assert browser.run(f"document.querySelector('{slider}').getAttribute('aria-valuetext')") != said


@pytest.mark.parametrize(
    ("control", "value"),
    [
        ("amount", "100"),
        ("mode", "checker"),
        ("mode", "difference"),
        ("second", "moving"),
        ("map", "displacement"),
        ("map", "jacobian"),
        ("map", "confidence"),
        ("lines", "labels"),
        ("lines", "grid"),
    ],
)
def test_every_control_changes_what_is_shown(
    control: str, value: str, browser: Browser, pages: dict[str, Path]
) -> None:
    browser.size(1200)
    browser.open(pages["image"])
    browser.until(DRAWN)
    browser.run("document.getElementById('second').value = 'moving'") if control in ("amount", "mode") else None
    refresh = "document.getElementById('mode').dispatchEvent(new Event('change'))"
    browser.run(f"{refresh}; new Promise((done) => setTimeout(done, 150))")
    before = browser.run(PICTURE.format(".plane canvas"))
    kind = "input" if control == "amount" else "change"
    browser.run(
        f"(() => {{ const c = document.getElementById('{control}'); c.value = '{value}';"
        f" c.dispatchEvent(new Event('{kind}')); }})()"
    )
    browser.until(f"{PICTURE.format('.plane canvas')} !== {before!r}")
    assert browser.problems == []


def test_a_click_moves_the_other_planes(browser: Browser, pages: dict[str, Path]) -> None:
    browser.size(1200)
    browser.open(pages["image"])
    browser.until(DRAWN)
    browser.run(
        "(() => { const c = document.querySelector('.plane canvas'), b = c.getBoundingClientRect();"
        " c.dispatchEvent(new MouseEvent('click', {clientX: b.left + 1, clientY: b.bottom - 1})); })()"
    )
    places = "[...document.querySelectorAll('.plane input')].map((i) => Number(i.value))"
    axial, coronal, sagittal = browser.run(places)
    assert sagittal == report_folders.SHAPE[0] - 1  # the patient's right is at the left
    assert coronal == 0  # and the back below
    assert axial == browser.run("Number(document.querySelector('.plane input').defaultValue)")


def test_keys_turn_the_clouds(browser: Browser, pages: dict[str, Path]) -> None:
    browser.size(1200)
    browser.open(pages["clouds"])
    browser.until("document.getElementById('cloud').dataset.drawn === 'yes'")
    browser.run("document.getElementById('cloud').focus()")
    for key in ("ArrowLeft", "ArrowUp"):
        before = browser.run(PICTURE.format("#cloud"))
        browser.key(key)
        browser.until(f"{PICTURE.format('#cloud')} !== {before!r}")
    before = browser.run(PICTURE.format("#cloud"))
    browser.run("document.querySelector('#clouds input[type=checkbox]').click()")
    browser.until(f"{PICTURE.format('#cloud')} !== {before!r}")


def test_a_table_is_sorted_by_its_headings(browser: Browser, pages: dict[str, Path]) -> None:
    browser.size(1200)
    browser.open(pages["run"])
    table = "[...document.querySelectorAll('table.sortable')].at(-1)"
    firsts = f"[...{table}.tBodies[0].rows].map((row) => row.cells[0].textContent)"
    assert browser.run(firsts)[0] == "pair_4"  # the best is above at first
    browser.run(f"{table}.tHead.rows[0].cells[3].querySelector('button').click()")
    assert browser.run(firsts) == [f"pair_{i}" for i in range(5)]
    assert browser.run(f"{table}.tHead.rows[0].cells[3].getAttribute('aria-sort')") == "ascending"
    browser.run(f"{table}.tHead.rows[0].cells[3].querySelector('button').click()")
    assert browser.run(firsts)[0] == "pair_4"


def test_everything_is_reached_by_tab(browser: Browser, pages: dict[str, Path]) -> None:
    browser.size(1200)
    browser.open(pages["image"])
    browser.until(DRAWN)
    reached = set()
    for _ in range(40):
        browser.key("Tab")
        reached.add(browser.run("document.activeElement.id || document.activeElement.getAttribute('aria-label')"))
    wanted = {"theme", "first", "second", "mode", "map", "lines", "amount", "Axial slice", "Coronal slice"}
    assert wanted <= reached
