"""The page in a real browser: type, pick, see an answer, see an error in words.

Needs `pip install playwright` and a Chromium: Debian's `chromium`, one named by CHROMIUM, or the one of `playwright install chromium`.
"""

import itertools
import os
import re
import shutil
from pathlib import Path

import pytest

from scripts.playground import service

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
expect = sync_api.expect
pytestmark = [pytest.mark.browser, pytest.mark.slow]

PATIENCE = 60_000  # ms; a busy machine is slow
NAMES = "chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"
LONG = (
    "Although the committee had promised to publish its findings before the end of the year, several of its members admitted "
    "yesterday that the report would be delayed because two key witnesses had refused to answer any questions."
)
# The contrast of every piece of text with the ground that it stands on, by WCAG's formula: [text, ratio] of those below 4.5.
CONTRAST = """() => {
  const rgb = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (colour) => rgb(colour).slice(0, 3).map((v) => v / 255).map((v) => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const ground = (node) => { for (; node; node = node.parentElement) {
    const colour = getComputedStyle(node).backgroundColor; if ((rgb(colour)[3] ?? 1) > 0) return colour; } return "rgb(255, 255, 255)"; };
  const low = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let text = walker.nextNode(); text; text = walker.nextNode()) {
    const node = text.parentElement;
    if (!text.data.trim() || !node.getClientRects().length || node.closest(".visually-hidden, template")) continue;
    const style = getComputedStyle(node), colour = node.closest("svg") ? style.fill : style.color;
    const [a, b] = [light(colour), light(ground(node))].sort((x, y) => y - x);
    if ((a + .05) / (b + .05) < 4.5) low.push([text.data.trim(), (a + .05) / (b + .05)]);
  }
  return low;
}"""

# Left, right, top and bottom of every text of a picture; what a line has above and below its letters is left out.
BOXES = """svg => [...svg.querySelectorAll("text")].map((text) => {
  const box = text.getBBox();
  return [box.x, box.x + box.width, box.y + 4, box.y + box.height - 4, text.textContent];
})"""


@pytest.fixture(scope="module")
def chromium():
    with sync_api.sync_playwright() as playwright:
        found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), playwright.chromium.executable_path)
        if not Path(found).is_file():
            pytest.skip("there is no Chromium: apt-get install chromium, or playwright install chromium")
        browser = playwright.chromium.launch(executable_path=found)
        yield browser
        browser.close()


@pytest.fixture
def window(chromium, page):
    """Opens the page in a window of its own; at the end nothing was asked of anybody else and no script had failed."""
    contexts, asked, failed = [], [], []

    def open_window(address=page.address, width=1280, height=900, **settings):
        context = chromium.new_context(viewport={"width": width, "height": height}, **settings)
        contexts.append(context)
        context.set_default_timeout(PATIENCE)
        tab = context.new_page()
        tab.on("request", lambda request: asked.append(request.url))
        tab.on("pageerror", lambda error: failed.append(str(error)))
        tab.on("dialog", lambda dialog: failed.append(dialog.message))
        tab.on("console", lambda message: failed.append(message.text) if "Content Security Policy" in message.text else None)
        tab.goto(address)
        return tab

    expect.set_options(timeout=PATIENCE)
    yield open_window
    for context in contexts:
        context.close()
    assert failed == []
    assert asked and all(re.match(r"http://127\.0\.0\.1:\d+/|data:image/svg", url) for url in asked)


def test_type_pick_and_see_an_answer(window, page):
    tab = window()
    expect(tab.locator("article .after")).to_have_text("If it is sunny, we will have a picnic tomorrow.")  # the page opens with an answer
    expect(tab.locator("article .after mark")).to_have_text("If it is sunny")
    expect(tab.locator(".moves")).to_have_text("The subordinate clause came first.")
    expect(tab.locator("#said")).to_have_text("Clause first: If it is sunny, we will have a picnic tomorrow.")  # for a screen reader
    expect(tab.locator("#cards .card")).to_have_count(11)
    tab.get_by_label("Your sentence", exact=True).fill("The scientists were thanked by the lawyer.")
    tab.get_by_role("button", name="Paraphrase").click()
    expect(tab.locator("article .before")).to_have_text("The scientists were thanked by the lawyer.")
    tab.get_by_text("What question").click()
    expect(tab.locator("article h2")).to_have_text("What question")
    expect(tab.locator("article .after")).to_have_text(re.compile(r"^(Which|What) .*\?$"))
    assert tab.locator("article .after ins").first.inner_text().split()[0] in ("Which", "What")
    expect(tab.locator("article svg")).to_have_count(2)
    tab.get_by_text("The same from a shell").click()
    expect(tab.locator("#shell")).to_contain_text('"tmpl": "what_question"')
    tab.get_by_text("All ten").click()
    expect(tab.locator("article")).to_have_count(10)


def test_an_error_stands_beside_its_field_in_words(window):
    tab = window()
    expect(tab.locator("article")).to_have_count(1)
    sentence = tab.get_by_label("Your sentence", exact=True)
    sentence.fill("")
    sentence.press("Enter")
    expect(tab.locator("#error-sent")).to_have_text("Your sentence is empty.")
    expect(sentence).to_have_attribute("aria-invalid", "true")
    expect(tab.locator("article")).not_to_be_visible()
    sentence.fill("It rains.")
    sentence.press("Enter")
    expect(tab.locator("article .before")).to_have_text("It rains.")
    expect(tab.locator("#error-sent")).to_be_empty()
    assert sentence.get_attribute("aria-invalid") is None
    tab.get_by_text("Options").click()
    tab.get_by_label("Temperature").fill("hot")
    tab.get_by_label("Temperature").press("Enter")
    expect(tab.locator("#error-temperature")).to_have_text("The temperature must be a number from 0 to 5.0.")


def test_a_tree_is_edited_by_hand(window):
    tab = window()
    tab.locator("figure.source").get_by_role("button", name="Use as a template").click()
    tree = tab.locator("#tree")
    expect(tree).to_have_value("(ROOT (S (NP ) (VP ) (. )))")
    expect(tab.locator("#tree-said")).to_contain_text("A template")
    tree.fill("(ROOT (S (NP ) (VP ) (. ))")
    expect(tab.locator("#error-tree")).to_have_text("1 opening bracket has no closing one.")
    expect(tab.locator("#tree-picture svg")).to_have_count(0)
    tree.fill("(ROOT (SQ (MD ) (NP (PRP )) (VP (VB ) (NP (DT ) (NN ))) (. )))")
    expect(tab.locator("#tree-said")).to_have_text("A whole parse: the answer will have 6 words and marks.")
    expect(tab.locator("#error-tree")).to_be_empty()
    tree.press("Control+Enter")
    expect(tab.locator("article h2")).to_have_text("Your tree")
    expect(tab.locator("article .after")).to_have_text(re.compile(r"\?$"))
    expect(tab.locator("article svg")).to_have_count(1)


def test_say_it_like_an_example(window):
    tab = window()
    tab.get_by_text("Example", exact=True).click()
    tab.locator("#like").fill("Will they win?")
    tab.locator("#like").press("Enter")
    expect(tab.locator("article h2")).to_have_text("Like “Will they win?”")
    expect(tab.locator("article .after")).to_have_text("Will we have a picnic tomorrow if it is sunny?")
    tab.locator("#like").fill(" ")
    tab.get_by_role("button", name="Use this sentence").click()
    expect(tab.locator("#error-like")).to_have_text("The example is empty.")


def test_the_keyboard_is_enough(window):
    tab = window()
    expect(tab.locator("article")).to_have_count(1)
    tab.keyboard.press("Tab")
    expect(tab.get_by_label("Your sentence", exact=True)).to_be_focused()
    tab.keyboard.press("Control+A")
    tab.keyboard.type("The dog slept.")
    tab.keyboard.press("Enter")
    expect(tab.locator("article .before")).to_have_text("The dog slept.")
    for _ in range(4):  # both buttons, the kind of form, the template
        tab.keyboard.press("Tab")
    tab.keyboard.press("ArrowRight")
    expect(tab.locator("article h2")).to_have_text("Two clauses")


def test_what_is_typed_stays_text(window):
    tab = window()
    evil = "The dog <img src=x onerror=alert(1)> slept."
    tab.get_by_label("Your sentence", exact=True).fill(evil)
    tab.get_by_label("Your sentence", exact=True).press("Enter")
    expect(tab.locator("article .before, #error-sent:not(:empty)").first).to_be_visible()
    tab.locator(".ways").get_by_text("Tree").click()
    tab.locator("#tree").fill("(ROOT (NP (NN <img/src=x/onerror=alert`1`>)))")
    expect(tab.locator("#tree-picture text.word")).to_have_text("<img/src=x/onerror=alert`1`>")
    assert tab.locator("img").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast_and_the_page_fits_a_narrow_window(window, scheme):
    tab = window(width=360, height=740, color_scheme=scheme)
    expect(tab.locator("article")).to_have_count(1)
    assert tab.evaluate(CONTRAST) == []
    sentence = tab.get_by_label("Your sentence", exact=True)
    for text in ("She didn't like the movie, but he loved it.", LONG, "x" * 300):
        sentence.fill(text)
        sentence.press("Enter")
        expect(tab.locator("#result")).not_to_have_class("waiting")
        expect(tab.locator("article .before, .error:not(:empty)").first).to_be_visible()
        assert tab.evaluate("document.documentElement.scrollWidth") <= 360
    assert tab.evaluate(CONTRAST) == []


def test_nothing_in_a_picture_overlaps(window):
    """By the fonts that this browser has."""
    tab = window()
    expect(tab.locator("article")).to_have_count(1)
    for text in ("What time does the train leave?", LONG):
        tab.get_by_label("Your sentence", exact=True).fill(text)
        tab.get_by_label("Your sentence", exact=True).press("Enter")
        expect(tab.locator("article .before")).to_have_text(text)
        for picture in tab.locator("svg").all():
            for one, other in itertools.combinations(picture.evaluate(BOXES), 2):
                assert one[1] <= other[0] or other[1] <= one[0] or one[3] <= other[2] or other[3] <= one[2], (one, other)


def test_the_command_is_copied(window):
    tab = window(permissions=["clipboard-read", "clipboard-write"])
    tab.get_by_text("The same from a shell").click()
    tab.get_by_role("button", name="Copy").click()
    expect(tab.locator("#copied")).to_have_text("Copied.")
    assert tab.evaluate("navigator.clipboard.readText()") == tab.locator("#shell").inner_text()


def test_an_address_without_its_key_and_a_service_that_is_gone(window, page, serve):
    tab = window(page.address.split("#")[0])
    expect(tab.locator("#error-general")).to_have_text(
        "The address lacks its key, or has an old one; open the address that the command printed."
    )
    with serve(service.local("http://127.0.0.1:9")) as other:
        tab = window(other.address)
        expect(tab.locator("#error-general")).to_contain_text("Nothing answers at 127.0.0.1:9; is the server running")
    tab.get_by_role("button", name="Paraphrase").click()
    expect(tab.locator("#error-general")).to_have_text(
        "The page’s own server has ended; start it again with `python -m scripts.playground`."
    )
