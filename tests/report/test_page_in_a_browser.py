"""The page in headless Chromium: sort, filter, overlays, keyboard, accessibility; no error, no request."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from helpers.predictions import NAMES, write_folders
from nnunet_mamba.cli.main import main

pytest.importorskip("monai")
webdriver = pytest.importorskip("selenium.webdriver", reason="no selenium: pip install selenium")
CHROMIUM, DRIVER = (shutil.which(name) for name in ("chromium", "chromedriver"))
if not CHROMIUM or not DRIVER:
    pytest.skip("no browser: apt-get install chromium chromium-driver", allow_module_level=True)

TOOLS = ("first", "<b>second</b>")
DESKTOP, PHONE = (1280, 900), (390, 844)


@pytest.fixture(scope="module")
def browser():
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1280,900"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    driver.set_script_timeout(120)
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """The page with its pictures inside, and one with its pictures beside it."""
    root = tmp_path_factory.mktemp("pages")
    folders = write_folders(root / "data", ("a", "b"))
    made = {}
    for kind, largest in (("inside", 60e6), ("beside", 0)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("nnunet_mamba.report.page.LARGEST", largest)
            arguments = ["--pred", str(folders["a"]), str(folders["b"]), "--gt", str(folders["gt"])]
            arguments += ["--images", str(folders["images"]), "--names", *TOOLS, "-o", str(root / kind), "-np", "1"]
            assert main(["report", *arguments]) == 0
        made[kind] = root / kind / "index.html"
    return made


@pytest.fixture
def page(browser, reports):
    """The page, freshly loaded; at the end, its console is empty, but for a hint about how the tests read pixels."""
    size(browser, DESKTOP)
    browser.get_log("browser")
    browser.get(reports["inside"].as_uri())
    assert browser.execute_script("return document.documentElement.dataset.ready") == "yes"
    yield browser
    assert [entry for entry in browser.get_log("browser") if "getImageData" not in entry["message"]] == []


def size(browser, width_and_height):
    width, height = width_and_height
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def ask(browser, script):
    return browser.execute_script(f"return {script}")


def choose(browser, field, value):
    browser.execute_script(
        "const field = document.getElementById(arguments[0]); field.value = arguments[1];"
        "for (const kind of ['input', 'change']) field.dispatchEvent(new Event(kind, {bubbles: true}))",
        field,
        value,
    )


def cards(browser):
    return ask(browser, "[...document.querySelectorAll('#gallery-cases .card')].map(card => card.innerText)")


def press(browser, key):
    from selenium.webdriver.common.action_chains import ActionChains

    ActionChains(browser).send_keys(key).perform()


def settled(browser, condition):
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser, 30).until(lambda driver: ask(driver, condition))


def colours(browser, canvas):
    """How many pixels of a canvas are blue, and how many yellow."""
    pixels = ask(
        browser,
        f"(() => {{ const c = document.querySelector('{canvas}');"
        "const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; let blue = 0, yellow = 0;"
        "for (let i = 0; i < d.length; i += 4) { if (d[i] < 40 && d[i+2] > 180 && d[i+3] > 200) blue++;"
        "if (d[i] > 220 && d[i+1] > 200 && d[i+2] < 80 && d[i+3] > 200) yellow++; } return [blue, yellow]; })()",
    )
    return np.array(pixels)


def test_sort_and_filter(page):
    assert len(cards(page)) == 2 * len(NAMES)
    values = [float(text.split()[1]) for text in cards(page)]
    assert values == sorted(values)  # the lowest Dice first
    choose(page, "order", "best")
    assert [float(text.split()[1]) for text in cards(page)] == sorted(values, reverse=True)
    choose(page, "filter-trainer", "1")
    assert len(cards(page)) == len(NAMES) and all("<b>second</b>" in text for text in cards(page))
    choose(page, "filter-name", "PLAIN")
    assert len(cards(page)) == 1 and ask(page, "document.getElementById('gallery-count').textContent").startswith(
        "1 of 12"
    )
    choose(page, "filter-name", "")
    choose(page, "filter-from", str(sorted(values)[-3]))
    assert len(cards(page)) < len(NAMES)
    page.execute_script("document.querySelector('#filters button').click()")
    settled(page, "document.querySelectorAll('#gallery-cases .card').length === 12")
    choose(page, "metric", "4")  # HD95: less is better, so the largest is the worst
    distances = [float(text.split()[1]) for text in cards(page)]
    assert distances == sorted(distances, reverse=True) and " px" in cards(page)[0]


def test_hostile_names_are_text(page):
    found = "\n".join(cards(page))
    for name in NAMES:
        assert name in found
    assert ask(page, "document.querySelectorAll('main b, main img[src=x]').length") == 0
    assert "<b>second</b>" in ask(page, "document.querySelector('#comparison').innerText")


def test_points_open_cases_and_keys_go_on(page):
    assert ask(page, "document.querySelectorAll('#chart circle').length") == 12
    page.execute_script("document.getElementById('paired-lines').click()")
    assert ask(page, "document.querySelectorAll('#chart .pair').length") == len(NAMES)
    page.execute_script(
        "document.querySelector('#chart circle').dispatchEvent(new MouseEvent('click', {bubbles: true}))"
    )
    assert ask(page, "document.getElementById('viewer').open")
    first = ask(page, "document.getElementById('viewer-title').textContent")
    press(page, "\ue014")  # right
    second = ask(page, "document.getElementById('viewer-title').textContent")
    assert first != second
    press(page, "\ue012")  # left
    assert ask(page, "document.getElementById('viewer-title').textContent") == first
    press(page, "\ue00c")  # escape
    settled(page, "!document.getElementById('viewer').open")
    page.execute_script("document.getElementById('chart').focus()")
    press(page, "\ue014")
    assert ": 0." in ask(page, "document.getElementById('chart-text').textContent")
    press(page, "\ue007")  # enter
    assert ask(page, "document.getElementById('viewer').open")


def test_overlays(page):
    page.execute_script("document.querySelector('#failures-cases .card').click()")
    canvas = "#viewer-picture canvas"
    settled(
        page, f"document.querySelector('{canvas}').width > 1 && document.querySelector('#viewer-picture img').complete"
    )
    both = colours(page, canvas)
    assert (both > 100).all()
    press(page, "p")  # without the prediction
    settled(page, f"document.querySelector('{canvas}').width > 1")
    without = colours(page, canvas)
    assert without[1] == 0 and without[0] >= both[0]
    press(page, "t")
    settled(page, f"document.querySelector('{canvas}').width > 1")
    assert colours(page, canvas).sum() == 0
    press(page, "e")
    settled(page, f"document.querySelector('{canvas}').width > 1")
    shown = ask(
        page, f"document.querySelector('{canvas}').getContext('2d').getImageData(0, 0, 2000, 2000).data.some(x => x)"
    )
    assert shown and ask(page, "document.getElementById('show-errors').checked")


def test_pictures_load_when_they_are_near(page):
    state = "document.querySelector('#gallery-cases .card:last-child img').hasAttribute('src')"
    size(page, (390, 400))
    settled(page, f"!({state})")
    page.execute_script("document.querySelector('#gallery-cases .card:last-child').scrollIntoView()")
    settled(page, state)
    settled(page, "document.querySelector('#gallery-cases .card:last-child img').naturalWidth > 0")


@pytest.mark.parametrize("width_and_height", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_nothing_is_wider_than_the_screen(page, width_and_height):
    size(page, width_and_height)
    assert ask(page, "document.documentElement.scrollWidth") <= width_and_height[0]
    page.execute_script("document.querySelector('#failures-cases .card').click()")
    assert ask(page, "document.getElementById('viewer').scrollWidth <= document.getElementById('viewer').clientWidth")


@pytest.mark.parametrize("kind", ["inside", "beside"])
def test_no_request_leaves_the_page(browser, reports, kind):
    size(browser, DESKTOP)
    browser.get_log("performance")
    browser.get_log("browser")
    browser.get(reports[kind].as_uri())
    settled(browser, "document.querySelector('#failures-cases img').naturalWidth > 0")
    browser.execute_script("fetch('https://example.org/').catch(() => { document.body.dataset.refused = 'yes' })")
    settled(browser, "document.body.dataset.refused === 'yes'")
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    folder = reports[kind].parent.as_uri()
    assert [url for url in asked if not url.startswith(("data:", folder))] in ([], ["https://example.org/"])
    assert kind == "beside" or [url for url in asked if url.startswith(folder)] == [reports[kind].as_uri()]
    logged = [entry["message"] for entry in browser.get_log("browser")]
    assert logged and all("Content Security Policy" in message or "example.org" in message for message in logged)


def axe_source():
    """axe-core's script, from the package axe-core-python or a node_modules folder."""
    try:
        import axe_core_python

        found = next(Path(axe_core_python.__file__).parent.rglob("axe.min.js"), None)
    except ImportError:
        found = None
    return found or next(Path(__file__).parents[2].glob("node_modules/axe-core/axe.min.js"), None)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width_and_height", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("part", ["page", "viewer"])
def test_accessible(page, scheme, width_and_height, part):
    source = axe_source()
    if source is None:
        pytest.skip("no axe-core: pip install axe-core-python, or npm install axe-core")
    size(page, width_and_height)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    if part == "viewer":
        page.execute_script("document.querySelector('#failures-cases .card').click()")
    page.execute_cdp_cmd("Runtime.evaluate", {"expression": source.read_text(encoding="utf-8")})
    found = page.execute_async_script(
        "const done = arguments[arguments.length - 1];"
        "axe.run(document, {resultTypes: ['violations']}).then(result => done(result.violations))"
    )
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert {each["id"]: [node["html"][:120] for node in each["nodes"]][:3] for each in found} == {}
