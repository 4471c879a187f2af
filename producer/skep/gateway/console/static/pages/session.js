// One session: its notebook, live, and its variables, files and checkpoints.

import { follow } from "../lib/event_stream.js";
import { get, ofSession, Problem, post, remove } from "../lib/api.js";
import { h, replace } from "../lib/dom.js";
import { act, announce, problemBox, showProblem } from "../lib/notices.js";
import { ask } from "../lib/dialog.js";
import { poll } from "../lib/polling.js";
import { NotebookView } from "../notebook/notebook_view.js";
import { runBox } from "../notebook/run_box.js";
import { checkpointsPart } from "./checkpoints.js";
import { filesPart } from "./files.js";
import { owner, sessionMark } from "./listings.js";
import { variablesPart } from "./variables.js";

const POLL_MS = 3000;
const WINDOW = 3000; // events that a page begins with; earlier ones are a click away
const PARTS = [["notebook", "Notebook"], ["variables", "Variables"], ["files", "Files"], ["checkpoints", "Checkpoints"]];
const STREAM_WORDS = { live: "live", waiting: "reconnecting …", ended: "ended", failed: "not connected", opening: "connecting …", past: "earlier events" };

/** Return the page. can: what the token permits. part: which part is shown first. */
export function sessionPage(id, part, can) {
  const ending = new AbortController();
  const mayRun = can.includes("run");
  let streaming = new AbortController();
  let info = null;
  let exists = true;

  const stream = h("span", { class: "quiet-text", role: "status" }, STREAM_WORDS.opening);
  const facts = h("p", { class: "session-facts" });
  const problems = h("div", {});
  const streamProblems = h("div", {});
  const windowRow = h("div", { class: "paging" });
  const interrupt = h("button", { type: "button", click: () => interruptRunning() }, "Interrupt");
  const hibernate = h("button", { type: "button", click: () => act(hibernate, async () => { await post(ofSession(id, "/hibernate")); announce("Hibernated"); }) }, "Hibernate");
  const closing = h("button", { type: "button", class: "danger-text", click: () => close() }, "Close …");
  const box = runBox(id, () => {
    if (!exists) restart(true);
    else if (stream.dataset.state === "past") restart();
    notebook.focusQuestion();
  });
  let notebook = makeNotebook();
  const notebookPart = h("section", { "aria-label": "Notebook" }, streamProblems, windowRow, notebook.element, mayRun ? box : null);
  const parts = {
    notebook: { element: notebookPart, refresh() {} },
    variables: variablesPart(id), files: filesPart(id, mayRun),
    checkpoints: checkpointsPart(id, mayRun, (seq) => notebook.notebook.items.findLast((item) => item.type === "cell" && item.seq === seq)),
  };
  const tabs = h("nav", { class: "tabs", "aria-label": "Parts of the session" }, PARTS.map(([name, label]) => h("a", { href: hash(name) }, label)));
  const shown = h("div", {});
  let current = null;

  function hash(name) { return `#/sessions/${encodeURIComponent(id)}${name === "notebook" ? "" : `/${name}`}`; }

  function makeNotebook() {
    return new NotebookView({
      emptyText: mayRun ? "No cells yet: write one below, and run it with Ctrl+Enter." : "No cells yet.",
      onAnswer: (text, button) => act(button, async () => {
        const { answered } = await post(ofSession(id, "/answer"), { text });
        if (!answered) throw new Problem({ status: 409, detail: "No cell waits for an answer.", remedy: "It has ended meanwhile." });
      }),
      onFinished: () => { if (current !== "notebook") parts[current].refresh(); },
      onReset: () => queueMicrotask(() => restart()),
    });
  }

  function setStream(state, problem = null) {
    stream.dataset.state = state;
    if (stream.textContent !== STREAM_WORDS[state]) stream.textContent = STREAM_WORDS[state];
    if (state === "ended") refreshInfo().catch(showProblem);
    streamProblems.replaceChildren(...(problem && state === "failed" && problem.status !== 404 ? [problemBox(problem)] : []));
  }

  /** Show the events from a place on: live, or, with `to`, only those up to there. isNew: even stored ones are news. */
  async function open(from, to, isNew = false) {
    streaming.abort();
    streaming = new AbortController();
    const { signal } = streaming;
    const next = makeNotebook();
    notebook.stop();
    notebook.element.replaceWith(next.element);
    notebook = next;
    showWindow(from, to);
    if (to !== null) {
      setStream("past");
      try {
        let after = from;
        while (after < to && !signal.aborted) {
          const page = await get(ofSession(id, `/events?after=${after}-0&limit=${Math.min(1000, to - after)}`), { signal });
          if (!page.events.length) break;
          next.apply(page.events.filter((event) => Number.parseInt(event.id, 10) <= to));
          after = Number.parseInt(page.next, 10);
        }
      } catch (error) {
        showProblem(error);
      }
      return;
    }
    const last = info?.last_event ?? 0;
    next.isCatchingUp = last > from && !isNew;
    await follow(ofSession(id, "/events"), `${from}-0`, {
      signal, onState: setStream,
      onEvents: (events) => { next.apply(events); if (next.notebook.last >= last) next.isCatchingUp = false; },
    });
  }

  function showWindow(from, to) {
    const floor = (info?.floor ?? 1) - 1;
    const earlier = () => open(Math.max(floor, from - WINDOW), from);
    const later = () => (to + WINDOW >= (info?.last_event ?? 0) ? restart() : open(to, to + WINDOW));
    replace(windowRow,
      from > floor ? h("button", { type: "button", "data-key": "earlier", click: earlier }, "Earlier events") : null,
      to !== null ? h("button", { type: "button", "data-key": "later", click: later }, "Later events") : null,
      to !== null ? h("button", { type: "button", "data-key": "live", click: () => restart() }, "Live") : null);
  }

  async function refreshInfo() {
    info = await get(ofSession(id), { signal: ending.signal });
    showFacts();
  }

  async function restart(isNew = false) {
    try {
      await refreshInfo();
      setExists(true);
    } catch (error) {
      if (ending.signal.aborted) return;
      if (error.status === 404) { setExists(false); return; }
      setStream("waiting");
      if (error.status !== 0) { problems.replaceChildren(problemBox(error)); return; }
    }
    const floor = (info?.floor ?? 1) - 1;
    await open(Math.max(floor, (info?.last_event ?? 0) - WINDOW), null, isNew);
  }

  function setExists(value) {
    exists = value;
    tabs.hidden = !value;
    interrupt.hidden = hibernate.hidden = closing.hidden = !value || !mayRun;
    if (!can.includes("admin")) closing.hidden = true;
    if (!value) {
      stream.textContent = "";
      facts.replaceChildren(mayRun ? "There is no such session yet: its first cell begins it." : "There is no such session.");
    }
  }

  function showFacts() {
    const isOpen = info.state === "open";
    box.hidden = !isOpen;
    interrupt.disabled = !info.pending;
    hibernate.disabled = !isOpen || Boolean(info.pending) || !info.owner_alive;
    closing.disabled = info.state === "closed";
    const parts = [`${info.pending} waiting`, `owner ${owner(info)}`, `sandbox ${info.owner_sandbox ?? info.sandbox}`, info.network && `network ${info.network}`];
    const key = [info.state, info.shortage, info.owner_alive, ...parts].join("|");
    if (facts.dataset.key === key) return;
    facts.dataset.key = key;
    facts.replaceChildren(sessionMark(info), ...parts.filter(Boolean).map((text) => h("span", {}, text)));
    if (info.shortage) facts.append(h("span", { class: "note warning" }, info.shortage));
  }

  async function interruptRunning() {
    await act(interrupt, async () => {
      const { interrupted } = await post(ofSession(id, "/interrupt"));
      announce(interrupted ? "Interrupted" : "No cell runs");
    });
  }

  async function close() {
    const given = await ask({
      title: `Close ${id}?`, text: "Its running cell is interrupted, waiting ones are cancelled, and no cell can be added any more.",
      action: "Close", isDangerous: true, fields: [{ name: "purge", type: "checkbox", label: "Also delete its events, checkpoints and files" }],
    });
    if (!given) return;
    const isDone = await act(closing, () => remove(ofSession(id, given.purge ? "?purge=true" : "")));
    if (isDone && given.purge) location.hash = "#/sessions";
  }

  const page = {
    title: id, key: `session ${id}`,
    element: h("div", {},
      h("div", { class: "session-head" },
        h("h1", { tabindex: "-1" }, id), stream,
        h("div", { class: "actions" }, interrupt, hibernate, closing)),
      facts, problems, tabs, shown),
    start() {
      setExists(true);
      restart();
      poll(async () => {
        if (exists && info !== null && info.state !== "closed") await refreshInfo();
      }, POLL_MS, ending.signal, (problem) => {
        if (problem?.status === 404) { setExists(false); return; }
        problems.replaceChildren(...(problem ? [problemBox(problem)] : []));
      });
    },
    /** Show another part of the same session; its stream goes on. */
    show(name) {
      current = parts[name] ? name : "notebook";
      [...tabs.children].forEach((link, index) => {
        if (PARTS[index][0] === current) link.setAttribute("aria-current", "page");
        else link.removeAttribute("aria-current");
      });
      shown.replaceChildren(parts[current].element);
      parts[current].refresh();
    },
    stop() {
      ending.abort();
      streaming.abort();
      notebook.stop();
    },
  };
  page.show(part);
  return page;
}
