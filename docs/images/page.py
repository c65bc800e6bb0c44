"""Take the screenshots of the page from a system that runs: `.venv/bin/python docs/images/page.py [URL]`.

The system should have run for ten minutes or more. Each view is taken in light on a desk; some in dark and on a phone, too.
"""

import sys
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from adapters.launcher.preflight import find_browser

HERE = Path(__file__).parent
DESK, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 780}
ROOM = "topic=heating/room-1/state&field=temperature&topic=heating/room-1/state&field=setpoint"
VIEWS = {
    "now": "/",
    "topics": "/topics?filter=room&topic=heating/room-1/state",
    "timeline": f"/timeline?{ROOM}&topic=/actuators/room-1&field=level&since=15m",
    "heating": "/heating",
    "room": "/heating/room-2?since=15m",
    "fastening": "/fastening",
    "machines": "/machines?machine=1&since=15m",
    "charging": "/charging",
    "energy": "/energy/3?period=week",
    "sql": "/sql?query=SELECT+topic,+count(*)+AS+messages+FROM+messages+GROUP+BY+topic+ORDER+BY+messages+DESC",
}
DARK, ON_PHONE = ("room", "energy", "timeline"), ("now", "room", "fastening", "charging")


def take(browser: Browser, address: str, name: str, size: dict[str, int], scheme: str) -> None:
    """Take one picture, with 256 colours: a quarter of the size, and no difference to see."""
    page = browser.new_page(viewport=size, color_scheme=scheme, locale="en-GB", timezone_id="Europe/Berlin")  # type: ignore[arg-type]
    page.goto(address)
    page.wait_for_timeout(4000)
    picture = Image.open(BytesIO(page.screenshot()))
    picture.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE).save(HERE / f"page-{name}.png", optimize=True)
    page.close()
    print(f"page-{name}.png")


def main() -> None:
    """Take all of them."""
    url = sys.argv[1] if len(sys.argv) > 1 else "http://localhost:8080"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=["--no-sandbox", "--disable-gpu"])
        for name, path in VIEWS.items():
            take(browser, url + path, name, DESK, "light")
        for name in DARK:
            take(browser, url + VIEWS[name], f"{name}-dark", DESK, "dark")
        for name in ON_PHONE:
            take(browser, url + VIEWS[name], f"{name}-phone", PHONE, "dark" if name == "room" else "light")
        browser.close()


if __name__ == "__main__":
    main()
