"""The page in a real browser, without a network."""

import base64
import contextlib
import io
import json
import os
import select
import shutil
import subprocess
import time

import numpy as np
import pytest
from PIL import Image

from keras_c2kd.analysis import modality_gap
from tests.analysis.gap_cases import identity_network
from tests.analysis.gap_cases import random_logits

BROWSER = next(
    filter(
        None,
        map(
            shutil.which,
            ("chromium", "chromium-browser", "google-chrome", "chrome"),
        ),
    ),
    None,
)
pytestmark = [
    pytest.mark.backend_free,
    pytest.mark.skipif(
        BROWSER is None,
        reason="needs Chromium, for example: apt-get install chromium",
    ),
    # One browser at a time.
    pytest.mark.xdist_group("browser"),
]
SCRIPT = "<script>document.title = 'taken'</script>"
PICTURE_OF_ELSEWHERE = '"><img src="http://example.org/x.png">'
STARTING_SECONDS = 60


class Browser:
    """Headless Chromium, spoken to through a pair of pipes.

    The protocol is JSON with a zero byte behind each message: the browser
    reads commands from descriptor 3 and writes answers and events to 4.
    """

    def __init__(self, profile):
        command_read, self._commands = os.pipe()
        self._messages, message_write = os.pipe()
        self.process = subprocess.Popen(
            [
                "bash",
                "-c",
                f'exec "$0" "$@" 3<&{command_read} 4>&{message_write}',
                BROWSER,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--hide-scrollbars",
                "--remote-debugging-pipe",
                f"--user-data-dir={profile}",
                # There is no network: every name is unknown.
                "--host-resolver-rules=MAP * ~NOTFOUND",
            ],
            pass_fds=(command_read, message_write),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(command_read)
        os.close(message_write)
        self._unread, self._number = b"", 0
        self.requests = []
        target = self.call("Target.createTarget", url="about:blank")
        self._session = self.call(
            "Target.attachToTarget", targetId=target["targetId"], flatten=True
        )["sessionId"]
        for domain in ("Page", "Network", "Runtime"):
            self.call(f"{domain}.enable")

    _session = None

    def call(self, method, **parameters):
        """Send a command and return its answer."""
        self._number += 1
        message = {
            "id": self._number, "method": method, "params": parameters,
        }  # fmt: skip
        if self._session:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        answer = self._wait_for(lambda m: m.get("id") == self._number)
        assert "error" not in answer, answer
        return answer["result"]

    def open(self, path):
        """Open a file, and wait until it and its pictures are loaded."""
        self.requests.clear()
        self.call("Page.navigate", url=path.as_uri())
        self._wait_for(lambda m: m.get("method") == "Page.loadEventFired")

    def evaluate(self, expression):
        """Return the value of a JavaScript expression."""
        result = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True
        )
        assert "exceptionDetails" not in result, result
        return result["result"]["value"]

    def screenshot(self):
        """Return the whole page as an array of pixels."""
        result = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        data = io.BytesIO(base64.b64decode(result["data"]))
        return np.asarray(Image.open(data).convert("RGB"))

    def _wait_for(self, is_wanted):
        end = time.monotonic() + STARTING_SECONDS
        while True:
            message, zero, rest = self._unread.partition(b"\0")
            if zero:
                self._unread = rest
                message = json.loads(message)
                if message.get("method") == "Network.requestWillBeSent":
                    request = message["params"]["request"]
                    self.requests.append(request["url"])
                if is_wanted(message):
                    return message
                continue
            left = end - time.monotonic()
            ready, _, _ = select.select([self._messages], [], [], max(0, left))
            assert ready, "The browser does not answer."
            received = os.read(self._messages, 1 << 20)
            assert received, "The browser has ended."
            self._unread += received

    def close(self):
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(10)
        self.process.kill()
        self.process.wait()
        os.close(self._commands)
        os.close(self._messages)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Paths of the JSON, the PNG and the page of a report."""
    logits, labels = random_logits(200, 4)
    networks = [identity_network(name, 4) for name in ("audio", "visual")]
    gap = modality_gap(
        *networks,
        (logits, labels),
        class_names=[SCRIPT, PICTURE_OF_ELSEWHERE, "a&b", "plain"],
        verbose=0,
    )
    return gap.save(tmp_path_factory.mktemp("report"))


def test_the_page_shows_its_picture(browser, report):
    _, png, page = report
    browser.open(page)
    drawn = Image.open(png)
    sizes = browser.evaluate(
        "[...document.images].map(i => [i.complete, i.naturalWidth, "
        "i.naturalHeight, i.getBoundingClientRect().toJSON()])"
    )
    ((complete, width, height, place),) = sizes
    assert complete and (width, height) == drawn.size
    box = [round(place[side]) for side in ("left", "top", "right", "bottom")]
    shown = browser.screenshot()[box[1] : box[3], box[0] : box[2]]
    expected = np.asarray(
        drawn.convert("RGB").resize((shown.shape[1], shown.shape[0]))
    )
    difference = np.abs(shown.astype(int) - expected).mean()
    assert difference < 6
    # The picture is none that looks like any other: white would not do.
    assert np.abs(255 - expected.astype(int)).mean() > 20
    student = np.abs(shown.astype(int) - (213, 94, 0)).max(-1) < 30
    assert student.mean() > 0.01


def test_the_page_asks_for_nothing_else(browser, report):
    page = report[-1]
    browser.open(page)
    asked = [url for url in browser.requests if not url.startswith("data:")]
    assert asked == [page.as_uri()]


def test_names_are_shown_as_text(browser, report):
    browser.open(report[-1])
    assert browser.evaluate("document.scripts.length") == 0
    assert browser.evaluate("document.images.length") == 1
    assert browser.evaluate("document.title").startswith("Modality gap of")
    cells = browser.evaluate(
        "[...document.querySelectorAll('td')].map(cell => cell.textContent)"
    )
    assert {SCRIPT, PICTURE_OF_ELSEWHERE, "a&b", "plain"} <= set(cells)


def test_the_page_fits_a_telephone(browser, report):
    browser.call(
        "Emulation.setDeviceMetricsOverride",
        width=390,
        height=844,
        deviceScaleFactor=1,
        mobile=True,
    )
    browser.open(report[-1])
    width = browser.evaluate("document.documentElement.scrollWidth")
    browser.call("Emulation.clearDeviceMetricsOverride")
    assert width <= 390


def test_the_checks_notice_a_page_that_is_not_whole(browser, tmp_path):
    """Without a network, a picture of elsewhere is asked for and missed."""
    page = tmp_path / "page.html"
    page.write_text(f"<title>old</title><p>{PICTURE_OF_ELSEWHERE}</p>{SCRIPT}")
    browser.open(page)
    assert browser.evaluate("document.title") == "taken"
    assert browser.evaluate("document.images[0].naturalWidth") == 0
    assert "http://example.org/x.png" in browser.requests
