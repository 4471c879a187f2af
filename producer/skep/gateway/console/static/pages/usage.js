// Usage: what each tenant uses of its quotas.

import { bytes, count, duration } from "../lib/format.js";
import { get } from "../lib/api.js";
import { h, replace } from "../lib/dom.js";
import { poll } from "../lib/polling.js";
import { problemBox } from "../lib/notices.js";
import { emptyState } from "./listings.js";

const POLL_MS = 5000;

export function usagePage() {
  const ending = new AbortController();
  const body = h("div", { "aria-busy": "true" }, h("p", { class: "quiet-text" }, "Loading …"));
  const problems = h("div", {});

  async function look() {
    const { tenants } = await get("v1/usage", { signal: ending.signal });
    body.removeAttribute("aria-busy");
    replace(body, tenants.length ? tenants.map(card)
      : emptyState("No tenant has quotas. To divide the cluster among several, run", "skep tenants set NAME --max-resident 10"));
  }

  return {
    title: "Usage",
    element: h("div", {}, h("h1", { tabindex: "-1" }, "Usage"), problems, body),
    start() {
      poll(look, POLL_MS, ending.signal, (problem) => problems.replaceChildren(...(problem ? [problemBox(problem)] : [])));
    },
    stop() { ending.abort(); },
  };
}

function card({ tenant, quotas, use }) {
  const seconds = (value) => duration(value * 1000);
  const rows = [
    ["Sessions", use.sessions, null, count], ["Sessions in memory", use.resident, quotas.max_resident, count],
    ["Cells waiting or running", use.pending, quotas.max_pending, count], ["Stored checkpoints", use.stored_bytes, quotas.max_bytes, bytes],
    ["Processor time today (UTC)", use.cpu_seconds, quotas.cpu_seconds_a_day, seconds],
  ];
  return h("section", { class: "card", "aria-label": `Tenant ${tenant}` }, h("h2", {}, tenant),
    h("dl", { class: "facts" },
      rows.map(([label, value, quota, shown]) => h("div", {}, h("dt", {}, label), h("dd", {},
        quota === null ? shown(value) : [`${shown(value)} of ${shown(quota)} `,
          h("meter", { min: "0", max: String(quota), value: String(Math.min(value, quota)), "aria-label": `${label}: part of the quota` })]))),
      quotas.cells_a_minute === null ? null : h("div", {}, h("dt", {}, "Cells a minute, at most"), h("dd", {}, count(quotas.cells_a_minute)))));
}
