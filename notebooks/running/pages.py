"""Executes the notebooks, and writes them as pages."""

import asyncio
import atexit
import base64
import html
import os
import queue
import re
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

import nbformat
from jupyter_client import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from nbconvert import HTMLExporter

from .failure import note

# A plot as the exporter writes it. (Its own option for plots in the page escapes their tags.)
ENCODED_PLOT = re.compile(r'<img [^>]*src="data:image/svg\+xml;base64,(?P<base64>[^"]*)"/>')
# How many notebooks are executed at once, each in a process of about 150 MB.
KERNELS_MAX = 4
# The longest that a cell may take: a query over a large warehouse takes its time.
CELL_SECONDS_MAX = 3600
# The longest that a kernel may take to start; a busy machine takes half a minute.
KERNEL_START_SECONDS_MAX = 180


def make(here, folder):
    """Writes a page for each notebook, and one with links to them; returns the exit code."""
    folder.mkdir(parents=True, exist_ok=True)
    note("executing the notebooks")
    paths = sorted(here.glob("*.ipynb"))
    with tempfile.TemporaryDirectory(prefix="waterspout-") as runtime:
        environment(runtime)
        outcomes = executed(paths)
    titles = {}
    for path, (notebook, error) in zip(paths, outcomes):
        page = folder / f"{path.stem}.html"
        titles[page] = notebook.cells[0].source.splitlines()[0].lstrip("# ")
        page.write_text(page_of(notebook, titles[page]), encoding="utf-8")
        if error:
            note(f"{path.name} failed: {error}; see {page}")
    index = folder / "index.html"
    index.write_text(index_of(titles), encoding="utf-8")
    print(index, *titles, sep="\n")
    return 1 if any(error for _, error in outcomes) else 0


def environment(runtime):
    """Keeps the kernels apart from what a person has set up for theirs."""
    os.environ["JUPYTER_RUNTIME_DIR"] = runtime
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"
    os.environ["IPYTHONDIR"] = runtime
    # Fonts are looked for once.
    os.environ["MPLCONFIGDIR"] = os.path.join(sys.prefix, "matplotlib")


def executed(paths):
    """Executes notebooks; gives each with its error, if it has one."""
    started = queue.SimpleQueue()

    async def everything():
        started.put((asyncio.get_running_loop(), asyncio.current_task()))
        return await execute_all(paths)

    # In the main thread the library would take signals for itself, and go on after them.
    with ThreadPoolExecutor(1) as thread:
        outcomes = thread.submit(asyncio.run, everything())
        try:
            return outcomes.result()
        except SystemExit:
            loop, task = started.get()
            loop.call_soon_threadsafe(task.cancel)
            raise


async def execute_all(paths):
    """Executes notebooks side by side."""
    room = asyncio.Semaphore(min(os.cpu_count() or 1, KERNELS_MAX))
    return await asyncio.gather(*(execute(path, room) for path in paths))


async def execute(path, room):
    """Executes one notebook, up to its first error."""
    notebook = nbformat.read(path, as_version=4)
    # Sockets in a folder of this user only, instead of ports that any user can reach.
    connection_file = os.path.join(os.environ["JUPYTER_RUNTIME_DIR"], f"{path.stem}.json")
    async with room:
        kernel = AsyncKernelManager(
            kernel_name="python3", transport="ipc", connection_file=connection_file)
        client = NotebookClient(notebook, km=kernel, timeout=CELL_SECONDS_MAX,
                                startup_timeout=KERNEL_START_SECONDS_MAX,
                                resources={"metadata": {"path": str(path.parent)}})
        try:
            await client.async_execute(cleanup_kc=True)
        except CellExecutionError as error:
            return notebook, f"{error.ename}: {error.evalue}"
        except (DeadKernelError, RuntimeError, TimeoutError) as error:
            return notebook, f"its kernel gave no answer: {error}"
        finally:
            await kernel.shutdown_kernel(now=True)
            # When it is interrupted, the client leaves this for the end, and fails there.
            atexit.unregister(client._cleanup_kernel)
    return notebook, None


def page_of(notebook, title):
    """The page of an executed notebook, which needs nothing from elsewhere."""
    notebook.metadata["title"] = title
    exporter = HTMLExporter(template_name="lab", mathjax_url="", require_js_url="",
                            exclude_input_prompt=True, exclude_output_prompt=True)
    page, _ = exporter.from_notebook_node(notebook)
    return ENCODED_PLOT.sub(plot_in_page, page)


def plot_in_page(image):
    """The SVG of an image, so that its text can be searched, copied and read out."""
    svg = base64.b64decode(image["base64"]).decode()
    return svg[svg.index("<svg"):]


def index_of(titles):
    """A page with links to the others."""
    links = "\n".join(f'<li><a href="{html.escape(page.name)}">{html.escape(title)}</a></li>'
                      for page, title in titles.items())
    return f"""<!doctype html>
<meta charset="utf-8">
<title>The warehouse</title>
<style>body {{ font: 16px/1.6 sans-serif; max-width: 40em; margin: 3em auto }}</style>
<h1>The warehouse</h1>
<ul>
{links}
</ul>
"""
