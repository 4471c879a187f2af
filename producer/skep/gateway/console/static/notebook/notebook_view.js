// The list of cells on the page. Changes are collected, and shown at most some times a second, however many come.

import { announce } from "../lib/notices.js";
import { h } from "../lib/dom.js";
import { CellView, noteElement, statusWord } from "./cell_view.js";
import { Notebook } from "./fold.js";

const UPDATE_MS = 60;
const NEAR_END_PIXELS = 160;

export class NotebookView {
  /** onAnswer(text, button); onFinished(cell): a cell has ended; onReset(): the events that were read are void. */
  constructor({ onAnswer, onFinished, onReset, emptyText }) {
    this.onAnswer = onAnswer;
    this.onFinished = onFinished;
    this.views = new Map();
    this.changed = new Set();
    this.timer = null;
    this.isCatchingUp = true;
    this.list = h("ol", { class: "cells", "aria-label": "Cells" });
    this.empty = h("p", { class: "empty" }, emptyText);
    this.element = h("div", {}, this.empty, this.list);
    this.notebook = new Notebook({
      onAdd: (item) => this.later(item), onReset,
      onChange: (item, event) => { this.later(item); if (event.kind === "cell.finished") this.finished(item); },
      onDrop: (item) => { this.changed.delete(item); this.views.get(item)?.element.remove(); this.views.delete(item); },
    });
  }

  apply(events) {
    for (const event of events) this.notebook.apply(event);
  }

  /** The running cell, or the last one that waits for input; undefined if none runs. */
  get running() {
    return this.notebook.items.findLast((item) => item.type === "cell" && item.status === "running");
  }

  finished(cell) {
    if (this.isCatchingUp) return;
    const fault = cell.outputs.findLast((output) => output.type === "error");
    announce(`Cell ${cell.seq} ${statusWord(cell.status)}${fault ? `: ${fault.name}` : ""}`);
    this.onFinished(cell);
  }

  later(item) {
    this.changed.add(item);
    this.timer ??= setTimeout(() => this.update(), UPDATE_MS);
  }

  update() {
    this.timer = null;
    const isNearEnd = innerHeight + scrollY >= document.documentElement.scrollHeight - NEAR_END_PIXELS;
    const added = [];
    for (const item of this.changed) {
      const view = this.views.get(item);
      if (view) { view.update?.(); continue; }
      const made = item.type === "cell" ? new CellView(item, this.onAnswer) : { element: noteElement(item) };
      this.views.set(item, made);
      added.push(made.element);
    }
    this.changed.clear();
    this.list.append(...added);
    this.focusQuestion();
    this.empty.hidden = this.notebook.items.length > 0;
    if (isNearEnd && this.element.isConnected) scrollTo({ top: document.documentElement.scrollHeight });
  }

  /** Move the focus to the question of the running cell, if it is new. Returns whether it did. */
  focusQuestion() {
    const cell = this.running;
    return (cell?.input && this.views.get(cell)?.focusQuestion()) || false;
  }

  stop() {
    clearTimeout(this.timer);
    this.timer = 0; // later changes start none
  }
}
