// A session's checkpoints as a timeline, the newest first: go back to one, or fork a session from it.

import { bytes, counted } from "../lib/format.js";
import { get, ofSession, post } from "../lib/api.js";
import { h, replace } from "../lib/dom.js";
import { act, announce, problemBox } from "../lib/notices.js";
import { ask } from "../lib/dialog.js";
import { emptyState, when } from "./listings.js";

const MOST = 300;
const MOST_NAMES = 60;
const MOST_CODE_LINES = 3;

/** Return the part: {element, refresh()}. cellOf(seq): the cell of that place, if the page has it. */
export function checkpointsPart(id, mayRun, cellOf) {
  const body = h("div", {}, h("p", { class: "quiet-text" }, "Loading …"));

  async function rollBack(button, checkpoint) {
    const text = "The variables and files become those of this checkpoint. Later checkpoints stay, so this can be undone.";
    if (!await ask({ title: `Roll back to ${checkpoint.id}?`, text, action: "Roll back", isDangerous: true })) return;
    if (await act(button, () => post(ofSession(id, "/rollback"), { checkpoint: checkpoint.id }))) announce(`Rolled back to ${checkpoint.id}`);
    await refresh();
  }

  async function fork(button, checkpoint) {
    const given = await ask({
      title: `Fork from ${checkpoint.id}`, text: "A new session begins with this state. From then on they are independent.", action: "Fork",
      fields: [{ name: "id", label: "Id of the new session", value: `${id}-${checkpoint.id.replace(/-0$/, "")}`.slice(0, 200) }],
    });
    if (!given) return;
    if (await act(button, () => post(ofSession(id, "/fork"), { new_id: given.id, at: checkpoint.id }))) {
      location.hash = `#/sessions/${encodeURIComponent(given.id)}`;
    }
  }

  function entry(checkpoint) {
    const cell = cellOf(checkpoint.seq);
    const code = cell?.code?.split("\n").slice(0, MOST_CODE_LINES).join("\n");
    const lost = Object.entries(checkpoint.lost);
    return h("li", { class: checkpoint.is_head ? "head" : null, "aria-label": `Checkpoint ${checkpoint.id}` },
      h("div", { class: "checkpoint-row" },
        h("strong", {}, checkpoint.id), checkpoint.name && h("span", { class: "mark" }, checkpoint.name),
        checkpoint.is_head && h("span", { class: "mark finished" }, "now"),
        h("span", { class: "quiet-text" }, `${checkpoint.seq ? `after cell ${checkpoint.seq}` : "before the first cell"}, ${bytes(checkpoint.bytes)}`),
        cell?.finished && h("span", { class: "quiet-text" }, when(cell.finished.at)),
        mayRun && h("span", { class: "actions" },
          !checkpoint.is_head && h("button", { type: "button", "data-key": `back-${checkpoint.id}`, "aria-label": `Roll back to ${checkpoint.id}`, click: (event) => rollBack(event.target, checkpoint) }, "Roll back"),
          h("button", { type: "button", "data-key": `fork-${checkpoint.id}`, "aria-label": `Fork from ${checkpoint.id}`, click: (event) => fork(event.target, checkpoint) }, "Fork"))),
      code && h("pre", { class: "code small" }, code),
      h("details", {}, h("summary", {}, counted(checkpoint.names.length, "variable")),
        h("p", {}, h("code", {}, checkpoint.names.slice(0, MOST_NAMES).join(", ") || "none"),
          checkpoint.names.length > MOST_NAMES ? ` and ${checkpoint.names.length - MOST_NAMES} more` : "")),
      lost.length ? h("p", { class: "note warning" }, `Not saved: ${lost.map(([name, reason]) => `${name} (${reason})`).join(", ")}`) : null);
  }

  async function refresh() {
    try {
      const { checkpoints } = await get(ofSession(id, "/checkpoints"));
      const newest = checkpoints.slice(-MOST).reverse();
      replace(body, newest.length ? h("ol", { class: "timeline", reversed: true }, newest.map(entry))
        : emptyState("No checkpoints yet: one is saved after each cell that changes something."),
      checkpoints.length > MOST ? h("p", { class: "note" }, `The latest ${MOST} of ${checkpoints.length}.`) : null);
    } catch (error) {
      replace(body, problemBox(error));
    }
  }

  return {
    element: h("section", { "aria-label": "Checkpoints" },
      h("div", { class: "part-row" }, h("h2", {}, "Checkpoints"), h("button", { type: "button", click: refresh }, "Refresh")), body),
    refresh,
  };
}
