// Workers, and the sessions that each of them holds.

import { allSessions, get } from "../lib/api.js";
import { count, counted } from "../lib/format.js";
import { h, replace } from "../lib/dom.js";
import { poll } from "../lib/polling.js";
import { problemBox } from "../lib/notices.js";
import { emptyState, sessionLink, sessionMark, when } from "./listings.js";

const POLL_MS = 3000;
const COUNTERS = [["cells.finished", "Cells done"], ["cells.failed", "Cells failed"]];
const SHOWN = 50; // sessions of a worker

export const capacity = (worker) => (worker.capacity === 0 ? "drains" : count(Math.max(0, worker.capacity - worker.resident)));
export const workerAge = (worker) => when(worker.started_at);

export function workersPage() {
  const ending = new AbortController();
  const body = h("div", { "aria-busy": "true" }, h("p", { class: "quiet-text" }, "Loading …"));
  const problems = h("div", {});

  async function look() {
    const [{ workers }, { sessions }] = await Promise.all([
      get("v1/workers", { signal: ending.signal }), allSessions(ending.signal)]);
    const waiting = sessions.filter((session) => session.shortage);
    body.removeAttribute("aria-busy");
    replace(body,
      waiting.length ? h("p", { class: "note warning" }, `${counted(waiting.length, "session")} without a suitable worker: ${waiting[0].shortage}`) : null,
      workers.length ? workers.map((worker) => card(worker, sessions.filter((session) => session.owner === worker.id)))
        : emptyState("No workers: cells wait until one starts. Run", "skep worker"));
  }

  return {
    title: "Workers",
    element: h("div", {}, h("h1", { tabindex: "-1" }, "Workers"), problems, body),
    start() {
      poll(look, POLL_MS, ending.signal, (problem) => problems.replaceChildren(...(problem ? [problemBox(problem)] : [])));
    },
    stop() { ending.abort(); },
  };
}

function card(worker, sessions) {
  const facts = [
    ["Host", `${worker.host}, process ${worker.pid}`], ["Python", worker.python], ["Version", worker.version], ["Started", workerAge(worker)],
    ["Sandbox", worker.sandbox], ["Network", worker.network],
    ["Labels", Object.entries(worker.labels).map(([name, value]) => `${name}=${value}`).join(", ") || "none"],
    ...COUNTERS.map(([name, label]) => [label, count(worker.counters[name] ?? 0)]),
  ];
  return h("section", { class: "card", "aria-label": `Worker ${worker.id}` },
    h("h2", {}, worker.id),
    h("p", {}, worker.capacity === 0 ? `Drains: it takes no more sessions, and holds ${worker.resident}.`
      : h("label", {}, `${count(worker.resident)} of ${count(worker.capacity)} places `,
        h("meter", { min: "0", max: String(worker.capacity), value: String(worker.resident) }))),
    h("dl", { class: "facts" }, facts.map(([label, value]) => h("div", {}, h("dt", {}, label), h("dd", {}, value)))),
    h("h3", {}, "Sessions"),
    sessions.length ? h("ul", { class: "held" }, sessions.slice(0, SHOWN).map((session) => h("li", {}, sessionLink(session.id), " ", sessionMark(session))))
      : h("p", { class: "quiet-text" }, "It holds none."),
    sessions.length > SHOWN ? h("p", { class: "quiet-text" }, `And ${count(sessions.length - SHOWN)} more.`) : null);
}
