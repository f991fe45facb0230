# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report in a real browser: phone and desktop, light and dark, with and without its script, printed, and fed with hostile text.

Screenshots for a person to look at stay in build/report/.
"""

from __future__ import annotations

import importlib.util
import os
import sys

import pytest

from ansible_collections.zero.downtime.plugins.module_utils._record import report as _report

HERE = os.path.dirname(os.path.abspath(__file__))
SHOTS = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(HERE))), "build", "report")


def beside(name):
    # Test files are no package here, so a helper beside them is loaded by its path.
    spec = importlib.util.spec_from_file_location(f"report_{name}", os.path.join(HERE, f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


browsers, samples = beside("browser"), beside("samples")

pytestmark = pytest.mark.skipif(browsers.CHROMIUM is None, reason="needs the package chromium")

CASES = {
    "clean": {}, "canary": {"kind": "back", "judged": True}, "back": {"kind": "back"}, "lost": {"kind": "lost"},
    "big": {"kind": "lost", "size": 400}, "hostile": {"kind": "lost", "text": samples.HOSTILE, "judged": True},
    "long": {"kind": "lost", "text": "-with-a-name-that-never-ends" * 4, "judged": True},
}

# Elements that end outside of the window, other than inside a box that scrolls by itself or clips.
OUTSIDE = """[...document.querySelectorAll('main *')].filter(e => {
  const box = e.getBoundingClientRect();
  return box.width && box.right > innerWidth + 1 && !e.closest('.band, .long, svg')
}).map(e => e.outerHTML.slice(0, 120))"""


# WCAG's contrast of each visible text against the nearest opaque ground; the three worst.
CONTRAST = """(() => {
  const rgb = colour => colour.match(/[\\d.]+/g).map(Number);
  const channel = value => value <= 10.31475 ? value / 255 / 12.92 : ((value / 255 + .055) / 1.055) ** 2.4;
  const luminance = colour => { const [r, g, b] = rgb(colour).map(channel); return .2126 * r + .7152 * g + .0722 * b };
  const ground = element => {
    for (; element; element = element.parentElement) {
      const colour = rgb(getComputedStyle(element).backgroundColor);
      if (colour.length < 4 || colour[3] === 1) return `rgb(${colour})`;
    }
    return 'rgb(255,255,255)';
  };
  const speaks = element => [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim()) && element.getClientRects().length
    && !element.matches('.vname') && getComputedStyle(element).visibility === 'visible';
  return [...document.querySelectorAll('main *')].filter(speaks).map(element => {
    const one = luminance(getComputedStyle(element).color), other = luminance(ground(element));
    return [(Math.max(one, other) + .05) / (Math.min(one, other) + .05), element.className + ' ' + element.textContent.slice(0, 40)];
  }).sort((one, other) => one[0] - other[0]).slice(0, 3);
})()"""

PLOT = """(() => {
  const box = document.querySelector('.lane:not(.heads) .plot').getBoundingClientRect();
  return [box.left, box.top, box.width, box.height];
})()"""


@pytest.fixture(scope="module")
def browser():
    os.makedirs(SHOTS, exist_ok=True)
    opened = browsers.Browser()
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    paths = {}
    for name, how in CASES.items():
        paths[name] = str(folder / f"{name}.html")
        with open(paths[name], "w", encoding="utf-8") as file:
            file.write(_report.render(samples.record(**how)))
    paths["nothing"] = str(folder / "nothing.html")
    with open(paths["nothing"], "w", encoding="utf-8") as file:
        file.write(_report.render({"deploy_id": "x", "result": "failed"}))
    return paths


@pytest.fixture(autouse=True)
def plain(browser):
    browser.size(1280, 900)
    browser.media()
    browser.scripts(True)


@pytest.mark.claim("page-is-self-contained")
@pytest.mark.parametrize("width, scheme", [(390, "light"), (390, "dark"), (768, "light"), (1280, "light"), (1280, "dark")])
@pytest.mark.parametrize("name", [*CASES, "nothing"])
def test_fits_and_asks_for_nothing(browser, pages, name, width, scheme):
    browser.size(width, 844, phone=width < 500)
    browser.media(scheme)
    browser.open(pages[name])
    if width != 768 and name in ("clean", "canary", "back", "lost"):
        browser.screenshot(os.path.join(SHOTS, f"{name}-{width}-{scheme}.png"))
    assert browser.value("innerWidth") == width, "the page made the phone zoom out"
    assert browser.value(OUTSIDE) == []
    assert browser.value("document.documentElement.scrollWidth") <= width
    assert browser.complaints() == []
    assert [url for url in browser.requests() if not url.startswith(("file://", "data:"))] == []
    assert len([url for url in browser.requests() if url.startswith("file://")]) == 1
    assert not browser.value("'hacked' in window")


@pytest.mark.claim("page-dark")
def test_dark_is_dark_and_text_has_contrast(browser, pages):
    for scheme in ("light", "dark"):
        browser.media(scheme)
        for name in ("canary", "lost"):
            browser.open(pages[name])
            worst = browser.value(CONTRAST)
            # 3:1 is WCAG's floor for what is not running text, as the words in the bands.
            assert worst[0][0] >= 3, (scheme, name, worst)
        dark = browser.value("getComputedStyle(document.body).backgroundColor") == "rgb(15, 19, 23)"
        assert dark == (scheme == "dark")


def test_pointing_reads_the_moment(browser, pages):
    browser.open(pages["lost"])
    box = browser.value(PLOT)
    assert browser.value("document.getElementById('tip').hidden")
    span = browser.value("JSON.parse(document.getElementById('data').textContent).span")
    browser.point(box[0] + box[2] * 20.6 / span, box[1] + box[3] / 2)
    tip = browser.value("document.getElementById('tip').innerText")
    assert "+20.6 s" in tip and "failed" in tip and "p99 2100 ms" in tip and "1.0.0: 100 %" in tip and "activate (batch 1)" in tip, tip
    browser.screenshot(os.path.join(SHOTS, "pointing.png"))
    browser.point(1, 1)
    assert browser.value("document.getElementById('tip').hidden")
    browser.value("document.getElementById('timeline').focus()")
    browser.key("End")
    assert f"+{span:.1f} s" in browser.value("document.getElementById('tip').innerText")
    assert browser.value(OUTSIDE) == []
    browser.key("Escape")
    assert browser.value("document.getElementById('tip').hidden")


@pytest.mark.claim("page-without-its-script")
def test_tells_everything_without_its_script(browser, pages):
    browser.scripts(False)
    browser.open(pages["lost"])
    html = browser.value("document.querySelector('main').innerText")
    failed = samples.record("lost")["evidence"]["probe"]["failed"]
    for text in ("7 of 1,203,441 real requests lost", f"✕ {failed} failures", "Batch 2", "5 lost while app1 drained on lb2", "2.0.0", "Members"):
        assert text in html, text
    assert "arrow keys" not in html
    assert browser.value("document.querySelectorAll('.band').length") > 10


@pytest.mark.claim("page-prints")
def test_prints(browser, pages):
    browser.open(pages["lost"])
    pdf = browser.pdf()
    assert pdf.startswith(b"%PDF") and pdf.count(b"/Type /Page\n") <= 4
    browser.media(media="print")
    browser.screenshot(os.path.join(SHOTS, "print.png"))


def test_hostile_text_is_shown_and_does_nothing(browser, pages):
    browser.open(pages["hostile"])
    assert samples.HOSTILE in browser.value("document.querySelector('header').innerText")
    assert browser.value("document.querySelectorAll('img, iframe, script:not(#data)').length") == 1
    assert browser.value("document.querySelectorAll('[onerror], [onclick]').length") == 0
    assert not browser.value("'hacked' in window")
