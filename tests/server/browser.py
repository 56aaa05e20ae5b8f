"""Uses the page of a server in Chromium, and fails where it isn't as people need it.

It logs in, submits a topology by the editor, watches its numbers move, looks at trends, dead letters
and posts, rebalances, sees the graph change, and kills the topology. On each view axe-core looks for
violations, and nothing may be cut off, at two widths, light and dark; a screenshot of each is kept.
"""

import argparse
import os
import pathlib
import re
import sys

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect, sync_playwright

# Far more than anything takes.
PATIENCE_MS = 90_000
WIDTHS = (360, 1440)
SCHEMES = ("light", "dark")
BAD_IMPACTS = ("serious", "critical")
# More than 150 kB would be slow to come over a phone's network.
BYTES_MAX = 150_000

# True if the page is wider than its window, or text sticks out of a box that isn't scrolled.
CUT = """() => {
  const cut = [];
  if (document.documentElement.scrollWidth > innerWidth) cut.push("the page is wider than its window");
  for (const one of document.querySelectorAll("h1, h2, p, button, .button, .card, .post, dd, summary")) {
    const box = one.getBoundingClientRect();
    if (box.width && !one.closest(".wide, .skip, .log") && box.right > innerWidth + 1)
      cut.push(`${one.tagName} "${one.textContent.slice(0, 60)}" ends at ${box.right}`);
  }
  return cut;
}"""

# True if two texts of the graph overlap.
OVERLAPS = """() => {
  const texts = [...document.querySelectorAll(".graph text")];
  const boxes = texts.map((one) => one.getBoundingClientRect());
  const found = [];
  for (let a = 0; a < boxes.length; a++)
    for (let b = 0; b < a; b++) {
      const x = Math.min(boxes[a].right, boxes[b].right) - Math.max(boxes[a].left, boxes[b].left);
      const y = Math.min(boxes[a].bottom, boxes[b].bottom) - Math.max(boxes[a].top, boxes[b].top);
      if (x > 1 && y > 3) found.push(`"${texts[a].textContent}" and "${texts[b].textContent}"`);
    }
  return found;
}"""


class Look:
    """Looks at each view in all sizes and schemes."""

    def __init__(self, page, folder):
        self.page, self.folder, self.problems = page, folder, []
        self.axe = Axe()

    def at(self, name):
        for scheme in SCHEMES:
            self.page.emulate_media(color_scheme=scheme)
            for width in WIDTHS:
                self.page.set_viewport_size({"width": width, "height": 900})
                view = f"{name}-{width}-{scheme}"
                self.page.screenshot(path=self.folder / f"{view}.png", full_page=True)
                for what in self.page.evaluate(CUT) + self.page.evaluate(OVERLAPS):
                    self.problems.append(f"{view}: {what}")
            for found in self.axe.run(self.page).response["violations"]:
                if found["impact"] in BAD_IMPACTS:
                    nodes = [node["html"][:200] for node in found["nodes"][:3]]
                    self.problems.append(f"{name}-{scheme}: {found['id']}: {found['help']}: {nodes}")
        self.page.set_viewport_size({"width": 1440, "height": 900})


def number_of(page, row, column):
    cell = page.locator("tr", has=page.locator(f"th[scope=row]:text-is('{row}')")).locator("td")
    return cell.nth(column - 1).inner_text()


def log_in(page, url, look):
    page.goto(url)
    expect(page).to_have_url(re.compile("/login$"))
    look.at("login")
    # By keyboard alone: the field has the focus.
    page.keyboard.type("wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("the token is wrong")
    page.get_by_label("Token").fill(os.environ["WATERSPOUT_TOKEN"])
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Topologies")).to_be_visible()


def submit(page, topology, look):
    page.get_by_role("link", name="Submit", exact=True).click()
    area = page.get_by_label("Topology file")
    area.fill(topology.replace("Count(", "Cuont("))
    expect(page.locator("#problems")).to_contain_text("Cuont")
    expect(page.locator("#problems")).to_contain_text("line ")
    look.at("editor")
    area.fill(topology)
    expect(page.locator("#problems")).to_contain_text("No problems.")
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_role("heading", name="storm watch", level=1)).to_be_visible()


def watch(page, look):
    expect(page.locator(".graph")).to_be_visible()
    sinks = page.locator(".graph .component")
    expect(sinks).to_have_count(10)
    page.wait_for_function(
        "() => [...document.querySelectorAll('.graph .rate')].some((one) => !/^0/.test(one.textContent))"
    )
    before = number_of(page, "posts", 6)
    page.wait_for_function(
        "before => [...document.querySelectorAll('tbody tr')].some((row) => "
        "row.querySelector('th').textContent === 'posts' && row.children[6].textContent !== before)",
        arg=before,
    )
    expect(page.locator("#data .card").first).to_contain_text("expected")
    # The posts themselves, once the lake has them.
    expect(page.locator("#data .card .samples strong").first).to_be_visible()
    expect(page.locator("#data .post .message").first).to_contain_text("expected an object")
    expect(page.locator("#data")).to_contain_text("<script>no post</script>")
    expect(page.locator("#data")).to_contain_text("Lake of lake")
    look.at("topology")


def browse(page, look):
    region = page.get_by_role("region", name="Partitions, Lake of lake")
    expect(region.get_by_role("link").first).to_be_visible(timeout=PATIENCE_MS)
    page.get_by_role("link", name=re.compile("^All partitions")).last.click()
    expect(page.get_by_role("heading", name="Lake of lake")).to_be_visible()
    look.at("lake")
    page.get_by_role("link", name=re.compile("^20.*-")).last.click()
    page.get_by_role("link", name=re.compile("^0000000")).click()
    expect(page.locator(".post").first).to_contain_text("<script>document.title = 'taken over'</script>")
    expect(page.locator(".post")).to_have_count(20)
    assert "taken over" not in page.title(), page.title()
    look.at("posts")
    page.get_by_role("link", name="After").click()
    expect(page.locator(".post")).to_have_count(10)
    page.get_by_role("link", name="storm watch").click()


def change(page, look):
    page.get_by_role("link", name="Rebalance…").click()
    page.get_by_label("Tasks of count").fill("3")
    look.at("rebalance")
    page.get_by_role("button", name="Rebalance").click()
    count = page.locator(".graph .component", has=page.locator("text=count"))
    expect(count.first).to_contain_text("3 tasks", timeout=PATIENCE_MS)
    page.get_by_role("link", name="Deactivate…").click()
    page.get_by_role("button", name="Deactivate").click()
    expect(page.locator("p.head")).to_contain_text("inactive")
    page.get_by_role("link", name="Activate…").click()
    page.get_by_role("button", name="Activate").click()
    expect(page.locator("p.head")).to_contain_text("running")
    page.get_by_role("link", name="Topologies").click()
    expect(page.get_by_role("link", name="storm watch")).to_be_visible()
    look.at("list")
    page.get_by_role("link", name="storm watch").click()


def kill(page, look):
    page.get_by_role("link", name="Kill…").click()
    look.at("kill")
    page.get_by_label("Purge").check()
    page.get_by_role("button", name="Kill").click()
    expect(page.locator("main")).to_contain_text("No topology runs here yet.", timeout=PATIENCE_MS)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--url", required=True)
    arguments.add_argument("--chromium", required=True)
    arguments.add_argument("--topology", required=True, type=pathlib.Path)
    arguments.add_argument("--screenshots", required=True, type=pathlib.Path)
    options = arguments.parse_args()
    options.screenshots.mkdir(parents=True, exist_ok=True)
    said, asked = [], []
    with sync_playwright() as playwright:
        # As root, Chromium has no sandbox of its own.
        browser = playwright.chromium.launch(
            executable_path=options.chromium, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        page = browser.new_context(reduced_motion="reduce").new_page()
        page.set_default_timeout(PATIENCE_MS)
        expect.set_options(timeout=PATIENCE_MS)
        page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        look = Look(page, options.screenshots)
        log_in(page, options.url, look)
        submit(page, options.topology.read_text(), look)
        watch(page, look)
        browse(page, look)
        change(page, look)
        kill(page, look)
        sizes = page.evaluate(
            "() => performance.getEntries().reduce((all, one) => all + (one.transferSize || 0), 0)"
        )
        browser.close()
    # A refused token answers with 401, which Chromium notes.
    said = [text for text in said if "401" not in text]
    elsewhere = [url for url in asked if not url.startswith(options.url) and not url.startswith("data:")]
    problems = look.problems + said + [f"asked {url}" for url in elsewhere]
    if sizes > BYTES_MAX:
        problems.append(f"the page takes {sizes} bytes, and at most {BYTES_MAX} were expected")
    print("\n".join(problems))
    sys.exit(1 if problems else 0)


main()
