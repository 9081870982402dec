"""Checks the built site in a headless Chromium, and saves screenshots.

    sphinx-build -W --keep-going docs docs/_build
    python tools/look_at_site.py docs/_build screenshots

It opens the pages in `PAGES`, each with the width of a desktop and of a phone, in the light and the
dark scheme, and then all pages with the width of a phone, without screenshots. It fails if a page
writes to the console, sends a request to another server, is wider than its window or shows markup,
if a search finds nothing, or if a link within the site is broken, including links to anchors in a
page. Sphinx checks links to other sites.
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
from urllib.parse import unquote

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import headless_browser  # noqa: E402

PAGES = {
    "start": "index.html",
    "coming_from": "coming_from.html",
    "theory": "theory.html",
    "gallery": "gallery/index.html",
    "example": "gallery/repair.html",
    "tutorial": "gallery/tutorials/existing_model.html",
    "table": "benchmarks/lbfgs.html",
    "reference": "reference/generated/keras_smooth.fit_lbfgs.html",
    "search": "search.html?q=laplacian",
}
WINDOWS = {"desktop": (1280, 900), "phone": (390, 844)}
SCHEMES = ("light", "dark")
# Scripts of a page may run after it is loaded: a search loads its index.
SETTLED = "new Promise(done => setTimeout(done, 1000))"
TOO_WIDE = "document.documentElement.scrollWidth - window.innerWidth"
LINKS = "[...document.links].map(link => link.href)"
PLACES = "[...document.querySelectorAll('[id]')].map(place => place.id)"
# Markup that was not rendered, and signatures of classes that autodoc has not found.
LEFT_BEHIND = """[...document.querySelectorAll('dt.sig, .bd-article p, .bd-article code')]
    .filter(part => part.textContent.includes('`')
        || part.matches('dt.sig') && part.textContent.includes('(*args, **kwargs)'))
    .map(part => part.textContent)"""
NUM_FOUND = "document.querySelectorAll('#search-results li').length"


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serves a folder on this machine while the context is open; yields the address."""

    class Silent(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    handler = functools.partial(Silent, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def main() -> int:
    """Opens all pages, and prints their faults; returns 1 if there are any, else 0."""
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
            faults = wrong(browser, address)
            if page == "search" and not browser.value(NUM_FOUND):
                faults.append("the search finds nothing")
            print(page, window, scheme, "; ".join(faults) or "good", flush=True)
            num_wrong += len(faults)
        links, anchors = {}, {}
        for page in every(arguments.site):
            browser.errors.clear()
            browser.open(f"{address}/{page}", *WINDOWS["phone"], "light")
            links[page], anchors[page] = browser.value(LINKS), set(browser.value(PLACES))
            if faults := wrong(browser, address):
                print(page, "; ".join(faults), flush=True)
                num_wrong += len(faults)
        print(len(links), "pages as a phone shows them")
    within = {
        (page, unquote(link.removeprefix(f"{address}/")))
        for page, urls in links.items()
        for link in urls
        if link.startswith(f"{address}/")
    }
    broken = [
        f"{page} has a link to {link}"
        for page, link in sorted(within)
        if not leads_somewhere(link, arguments.site, anchors)
    ]
    print(len(within), "links within the site;", *(broken or ["good"]), sep="\n")
    return 1 if num_wrong or broken else 0


def every(site: Path) -> list[str]:
    """Returns the paths of all pages, relative to the site."""
    pages = (path.relative_to(site).as_posix() for path in site.rglob("*.html"))
    return sorted(page for page in pages if not page.startswith("_"))


def leads_somewhere(link: str, site: Path, anchors: dict[str, set[str]]) -> bool:
    """Returns whether the file of a link within the site exists, and its anchor in a page."""
    path, _, anchor = link.partition("#")
    path = path.partition("?")[0] or "index.html"
    if anchor and path in anchors:
        return anchor in anchors[path]
    return (site / path).is_file()


def wrong(browser: headless_browser.Browser, address: str) -> list[str]:
    """Returns the faults of the open page."""
    faults = [f"console: {error}" for error in browser.errors]
    own = (address, "data:", "blob:")
    faults += [f"asks for {uri}" for uri in browser.requests if not uri.startswith(own)]
    excess = browser.value(TOO_WIDE)
    if excess > 0:
        faults.append(f"{excess} pixels wider than the window")
    return faults + [f"as it stands: {text}" for text in browser.value(LEFT_BEHIND)]


if __name__ == "__main__":
    sys.exit(main())
