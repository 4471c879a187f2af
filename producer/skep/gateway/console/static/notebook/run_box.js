// The box to write a cell in and run it.

import { act } from "../lib/notices.js";
import { h } from "../lib/dom.js";
import { ofSession, post, Problem } from "../lib/api.js";

const MOST_ROWS = 14;

/** Return an id that no other cell has. crypto.randomUUID is missing on plain HTTP of other hosts. */
function newCellId() {
  return `console-${[...crypto.getRandomValues(new Uint8Array(9))].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

/** Return the form. */
export function runBox(sessionId, onSubmitted) {
  const code = h("textarea", {
    id: "code", rows: "2", spellcheck: "false", autocapitalize: "off", autocomplete: "off", "aria-describedby": "code-keys",
    input: grow,
    keydown: (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); form.requestSubmit(); }
    },
  });
  const run = h("button", { type: "submit", class: "primary" }, "Run");
  const form = h("form", { class: "run-box", submit: (event) => { event.preventDefault(); submit(); } },
    h("label", { for: "code" }, "New cell"), code,
    h("div", { class: "run-row" }, run, h("span", { id: "code-keys", class: "quiet-text" }, "Ctrl+Enter runs it")));

  function grow() {
    code.rows = Math.min(MOST_ROWS, Math.max(2, code.value.split("\n").length));
  }

  async function submit() {
    const text = code.value;
    if (!text.trim()) { code.focus(); return; }
    const body = { code: text, cell_id: newCellId() };
    const send = () => post(ofSession(sessionId, "/cells"), body);
    const isDone = await act(run, async () => {
      try {
        await send();
      } catch (error) {
        if (!(error instanceof Problem) || error.status !== 0) throw error;
        await send(); // the answer was lost on the way: the same id is the same cell
      }
    });
    if (isDone && code.value === text) { code.value = ""; grow(); }
    code.focus();
    if (isDone) onSubmitted();
  }

  return form;
}
