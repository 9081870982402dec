"""Looks at the built site with a headless Chromium, and keeps what it has seen.

    sphinx-build -W --keep-going docs docs/_build
    python tools/look_at_site.py docs/_build screenshots

Start page, gallery, an example, a tutorial and a search, as wide as a desktop and as a phone,
light and dark; then all other pages as a phone shows them, without pictures. It fails on whatever a page writes to the console, on a request that leaves the
site, on a page that is wider than its window, on a search that finds nothing, and on a download
that is not there.
"""

import argparse
import contextlib
import functools
import http.server
import itertools
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import headless_browser  # noqa: E402

PAGES = {
    "start": "index.html",
    "gallery": "gallery/index.html",
    "example": "gallery/repair.html",
    "tutorial": "gallery/tutorials/existing_model.html",
    "search": "search.html?q=laplacian",
}
WINDOWS = {"desktop": (1280, 900), "phone": (390, 844)}
SCHEMES = ("light", "dark")
# Pages fill themselves after they are loaded: a search loads its index.
SETTLED = "new Promise(done => setTimeout(done, 1000))"
TOO_WIDE = "document.documentElement.scrollWidth - window.innerWidth"
DOWNLOADS = "[...document.querySelectorAll('a.reference.download')].map(link => link.href)"
NUM_FOUND = "document.querySelectorAll('#search-results li').length"


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serves a folder to this machine while the context lasts; gives its address."""

    class Silent(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    handler = functools.partial(Silent, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def main() -> int:
    """Opens all pages in all windows and prints what is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("site", type=lambda text: Path(text).resolve())
    parser.add_argument("screenshots", type=Path)
    arguments = parser.parse_args()
    path = headless_browser.path_of_a_browser()
    if path is None:
        parser.error(f"No browser is there: {', '.join(headless_browser.NAMES)}.")
    arguments.screenshots.mkdir(parents=True, exist_ok=True)
    num_wrong = 0
    with served(arguments.site) as address, headless_browser.Browser(path) as browser:
        for page, window, scheme in itertools.product(PAGES, WINDOWS, SCHEMES):
            browser.errors.clear()
            browser.open(f"{address}/{PAGES[page]}", *WINDOWS[window], scheme)
            browser.value(SETTLED)
            browser.picture(arguments.screenshots / f"{page}_{window}_{scheme}.png")
            found = wrong(browser, address, arguments.site)
            if page == "search" and not browser.value(NUM_FOUND):
                found.append("the search finds nothing")
            print(page, window, scheme, "; ".join(found) or "good", flush=True)
            num_wrong += len(found)
        pages = every(arguments.site)
        for page in pages:
            browser.errors.clear()
            browser.open(f"{address}/{page}", *WINDOWS["phone"], "light")
            if found := wrong(browser, address, arguments.site):
                print(page, "; ".join(found), flush=True)
                num_wrong += len(found)
        print(len(pages), "pages as a phone shows them")
    return 1 if num_wrong else 0


def every(site: Path) -> list[str]:
    """Returns the addresses of all pages, within the site."""
    pages = (path.relative_to(site).as_posix() for path in site.rglob("*.html"))
    return sorted(page for page in pages if not page.startswith("_"))


def wrong(browser: headless_browser.Browser, address: str, site: Path) -> list[str]:
    """Returns what is wrong with the page that is open."""
    found = [f"console: {error}" for error in browser.errors]
    own = (address, "data:", "blob:")
    found += [f"asks for {uri}" for uri in browser.requests if not uri.startswith(own)]
    excess = browser.value(TOO_WIDE)
    if excess > 0:
        found.append(f"{excess} pixels wider than the window")
    for uri in browser.value(DOWNLOADS):
        if not (site / uri.removeprefix(f"{address}/")).exists():
            found.append(f"no such file: {uri}")
    return found


if __name__ == "__main__":
    sys.exit(main())
