// Overview: how much runs, what waits, and on which workers, live.

import { allSessions, get } from "../lib/api.js";
import { bytes, count, counted } from "../lib/format.js";
import { h, replace, svg, table } from "../lib/dom.js";
import { poll } from "../lib/polling.js";
import { problemBox } from "../lib/notices.js";
import { emptyState, owner, sessionLink, sessionMark, tile, when } from "./listings.js";
import { capacity, workerAge } from "./workers.js";

const POLL_MS = 2000;
const MOST_POINTS = 90;
const SHOWN = 10;

export function overviewPage() {
  const ending = new AbortController();
  const body = h("div", { "aria-busy": "true" }, h("p", { class: "quiet-text" }, "Loading …"));
  const problems = h("div", {});
  const rates = [];
  let before = null;

  /** Count the cells that ended since the last look. A session that was purged meanwhile counts for nothing. */
  function rate(sessions, now) {
    const cursors = new Map(sessions.map((session) => [session.id, session.cursor]));
    let value = null;
    if (before) {
      let ended = 0;
      for (const [id, cursor] of cursors) ended += Math.max(0, cursor - (before.cursors.get(id) ?? 0));
      value = (ended * 1000) / (now - before.now);
      rates.push(value);
      if (rates.length > MOST_POINTS) rates.shift();
    }
    before = { cursors, now };
    return value;
  }

  async function look() {
    const [{ sessions }, { workers }, summary] = await Promise.all([
      allSessions(ending.signal), get("v1/workers", { signal: ending.signal }), get("v1/summary", { signal: ending.signal })]);
    const perSecond = rate(sessions, performance.now());
    const busy = sessions.filter((session) => session.pending).sort((one, other) => other.pending - one.pending);
    const recent = sessions.filter((session) => !session.pending).sort((one, other) => other.active_at.localeCompare(one.active_at));
    const shown = [...busy, ...recent].slice(0, SHOWN);
    body.removeAttribute("aria-busy");
    replace(body,
      h("dl", { class: "tiles" },
        tile("Cells per second", perSecond === null ? "–" : perSecond.toFixed(perSecond < 10 ? 1 : 0), "that ended"),
        tile("Cells waiting or running", summary.pending_cells, `in ${counted(summary.sessions.busy, "session")}`),
        tile("Sessions", summary.total_sessions, states(summary)),
        tile("Sessions in memory", summary.sessions.resident, summary.workers ? `of ${counted(summary.workers.capacity, "place")}` : ""),
        tile("Workers", workers.length, `${count(workers.reduce((sum, worker) => sum + worker.capacity, 0))} places`),
        summary.redis && memoryTile(summary.redis)),
      h("section", {}, h("h2", {}, "Throughput"), chart(rates)),
      h("section", {}, h("h2", {}, busy.length ? "Busy and recent sessions" : "Recent sessions"), shown.length
        ? table("Sessions", [{ label: "Session" }, { label: "State" }, { label: "Waiting", numeric: true }, { label: "Cells", numeric: true }, { label: "Owner" }, { label: "Last used" }],
          shown.map((session) => [sessionLink(session.id), sessionMark(session), count(session.pending), count(session.seq), owner(session), when(session.active_at)]))
        : emptyState("No sessions yet: run", "skep exec \"print('hello')\" --session first")),
      h("section", {}, h("h2", {}, "Workers"), workers.length
        ? table("Workers", [{ label: "Worker" }, { label: "Sessions", numeric: true }, { label: "Free places", numeric: true }, { label: "Sandbox" }, { label: "Python" }, { label: "Started" }],
          workers.map((worker) => [worker.id, count(worker.resident), capacity(worker), worker.sandbox, worker.python, workerAge(worker)]))
        : emptyState("No workers: cells wait until one starts. Run", "skep worker")));
  }

  return {
    title: "Overview",
    element: h("div", {}, h("h1", { tabindex: "-1" }, "Overview"), problems, body),
    start() {
      poll(look, POLL_MS, ending.signal, (problem) => problems.replaceChildren(...(problem ? [problemBox(problem)] : [])));
    },
    stop() { ending.abort(); },
  };
}

/** Return the sessions by state, as far as they were counted. */
function states({ sessions, total_sessions: total, counted_sessions: looked }) {
  const parts = ["open", "closing", "closed"].filter((state) => sessions[state]).map((state) => `${count(sessions[state])} ${state}`);
  return `${parts.join(", ")}${looked < total ? ` of the first ${count(looked)}` : ""}`;
}

/** Return the tile with the memory of Redis, of its maximum if it has one. */
function memoryTile({ used_bytes: used, max_bytes: most }) {
  if (most === null) return tile("Redis memory", bytes(used), "no maximum is set");
  return tile("Redis memory", bytes(used), [`of ${bytes(most)} `,
    h("meter", { min: "0", max: String(most), high: String(most * 0.9), value: String(Math.min(used, most)), "aria-label": "Redis memory: part of its maximum" })]);
}

/** Return a chart of the rates, the newest at the right. */
function chart(rates) {
  const width = 600;
  const height = 72;
  const most = Math.max(1, ...rates);
  const place = (index) => width - ((rates.length - 1 - index) * width) / (MOST_POINTS - 1);
  const points = rates.map((rate, index) => `${place(index).toFixed(1)},${(height - 2 - (rate / most) * (height - 8)).toFixed(1)}`);
  const label = `Cells per second in the last ${Math.round((MOST_POINTS * POLL_MS) / 60_000)} minutes, at most ${most.toFixed(1)}`;
  const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label, preserveAspectRatio: "none", class: "chart" });
  if (points.length > 1) {
    picture.append(
      svg("polygon", { class: "area", points: `${place(0)},${height} ${points.join(" ")} ${width},${height}` }),
      svg("polyline", { class: "line", points: points.join(" "), "vector-effect": "non-scaling-stroke" }));
  }
  return h("figure", {}, picture, h("figcaption", { class: "quiet-text" }, points.length > 1
    ? `Last ${Math.round((MOST_POINTS * POLL_MS) / 60_000)} minutes; the highest is ${most.toFixed(1)} cells/s` : "Measured from now on"));
}
