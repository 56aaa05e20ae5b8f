// Keeps the numbers of a page fresh, and checks a topology while it is written. The page works
// without it, except for the editor.
"use strict";

const REFRESH_S = 2;
const LISTEN_AGAIN_MS = 30000;
const TYPING_PAUSE_MS = 400;

// The stream by which the server sends the parts that change; null while there is none.
let stream = null;

// Asks for a part again and again while there is no stream.
function keepFresh(part) {
  let isUnderWay = false;
  const refresh = async () => {
    if (isUnderWay || document.hidden || stream) return;
    isUnderWay = true;
    try {
      const answer = await fetch(part.dataset.live, { redirect: "manual" });
      if (answer.ok) replaceKeepingPlace(part, await answer.text());
      else if (answer.type === "opaqueredirect" || answer.status === 404) location.reload();
    } catch {
      // The server is away; the next look may find it.
    } finally {
      isUnderWay = false;
    }
  };
  setInterval(refresh, 1000 * (part.dataset.every || REFRESH_S));
}

// Opens the stream of this page, and closes it while nobody sees the page.
function listen(parts) {
  if (document.hidden) {
    stream?.close();
    stream = null;
  }
  if (document.hidden || stream) return;
  const opened = new EventSource(parts[0].dataset.events);
  stream = opened;
  for (const part of parts) {
    opened.addEventListener(part.id, (event) => replaceKeepingPlace(part, JSON.parse(event.data)));
  }
  opened.addEventListener("gone", () => location.reload());
  opened.addEventListener("error", () => {
    opened.close();
    if (stream === opened) stream = null;
  });
}

// The server's own HTML, in which all text from outside is escaped.
function replaceKeepingPlace(part, html) {
  if (part.innerHTML === html) return;
  const focused = [...part.querySelectorAll("a, button, [tabindex]")].indexOf(document.activeElement);
  const scrolled = [...part.querySelectorAll(".wide")].map((one) => one.scrollLeft);
  part.innerHTML = html;
  part.querySelectorAll(".wide").forEach((one, number) => (one.scrollLeft = scrolled[number] || 0));
  if (focused >= 0) part.querySelectorAll("a, button, [tabindex]")[focused]?.focus();
}

async function send(path, topology) {
  return fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ topology, file: "topology" }),
  });
}

function showProblems(box, problems, what) {
  box.replaceChildren();
  const head = document.createElement("p");
  head.textContent = what;
  box.append(head);
  for (const problem of problems) {
    const line = document.createElement("p");
    line.className = "message";
    const place = problem.line > 0 ? `line ${problem.line}, column ${problem.column}: ` : "";
    const hint = problem.hint ? `; ${problem.hint}` : "";
    line.textContent = place + problem.what + hint;
    box.append(line);
    if (problem.line > 0) {
      const excerpt = document.createElement("pre");
      excerpt.tabIndex = 0;
      excerpt.textContent = `${problem.source_line}\n${problem.marker}`;
      box.append(excerpt);
    }
  }
}

function headOf(count) {
  if (count === 0) return "No problems.";
  return count === 1 ? "A problem:" : `${count} problems:`;
}

function watchEditor(form) {
  const area = form.querySelector("textarea");
  const box = document.getElementById("problems");
  let pause;
  area.addEventListener("input", () => {
    clearTimeout(pause);
    pause = setTimeout(async () => {
      const answer = await send("/api/v1/validate", area.value);
      if (!answer.ok) return;
      const verdict = await answer.json();
      const count = verdict.problems.length;
      showProblems(box, verdict.problems, headOf(count));
    }, TYPING_PAUSE_MS);
  });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const answer = await send("/api/v1/topologies", area.value);
    const body = await answer.json();
    if (answer.status === 201) location.assign(`/topology/${encodeURIComponent(body.name)}`);
    else showProblems(box, body.problems || [], body.detail);
  });
}

const parts = [...document.querySelectorAll("[data-live]")];
parts.forEach(keepFresh);
if (parts.length > 0) {
  listen(parts);
  document.addEventListener("visibilitychange", () => listen(parts));
  setInterval(() => listen(parts), LISTEN_AGAIN_MS);
}
const editor = document.getElementById("editor");
if (editor) watchEditor(editor);
