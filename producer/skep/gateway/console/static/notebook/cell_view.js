// One cell on the page: its code, its outputs, and the form of a question that it asks.

import { duration } from "../lib/format.js";
import { h } from "../lib/dom.js";
import { announce } from "../lib/notices.js";
import { outputView } from "./outputs.js";

const WORDS = {
  queued: "waits", running: "runs", finished: "done", failed: "failed", interrupted: "interrupted", timed_out: "timed out",
  crashed: "crashed", lost: "lost", cancelled: "cancelled",
};

export const statusWord = (status) => WORDS[status] ?? status;

/** Return a mark of a status: a word, and a colour that adds to it. */
export const statusMark = (status) => h("span", { class: `mark ${status}` }, statusWord(status));

export class CellView {
  /** onAnswer(text or null): sends a line to the cell's input(). */
  constructor(cell, onAnswer) {
    this.cell = cell;
    this.onAnswer = onAnswer;
    this.views = new Map();
    this.code = h("pre", { class: "code", tabindex: "0", "aria-label": `Code of cell ${cell.seq ?? cell.id}` });
    this.state = h("div", { class: "cell-state" });
    this.outputs = h("div", { class: "outputs" });
    this.question = h("div", {});
    this.element = h("li", { class: "cell", id: `cell-${cell.id}`, "aria-label": `Cell ${cell.seq ?? cell.id}` },
      h("div", { class: "gutter" }, cell.seq ?? "–"), h("div", { class: "cell-body" }, this.code, this.outputs, this.question, this.state));
    this.update();
  }

  update() {
    const { cell } = this;
    const code = cell.code ?? "# The beginning of this cell is further back.";
    if (this.code.textContent !== code) this.code.textContent = code;
    if (this.element.dataset.status !== cell.status) this.element.dataset.status = cell.status;
    this.updateOutputs();
    this.updateQuestion();
    this.updateState();
  }

  updateOutputs() {
    const { outputs, dropped } = this.cell;
    const wanted = new Set(outputs);
    for (const [output, view] of this.views) if (!wanted.has(output)) { view.element.remove(); this.views.delete(output); }
    let added = [];
    for (const output of outputs) {
      const view = this.views.get(output);
      if (view) view.update();
      else {
        const made = outputView(output);
        this.views.set(output, made);
        added.push(made.element);
      }
    }
    this.outputs.append(...added);
    const note = dropped ? `${dropped} earlier outputs of this cell are not shown.` : "";
    if ((this.note?.textContent ?? "") !== note) {
      this.note?.remove();
      this.note = note ? h("p", { class: "note" }, note) : null;
      if (this.note) this.outputs.prepend(this.note);
    }
  }

  updateQuestion() {
    const { input } = this.cell;
    const request = input ? String(input.request) : "";
    if ((this.question.dataset.request ?? "") === request) return;
    this.question.dataset.request = request;
    if (!input) { this.question.replaceChildren(); return; }
    const id = `answer-${this.cell.id}`;
    const field = h("input", { id, type: input.isPassword ? "password" : "text", autocomplete: "off", spellcheck: "false" });
    this.question.replaceChildren(h("form", {
      class: "question", submit: (event) => { event.preventDefault(); this.onAnswer(field.value, event.submitter); },
    }, h("label", { for: id }, input.prompt.trim() || "The cell waits for a line of input"), field,
    h("button", { type: "submit", class: "primary" }, "Answer"),
    h("button", { type: "button", click: (event) => this.onAnswer(null, event.target) }, "End of file")));
    this.field = field;
    this.isNewQuestion = true;
    announce(`Cell ${this.cell.seq ?? ""} asks: ${input.prompt.trim() || "a line of input"}`);
  }

  /** Move the focus to a question that has just come, unless the user is busy elsewhere. Returns whether it did. */
  focusQuestion() {
    if (!this.isNewQuestion || !this.field?.isConnected || this.cell.input === null) return false;
    const active = document.activeElement;
    if (active !== document.body && !(active.id === "code" && active.value === "")) return false;
    this.isNewQuestion = false;
    this.field.focus();
    return true;
  }

  updateState() {
    const { cell } = this;
    const { finished } = cell;
    const parts = [statusMark(cell.status)];
    if (finished) {
      parts.push(h("span", { title: "the code itself" }, duration(finished.run_ms)));
      if (finished.queued_ms >= 1000) parts.push(h("span", {}, `waited ${duration(finished.queued_ms)}`));
      if (cell.attempt > 1) parts.push(h("span", {}, `attempt ${cell.attempt}`));
      if (cell.checkpoint) parts.push(h("span", {}, `checkpoint ${cell.checkpoint}`));
    }
    const key = parts.map((part) => part.textContent).join("|");
    if (this.state.dataset.key === key) return;
    this.state.dataset.key = key;
    this.state.replaceChildren(...parts);
  }
}

/** Return the element of a note between cells. */
export function noteElement(note) {
  return h("li", { class: note.isWarning ? "session-note warning" : "session-note" }, note.text);
}
