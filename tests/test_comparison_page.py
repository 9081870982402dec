"""report.html: its content, and its behaviour in a browser."""

import html.parser

import pytest
from headless_browser import Browser, path_of_a_browser
from made_up_comparison import key_of, made_up

from keras_smooth.comparison import report
from keras_smooth.comparison.report import findings, pages
from keras_smooth.comparison.settings import Settings

ERRORS = {
    "elu": (2e-3, 4e-3),
    "tanh": (1e-8, 4e-8),
    "hard_tanh": (None, None),
    "softplus": (5e-8, 5e-8),
}
NAME_WITH_MARKUP = "<img src=x onerror=alert(1)>'\"$1$_`.csv"


@pytest.fixture(scope="module")
def results():
    return made_up(ERRORS, baselines=("tfp_lbfgs", "adam"))


@pytest.fixture(scope="module")
def page(results, tmp_path_factory):
    directory = tmp_path_factory.mktemp("page")
    report.write(results, directory)
    return directory / report.PAGE


@pytest.fixture(scope="module")
def page_with_markup(tmp_path_factory):
    directory = tmp_path_factory.mktemp("hostile")
    path = directory / NAME_WITH_MARKUP
    path.write_text("x,y\n" + "".join(f"{i},{i**2}\n" for i in range(101)))
    results = made_up({"tanh": (1e-5, 4e-5)}, problem=str(path))
    report.write(results, directory)
    return directory / report.PAGE


class Tags(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))


@pytest.mark.parametrize("name", ["page", "page_with_markup"])
def test_page_loads_no_other_file(name, request):
    text = request.getfixturevalue(name).read_text()
    tags = Tags(text).tags
    assert not {"img", "iframe", "object", "video", "audio"} & {tag for tag, _ in tags}
    for tag, attributes in tags:
        assert "src" not in attributes and "onerror" not in attributes
        assert attributes.get("href", "#").startswith("data:" if tag == "link" else "#")
    policy = next(
        attributes["content"] for _, attributes in tags if "http-equiv" in attributes
    )
    assert policy.startswith("default-src 'none'")
    assert len(text) < 200_000


def test_page_begins_with_the_recommendation(page):
    text = page.read_text()
    head = text[: text.index("</header>")]
    for part in ("<strong>tanh</strong> leads", "line best", ">lost<", "misprint"):
        # Quotes are escaped, like all text of users.
        assert part in head, part
    body = text[text.index("</header>") :]
    positions = [body.index(title) for title in (
        "All errors", "Activation by order", "Curves and learning curves",
        "What the optimizer adds", "How it was made",
    )]  # fmt: skip
    assert positions == sorted(positions)


def test_headline_is_short_for_many_activations():
    not_smooth = (
        "relu",
        "relu6",
        "elu",
        "selu",
        "celu",
        "leaky_relu",
        "softsign",
        "hard_silu",
    )
    good = ("sin", "mish", "snake", "gelu", "softplus", "sigmoid", "logish")
    errors = dict.fromkeys(good, (1e-8, 1e-8)) | dict.fromkeys(not_smooth, (0.9, 0.9))
    text = pages.as_html(made_up({"tanh": (1e-8, 1e-8), **errors}))
    head = text[text.index("<h1>") : text.index("</h1>")]
    assert "</strong> leads" in head and head.endswith("no run that broke off.")
    after = text[text.index("</h1>") :]
    assert after.startswith("</h1>\n<p>Within the range") and "hard_silu" in after[:400]


def test_method_that_is_not_installed_is_reported_with_its_remedy(monkeypatch):
    reason = "pip install 'tf_keras==2.21.*'"
    monkeypatch.setattr(
        pages.findings.training, "reason_missing",
        lambda name: reason if name == "tfp_lbfgs" else "",
    )  # fmt: skip
    results = made_up({"tanh": (1e-8,)}, baselines=("tfp_lbfgs",))
    del results.records[key_of("tanh", 0, method="tfp_lbfgs")]
    text = pages.as_html(results)
    assert "TFP&#39;s L-BFGS: pip install &#39;tf_keras==2.21.*&#39;" in text


def test_command_of_the_page_has_the_same_settings():
    from keras_smooth.cli import commands, parser

    for options in ({}, {"activations": ("tanh", "elu"), "dtype": "float32"}, {"seeds": 7}):
        results = made_up({"tanh": (1e-8,)})
        results.settings = Settings(**options)
        program, *arguments = findings.command(results).split()
        assert program == "keras-smooth"
        assert (
            Settings(**commands.requested_options(parser.parse(arguments), {}))
            == results.settings
        )


# In a browser.

BROWSER_PATH = path_of_a_browser()
needs_a_browser = pytest.mark.skipif(
    BROWSER_PATH is None, reason="no Chromium or Chrome is installed"
)


@pytest.fixture(scope="module")
def browser():
    with Browser(BROWSER_PATH) as browser:
        yield browser


SIZES = [(1280, 900, "light"), (1280, 900, "dark"), (390, 844, "light"), (390, 844, "dark")]
DRAW_ALL = "dispatchEvent(new Event('beforeprint')), dispatchEvent(new Event('afterprint'))"


@needs_a_browser
@pytest.mark.parametrize(("width", "height", "scheme"), SIZES)
def test_recommendation_fits_the_first_screen_without_requests(
    browser, page, width, height, scheme
):
    browser.open(page, width, height, scheme)
    bottom = "document.querySelector('.line.axis').getBoundingClientRect().bottom"
    assert browser.value(bottom) < height
    assert browser.value("document.documentElement.scrollWidth") <= width
    dark = browser.value("getComputedStyle(document.body).backgroundColor")
    assert (dark == "rgb(255, 255, 255)") == (scheme == "light")
    browser.value(DRAW_ALL)
    charts = browser.value("document.querySelectorAll('.chart').length")
    empty = browser.value(
        "[...document.querySelectorAll('.chart')]"
        ".filter(one => !one.querySelector('canvas, .lost')).length"
    )
    # Ten for each activation, three for all, and four for the methods.
    assert charts == 10 * len(ERRORS) + 3 + 4 and empty == 0
    labels = browser.value(
        "[...document.querySelectorAll('.chart')].map(one => one.getAttribute('aria-label'))"
    )
    assert all(labels) and len({*labels}) == charts
    lost = browser.value("document.querySelectorAll('.chart .lost').length")
    assert lost == 1  # the error of hard_tanh's y''
    assert browser.errors == []
    assert browser.requests == [page.as_uri()]


def displayed_names(browser):
    return browser.value(
        "[...document.querySelectorAll('#errors tbody th')].map(one => one.innerText)"
    )


@needs_a_browser
def test_columns_sort_in_both_directions(browser, page):
    browser.open(page)
    assert displayed_names(browser) == ["tanh", "softplus", "elu", "hard_tanh"]
    for column, expected in (
        ("activation", ["elu", "hard_tanh", "softplus", "tanh"]),
        ("MSE y''", ["tanh", "softplus", "elu", "hard_tanh"]),
        ("article y''", ["softplus", "tanh", "elu", "hard_tanh"]),
    ):
        position = browser.value(
            "(() => { const one = [...document.querySelectorAll('#errors button')]"
            f".find(one => one.innerText === {column!r});"
            "one.scrollIntoView({block: 'center', inline: 'center'});"
            "const box = one.getBoundingClientRect();"
            "return [box.x + box.width / 2, box.y + box.height / 2] })()"
        )
        browser.click(*position)
        assert displayed_names(browser) == expected
        sorted_by = "document.querySelector('[aria-sort=ascending]').innerText"
        assert browser.value(sorted_by).startswith(column)
        browser.click(*position)
        assert displayed_names(browser)[::-1] == expected or column != "activation"
        assert browser.value("!document.querySelector('[aria-sort=ascending]')")
    assert browser.errors == []


def legend_at_the_middle(browser, selector):
    """Moves the pointer to the middle of a chart and returns the values of its legend."""
    x, y = browser.value(
        f"(async () => {{ const one = document.querySelector({selector!r});"
        "one.scrollIntoView({block: 'center'});"
        "while (!one.querySelector('.u-over')) await new Promise(requestAnimationFrame);"
        "const box = one.querySelector('.u-over').getBoundingClientRect();"
        "return [box.x + box.width / 2, box.y + box.height / 2] })()"
    )
    browser.point_at(x, y)
    browser.value("new Promise(requestAnimationFrame)")
    return browser.value(
        f"[...document.querySelectorAll({selector + ' .u-value'!r})]"
        ".map(one => one.innerText)"
    )


@needs_a_browser
def test_legend_shows_values_at_the_pointer(browser, page):
    browser.open(page)
    x, exact, network = legend_at_the_middle(
        browser, ".chart[data-kind=curve][data-of='1'][data-order='0']"
    )
    # exp(-x^2) and the made-up sin(x), at the middle of [-2, 2].
    assert [float(x), float(exact), float(network)] == [0.0, 1.0, 0.0]
    chart = ".chart[data-kind=learning][data-of='1'][data-field=loss]"
    seconds, *seeds = legend_at_the_middle(browser, chart)
    # The nearest measurement of each seed: 0.5 first, 0.25 / (seed + 1) last.
    assert float(seconds) == 0.5 and [float(value) for value in seeds] == [0.25, 0.5]
    browser.value("document.querySelector('[data-over=iteration]').click()")
    iteration, *seeds = legend_at_the_middle(browser, chart)
    assert int(iteration) in (5, 9) and len(seeds) == 2
    assert browser.errors == []


@needs_a_browser
def test_names_with_markup_are_shown_as_text(browser, page_with_markup):
    browser.open(page_with_markup)
    assert browser.value("document.querySelectorAll('img').length") == 0
    assert NAME_WITH_MARKUP in browser.value("document.title")
    assert NAME_WITH_MARKUP in browser.value("document.body.innerText")
    assert browser.errors == [] and browser.requests == [page_with_markup.as_uri()]


@needs_a_browser
def test_filter_hides_other_names(browser, page):
    browser.open(page)
    shown = (
        "[...document.querySelectorAll('[data-name]')].filter(one => !one.hidden)"
        ".map(one => one.dataset.name)"
    )
    assert {*browser.value(shown)} == {*ERRORS}
    for letters, expected in (("TANH", {"tanh", "hard_tanh"}), ("", {*ERRORS})):
        browser.value(
            f"(() => {{ const one = document.getElementById('filter'); one.value = {letters!r};"
            "one.dispatchEvent(new Event('input')) })()"
        )
        assert {*browser.value(shown)} == expected
    assert browser.errors == []


@needs_a_browser
def test_chart_is_saved_as_png(browser, page):
    browser.open(page)
    browser.value(DRAW_ALL)
    name, address = browser.value(
        "(() => { let saved; HTMLAnchorElement.prototype.click = function () {"
        " saved = [this.download, this.href] };"
        "document.querySelector('.png').click(); return saved })()"
    )
    assert name.endswith(".png") and address.startswith("data:image/png;base64,iVBOR")
    buttons = browser.value("document.querySelectorAll('.png').length")
    drawn = browser.value("document.querySelectorAll('.chart canvas').length")
    assert buttons == drawn > 0


# An A4 page in CSS pixels, within the margins of Chromium.
PAPER = 718, 1047


@needs_a_browser
def test_printed_page_fits_tables_and_activations(browser, page):
    browser.open(page)
    browser.value("dispatchEvent(new Event('beforeprint'))")
    browser.resize(*PAPER)
    browser.call("Emulation.setEmulatedMedia", media="print")
    closed = browser.value("document.querySelectorAll('details:not([open])').length")
    wide = browser.value(
        "[...document.querySelectorAll('table, .charts, figure')]"
        f".filter(each => each.getBoundingClientRect().right > {PAPER[0]}).length"
    )
    heights = browser.value(
        "[...document.querySelectorAll('details.activation')].map(each => each.offsetHeight)"
    )
    browser.call("Emulation.setEmulatedMedia", media="")
    assert (closed, wide) == (0, 0)
    assert max(heights) < PAPER[1]
