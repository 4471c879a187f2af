// What several pages show of sessions and workers.

import { age, clock, count } from "../lib/format.js";
import { h } from "../lib/dom.js";

/** Return a link to a session; only its name if it is a tenant's (TENANT/ID), whose own token it needs. */
export function sessionLink(id) {
  if (id.includes("/")) return h("span", { title: "Log in with a token of this tenant to open it" }, id);
  return h("a", { href: `#/sessions/${encodeURIComponent(id)}`, "data-key": `session-${id}` }, id);
}

export const when = (time) => h("time", { datetime: time, title: clock(time) }, age(time));

/** Return a session's state as a mark: what it does, or why it does not. */
export function sessionMark(session) {
  if (session.state !== "open") return h("span", { class: "mark" }, session.state);
  if (session.shortage) return h("span", { class: "mark failed", title: session.shortage }, "no worker");
  if (session.pending) return h("span", { class: "mark running" }, session.owner_alive ? "runs" : "waits");
  return h("span", { class: "mark" }, session.owner_alive ? "idle" : "hibernated");
}

export const owner = (session) => (session.owner === null ? "–" : session.owner_alive ? session.owner : `${session.owner} (gone)`);

/** Return a tile with one number. */
export function tile(label, number, detail = "") {
  return h("div", { class: "tile" }, h("dt", {}, label),
    h("dd", {}, h("span", { class: "big" }, typeof number === "number" ? count(number) : number), detail && h("span", { class: "quiet-text" }, detail)));
}

/** Return the empty state of a listing. */
export const emptyState = (text, command) => h("p", { class: "empty" }, text, command && [" ", h("code", {}, command)]);
