// Folds a session's events into what a notebook shows: cells with their outputs, and notes about the session between them.
// Memory is bounded: the oldest cells go when there are too many, or when what they show is too large.

import { TerminalText } from "../lib/terminal.js";

const MOST_ITEMS = 300;
const MOST_OUTPUTS = 200; // of a cell
const MOST_SIZE = 48_000_000; // of all cells: characters of bundles; those of terminals weigh more
const TERMINAL_WEIGHT = 8; // each character has a place of its own, and a look
const MOST_DISPLAY_IDS = 2000;

const ENDED_WORK = ["tasks", "threads", "children", "connections"];

/** What the notebook shows, in order. `items`: cells and notes; `onChange(item)` is called after each change of one. */
export class Notebook {
  constructor({ onAdd, onChange, onDrop, onReset }) {
    Object.assign(this, { onAdd, onChange, onDrop, onReset });
    this.items = [];
    this.cells = new Map();
    this.displays = new Map();
    this.size = 0;
    this.last = 0; // the number of the last event
  }

  apply(event) {
    this.last = Math.max(this.last, Number.parseInt(event.id, 10));
    if (event.kind === "events.reset") { this.onReset(event); return; }
    if (event.cell_id === null || NOTES[event.kind]) {
      const text = NOTES[event.kind]?.(event);
      if (text) this.add({ type: "note", id: event.id, text, at: event.at, isWarning: WARNING_NOTES.has(event.kind) });
      return;
    }
    const cell = this.cells.get(event.cell_id) ?? this.addCell(event);
    this.applyToCell(cell, event);
    if (this.cells.get(cell.id) === cell) this.onChange(cell, event); // unless it has just become too large
  }

  addCell(event) {
    const cell = {
      type: "cell", id: event.cell_id, seq: event.seq, code: null, status: "queued", at: event.at, attempt: 1, outputs: [],
      dropped: 0, size: 0, input: null, clears: false, finished: null, checkpoint: null,
    };
    this.cells.set(cell.id, cell);
    this.add(cell);
    return cell;
  }

  add(item) {
    this.items.push(item);
    this.onAdd(item);
    this.trim();
  }

  /** Drop the oldest items that are too many. A running cell is the last one, so it is never the one that goes. */
  trim() {
    while (this.items.length > MOST_ITEMS || (this.size > MOST_SIZE && this.items.length > 1)) this.dropFirst();
  }

  dropFirst() {
    const item = this.items.shift();
    if (item.type === "cell") { this.clear(item); this.cells.delete(item.id); }
    this.onDrop(item);
  }

  applyToCell(cell, event) {
    switch (event.kind) {
      case "cell.queued":
        cell.code = event.code; cell.status = "queued"; cell.at = event.at;
        break;
      case "cell.started":
        cell.status = "running"; cell.attempt = event.attempt ?? 1; cell.startedAt = event.at;
        break;
      case "cell.retried":
        this.clear(cell);
        cell.input = null;
        this.addOutput(cell, { type: "note", text: `Runs again: ${event.reason}` });
        break;
      case "output":
        this.write(cell, event.text, event.stream === "stderr" ? "stderr" : "");
        break;
      case "output.truncated":
        this.addOutput(cell, { type: "note", text: `The output has reached its limit of ${event.limit_bytes} bytes; the rest was dropped.` });
        break;
      case "output.cleared":
        if (event.waits) cell.clears = true;
        else this.clear(cell);
        break;
      case "display":
        this.display(cell, event);
        break;
      case "result":
        this.addOutput(cell, { type: "result", bundle: event.bundle, version: 0 });
        break;
      case "error":
        this.addOutput(cell, { type: "error", text: event.traceback || `${event.ename}: ${event.evalue}`, name: event.ename, value: event.evalue });
        break;
      case "warning":
        this.addOutput(cell, { type: "note", text: `${event.category}: ${event.message}`, isWarning: true });
        break;
      case "input.requested":
        cell.input = { request: event.request, prompt: event.prompt, isPassword: event.is_password };
        break;
      case "input.answered":
        this.write(cell, `${cell.input?.prompt ?? ""}${event.text ?? (cell.input?.isPassword ? "••••••" : "")}\n`, "");
        cell.input = null;
        break;
      case "cell.finished":
        cell.status = event.status; cell.finished = event; cell.checkpoint = event.checkpoint; cell.input = null;
        if (event.unsaved) this.addOutput(cell, { type: "note", text: `No checkpoint: ${event.unsaved}`, isWarning: true });
        if (event.stopped_by) this.addOutput(cell, { type: "note", text: `Cancelled because cell ${event.stopped_by} failed.` });
        break;
    }
  }

  write(cell, text, base) {
    this.clearIfDue(cell);
    let last = cell.outputs.at(-1);
    if (last?.type !== "text") last = this.addOutput(cell, { type: "text", terminal: new TerminalText() });
    const before = last.terminal.size;
    last.terminal.write(text, base);
    this.resize(cell, (last.terminal.size - before) * TERMINAL_WEIGHT);
    this.trim();
  }

  display(cell, event) {
    if (event.updates) {
      for (const output of this.displays.get(event.display_id) ?? []) {
        const before = sizeOf(output);
        output.bundle = event.bundle;
        this.resize(output.cell, sizeOf(output) - before);
        output.version += 1;
        this.onChange(output.cell, event);
      }
      return;
    }
    const output = this.addOutput(cell, { type: "display", bundle: event.bundle, version: 0, cell, displayId: event.display_id });
    if (event.display_id !== null) {
      if (this.displays.size >= MOST_DISPLAY_IDS) this.displays.delete(this.displays.keys().next().value);
      const same = this.displays.get(event.display_id) ?? new Set();
      this.displays.set(event.display_id, same.add(output));
    }
  }

  addOutput(cell, output) {
    this.clearIfDue(cell);
    cell.outputs.push(output);
    this.resize(cell, sizeOf(output));
    if (cell.outputs.length > MOST_OUTPUTS) {
      this.forget(cell, cell.outputs.shift());
      cell.dropped += 1;
    }
    this.trim();
    return output;
  }

  clearIfDue(cell) {
    if (cell.clears) this.clear(cell);
  }

  clear(cell) {
    cell.clears = false;
    for (const output of cell.outputs) this.forget(cell, output);
    cell.outputs = [];
    cell.dropped = 0;
  }

  /** Account for an output that is no longer shown; updates of its display don't reach it any more. */
  forget(cell, output) {
    this.resize(cell, -sizeOf(output));
    const same = this.displays.get(output.displayId);
    same?.delete(output);
    if (same?.size === 0) this.displays.delete(output.displayId);
  }

  resize(cell, by) {
    cell.size += by;
    this.size += by;
  }
}

function sizeOf(output) {
  if (output.terminal) return output.terminal.size * TERMINAL_WEIGHT;
  return Object.values(output.bundle ?? {}).reduce((sum, value) => sum + (typeof value === "string" ? value.length : 1000), 0);
}

const WARNING_NOTES = new Set(["checkpoint.partial", "checkpoint.failed", "events.trimmed"]);

const listed = (names) => Object.entries(names).map(([name, reason]) => `${name} (${reason})`).join(", ");

function ended(event) {
  const parts = ENDED_WORK.filter((kind) => event[kind]?.length).map((kind) => `${kind}: ${event[kind].join(", ")}`);
  return parts.length ? ` Ended with it: ${parts.join("; ")}.` : "";
}

/** Sentences for events that are about the session, and not part of a cell's output; null for none. */
const NOTES = {
  "session.started": (event) => `Started on worker ${event.worker_id}, Python ${event.python}.`,
  "session.restored": (event) => `Restored from checkpoint ${event.checkpoint} on worker ${event.worker_id}.`
    + (Object.keys(event.lost).length ? ` Not restored: ${listed(event.lost)}.` : ""),
  "session.moved": (event) => `Moved from worker ${event.from_worker_id} to ${event.worker_id}: ${event.reason}.`,
  "session.hibernated": (event) => `Its process ended (${event.reason}); the next cell restores it.${ended(event)}`,
  "session.rolled_back": (event) => `Rolled back from checkpoint ${event.from_checkpoint} to ${event.checkpoint}.${ended(event)}`,
  "session.closed": (event) => `The session is closed.${ended(event)}`,
  "checkpoint.partial": (event) => (Object.keys(event.lost).length
    ? `Not in checkpoint ${event.checkpoint}: ${listed(event.lost)}.` : `Everything is in checkpoint ${event.checkpoint} again.`),
  "checkpoint.failed": (event) => `No checkpoint after cell ${event.after}: ${event.reason}.`,
  "checkpoint.saved": () => null,
  "events.trimmed": (event) => `The events before ${event.floor} are gone: retention has removed them.`,
};
