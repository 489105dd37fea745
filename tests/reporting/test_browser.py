"""The page in a real browser, driven by its command line: no errors, no overflow on a phone, light and dark."""

import re
import shutil
import subprocess
from datetime import UTC, datetime

import numpy as np
import pytest
from PIL import Image

from metagrad.reporting.gathering import gather
from metagrad.reporting.page import html

NAMES = ("chromium", "chromium-browser", "google-chrome")
# A frame is as narrow as a phone, whatever the narrowest window of the browser is.
FRAME = """<!DOCTYPE html><title>frame</title>
<iframe style="width:{width}px;height:800px;border:0"></iframe><p>waiting</p>
<script>
const frame = document.querySelector("iframe")
frame.onload = () => {{
  const page = frame.contentDocument
  for (const details of page.querySelectorAll("details")) details.open = true
  const root = page.documentElement
  const broken = [...page.images].filter(image => image.naturalWidth === 0).length
  const missing = [...page.querySelectorAll("a[href^='#']")].filter(a => !page.getElementById(a.hash.slice(1))).length
  document.querySelector("p").textContent = `overflow ${{root.scrollWidth - root.clientWidth}} broken ${{broken}} `
    + `missing ${{missing}} images ${{page.images.length}} landmarks ${{page.querySelectorAll("main, nav").length}}`
}}
frame.src = "page.html"
</script>"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    path = next((found for name in NAMES if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip(f"no browser found: none of {', '.join(NAMES)} is on the path")
    profile = tmp_path_factory.mktemp("profile")

    def run(*arguments):
        command = [path, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"]
        command += ["--enable-logging=stderr", "--allow-file-access-from-files", "--virtual-time-budget=5000"]
        done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=120, check=True)
        assert "CONSOLE" not in done.stderr, done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="module")
def page(made, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(html(gather(made, path), datetime.now(UTC)))
    return path


@pytest.mark.slow
def test_the_page_opens_without_console_errors(browser, page):
    dom = browser("--dump-dom", page.as_uri())
    assert re.search(r"<h1>.*runs", dom)
    assert "metagrad reproduce fig2" in dom.replace("</span> <span>", " ")


@pytest.mark.slow
@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_nothing_is_wider_than_the_window(browser, page, width):
    frame = page.with_name(f"frame-{width}.html")
    frame.write_text(FRAME.format(width=width))
    assert "<p>overflow 0 broken 0 missing 0 images 4 landmarks 2</p>" in browser("--dump-dom", frame.as_uri())


@pytest.mark.slow
@pytest.mark.parametrize("width", [500, 1280])  # 500 is the narrowest window of some versions
def test_light_and_dark(browser, page, width, tmp_path):
    ground = {}
    for scheme, number in (("dark", 0), ("light", 1)):
        picture = tmp_path / f"{scheme}.png"
        browser(
            f"--window-size={width},900",
            f"--blink-settings=preferredColorScheme={number}",
            f"--screenshot={picture}",
            page.as_uri(),
        )
        pixels = np.asarray(Image.open(picture).convert("L"))
        ground[scheme] = float(np.median(pixels))
        assert np.ptp(pixels) > 150  # there is text on it
    assert ground["dark"] < 60
    assert ground["light"] > 200
