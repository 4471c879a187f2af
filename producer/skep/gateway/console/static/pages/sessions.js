// The list of sessions: filtered, page by page.

import { count } from "../lib/format.js";
import { get } from "../lib/api.js";
import { h, replace, table } from "../lib/dom.js";
import { poll } from "../lib/polling.js";
import { problemBox } from "../lib/notices.js";
import { emptyState, owner, sessionLink, sessionMark, when } from "./listings.js";

const POLL_MS = 5000;
const PAGE = 50;

/** Return the page. `query`: the filter, from the address; setQuery(query) changes the address. */
export function sessionsPage(query, setQuery, mayRun) {
  const ending = new AbortController();
  const prefix = query.get("prefix") ?? "";
  const state = query.get("state") ?? "";
  const label = query.get("label") ?? "";
  const after = query.get("after");
  const body = h("div", { "aria-busy": "true" }, h("p", { class: "quiet-text" }, "Loading …"));
  const problems = h("div", {});
  const prefixField = h("input", { id: "prefix", type: "search", value: prefix, autocomplete: "off", spellcheck: "false" });
  const labelField = h("input", { id: "label", type: "search", value: label, autocomplete: "off", spellcheck: "false", placeholder: "name:text", size: "12" });
  const stateField = h("select", { id: "state", change: apply },
    ["", "open", "closing", "closed"].map((value) => h("option", { value, selected: value === state }, value || "any")));
  stateField.value = state;

  function address(changes) {
    const wanted = new URLSearchParams();
    for (const [name, value] of Object.entries({ prefix: prefixField.value.trim(), label: labelField.value.trim(), state: stateField.value, ...changes })) if (value) wanted.set(name, value);
    return wanted;
  }

  function apply() { setQuery(address({})); }

  async function look() {
    const wanted = new URLSearchParams({ limit: String(PAGE) });
    if (prefix) wanted.set("prefix", prefix);
    if (label) wanted.set("label", label);
    if (state) wanted.set("state", state);
    if (after) wanted.set("after", after);
    const { sessions, next } = await get(`v1/sessions?${wanted}`, { signal: ending.signal });
    body.removeAttribute("aria-busy");
    const isFiltered = prefix || label || state || after;
    replace(body,
      sessions.length
        ? table("Sessions", [{ label: "Session" }, { label: "State" }, { label: "Waiting", numeric: true }, { label: "Cells", numeric: true },
          { label: "Owner" }, { label: "Last used" }, { label: "Created" }],
        sessions.map((session) => [sessionLink(session.id), sessionMark(session), count(session.pending), count(session.seq), owner(session), when(session.active_at), when(session.created_at)]))
        : isFiltered ? emptyState("No session matches.") : emptyState("No sessions yet: run", "skep exec \"print('hello')\" --session first"),
      h("nav", { class: "paging", "aria-label": "Pages of sessions" },
        after ? h("a", { href: `#/sessions?${address({})}`, "data-key": "first" }, "First page") : null,
        next ? h("a", { href: `#/sessions?${address({ after: next })}`, "data-key": "next" }, "Next page") : null));
  }

  const opening = h("form", {
    class: "inline", submit: (event) => { event.preventDefault(); if (opened.value.trim()) location.hash = `#/sessions/${encodeURIComponent(opened.value.trim())}`; },
  }, h("label", { for: "open" }, mayRun ? "Open or begin" : "Open"));
  const opened = h("input", { id: "open", required: true, maxlength: "200", autocomplete: "off", spellcheck: "false", placeholder: "session id" });
  opening.append(opened, h("button", { type: "submit" }, "Go"));

  return {
    title: "Sessions",
    element: h("div", {}, h("h1", { tabindex: "-1" }, "Sessions"),
      h("div", { class: "filters" },
        h("form", { class: "inline", role: "search", submit: (event) => { event.preventDefault(); apply(); } },
          h("label", { for: "prefix" }, "Id begins with"), prefixField, h("label", { for: "label" }, "Label"), labelField, h("label", { for: "state" }, "State"), stateField, h("button", { type: "submit" }, "Filter")),
        opening),
      problems, body),
    start() {
      poll(look, POLL_MS, ending.signal, (problem) => problems.replaceChildren(...(problem ? [problemBox(problem)] : [])));
    },
    stop() { ending.abort(); },
  };
}
