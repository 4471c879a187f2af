// A session's variables.

import { bytes, count } from "../lib/format.js";
import { get, ofSession } from "../lib/api.js";
import { h, replace, table } from "../lib/dom.js";
import { problemBox } from "../lib/notices.js";
import { emptyState } from "./listings.js";

const MOST = 500;
const MOST_CHARACTERS = 200;

/** Return the part: {element, refresh()}. */
export function variablesPart(id) {
  const body = h("div", {}, h("p", { class: "quiet-text" }, "Loading …"));
  const refreshing = h("button", { type: "button", click: refresh }, "Refresh");

  async function refresh() {
    try {
      const { variables } = await get(ofSession(id, "/variables"));
      const size = (variable) => (variable.shape ? variable.shape.join(" × ") : variable.length === null ? "" : count(variable.length));
      replace(body, variables.length
        ? table("Variables", [{ label: "Name" }, { label: "Type" }, { label: "Length", numeric: true }, { label: "Memory", numeric: true }, { label: "Value" }],
          variables.slice(0, MOST).map((variable) => [h("code", {}, variable.name), variable.type, size(variable), bytes(variable.bytes), h("code", { class: "value" }, variable.repr.slice(0, MOST_CHARACTERS))]))
        : emptyState("No variables: no cell has bound a name."),
      variables.length > MOST ? h("p", { class: "note" }, `The first ${MOST} of ${variables.length}.`) : null);
    } catch (error) {
      replace(body, problemBox(error));
    }
  }

  return { element: h("section", { "aria-label": "Variables" }, h("div", { class: "part-row" }, h("h2", {}, "Variables"), refreshing), body), refresh };
}
