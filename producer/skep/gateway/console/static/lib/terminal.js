// Text as a terminal shows it: colours, and what overwrites: \r, \b and movements of the cursor, as progress bars use.

const MOST_LINES = 2000;
const MOST_COLUMNS = 4000;
const MOST_CHARACTERS = 500_000;
const SEQUENCE = /\x1b\[([0-9;:?]*)[ -/]*([@-~])|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[@-Z\\-_]|[\x00-\x1f\x7f]|[^\x00-\x1f\x7f]+/g;
const PLAIN = Object.freeze({ names: "", color: null, background: null });

/** Lines of styled text, of which the last ones are kept: MOST_LINES, and MOST_CHARACTERS. Lines are numbered from the first one ever. */
export class TerminalText {
  constructor() {
    this.lines = [newLine()];
    this.first = 0; // the number of lines[0]
    this.dirty = 0; // the number of the first line that has changed since `rendered()`
    this.size = 0; // characters in all lines
    this.row = 0;
    this.column = 0;
    this.rest = ""; // the beginning of a sequence whose end has not come
    this.style = new Style();
  }

  get end() { return this.first + this.lines.length; }

  get isEmpty() { return this.lines.length === 1 && this.lines[0].characters.length === 0; }

  write(text, base = "") {
    text = this.rest + text;
    const open = text.lastIndexOf("\x1b");
    this.rest = "";
    if (open >= 0 && open > text.length - 64 && !/^\x1b(\[[0-9;:?]*[ -/]*[@-~]|[@-Z\\-_])/.test(text.slice(open))) {
      this.rest = text.slice(open);
      text = text.slice(0, open);
    }
    let look = this.style.look(base);
    for (const [whole, parameters, final] of text.matchAll(SEQUENCE)) {
      if (final === "m") { this.style.apply(parameters); look = this.style.look(base); }
      else if (final) this.move(final, Number.parseInt(parameters, 10) || 0);
      else if (whole === "\n") { this.column = 0; this.down(1, true); }
      else if (whole === "\r") this.column = 0;
      else if (whole === "\b") this.column = Math.max(0, this.column - 1);
      else if (whole === "\t") this.put(" ".repeat(8 - (this.column % 8)), look);
      else if (whole >= " " && whole !== "\x7f") this.put(whole, look);
    }
  }

  put(text, look) {
    for (const character of text) {
      if (this.column >= MOST_COLUMNS) { this.column = 0; this.down(1, true); }
      const line = this.lines[this.row];
      this.size += Math.max(0, this.column + 1 - line.characters.length);
      while (line.characters.length < this.column) { line.characters.push(" "); line.looks.push(PLAIN); }
      line.characters[this.column] = character;
      line.looks[this.column] = look;
      this.column += 1;
    }
    this.touch();
  }

  move(final, amount) {
    const by = Math.max(1, amount);
    if (final === "A") this.row = Math.max(0, this.row - by);
    else if (final === "B") this.down(Math.min(by, this.lines.length - 1 - this.row), false);
    else if (final === "C") this.column = Math.min(MOST_COLUMNS - 1, this.column + by);
    else if (final === "D") this.column = Math.max(0, this.column - by);
    else if (final === "G") this.column = Math.min(MOST_COLUMNS, by) - 1;
    else if (final === "K") this.erase(amount);
    else if (final === "J" && amount === 0) {
      this.erase(0);
      for (const line of this.lines.splice(this.row + 1)) this.size -= line.characters.length;
      this.touch();
    }
  }

  erase(part) {
    const line = this.lines[this.row];
    const before = line.characters.length;
    if (part === 0) { line.characters.length = Math.min(line.characters.length, this.column); line.looks.length = line.characters.length; }
    else if (part === 2) { line.characters.length = 0; line.looks.length = 0; }
    else for (let place = 0; place <= this.column && place < line.characters.length; place += 1) line.characters[place] = " ";
    this.size += line.characters.length - before;
    this.touch();
  }

  down(amount, adds) {
    for (let step = 0; step < amount; step += 1) {
      this.row += 1;
      if (this.row === this.lines.length && adds) this.lines.push(newLine());
    }
    this.row = Math.min(this.row, this.lines.length - 1);
    if (this.lines.length > MOST_LINES + 200) this.drop(this.lines.length - MOST_LINES); // many at once: all others move
    if (this.size > MOST_CHARACTERS) {
      let surplus = 0;
      for (let left = this.size; left > MOST_CHARACTERS * 0.8 && surplus < this.row; surplus += 1) left -= this.lines[surplus].characters.length;
      this.drop(surplus);
    }
    this.touch();
  }

  /** Remove the first lines. */
  drop(amount) {
    for (const line of this.lines.splice(0, amount)) this.size -= line.characters.length;
    this.first += amount;
    this.row = Math.max(0, this.row - amount);
  }

  touch() { this.dirty = Math.min(this.dirty, this.first + this.row); }

  /** Return the runs of a line with one look each: {text, look}. */
  runs(number) {
    const { characters, looks } = this.lines[number - this.first];
    const found = [];
    for (let place = 0; place < characters.length; place += 1) {
      const last = found.at(-1);
      if (last && last.look === looks[place]) last.text += characters[place];
      else found.push({ text: characters[place], look: looks[place] });
    }
    return found;
  }

  rendered() { this.dirty = this.end; }
}

const newLine = () => ({ characters: [], looks: [] });

/** What "select graphic rendition" has set. Equal looks are one object. */
class Style {
  constructor() {
    this.reset();
    this.looks = new Map();
  }

  reset() { this.flags = new Set(); this.color = null; this.background = null; }

  apply(parameters) {
    const codes = parameters === "" ? [0] : parameters.split(/[;:]/).map(Number);
    while (codes.length) {
      const code = codes.shift();
      if (code === 0) this.reset();
      else if (FLAGS[code]) this.flags.add(FLAGS[code]);
      else if (code === 22) { this.flags.delete("bold"); this.flags.delete("faint"); }
      else if (code === 23) this.flags.delete("italic");
      else if (code === 24) this.flags.delete("underlined");
      else if (code === 27) this.flags.delete("inverse");
      else if (code === 29) this.flags.delete("struck");
      else if (code >= 30 && code <= 37) this.color = code - 30;
      else if (code >= 90 && code <= 97) this.color = code - 82;
      else if (code === 39) this.color = null;
      else if (code >= 40 && code <= 47) this.background = code - 40;
      else if (code >= 100 && code <= 107) this.background = code - 92;
      else if (code === 49) this.background = null;
      else if (code === 38) this.color = extended(codes);
      else if (code === 48) this.background = extended(codes);
    }
  }

  look(base) {
    const names = [...this.flags, base];
    if (typeof this.color === "number") names.push(`fg${this.color}`);
    if (typeof this.background === "number") names.push(`bg${this.background}`);
    const own = {
      names: names.filter(Boolean).join(" "),
      color: typeof this.color === "string" ? this.color : null,
      background: typeof this.background === "string" ? this.background : null,
    };
    if (!own.names && !own.color && !own.background) return PLAIN;
    const key = `${own.names}|${own.color}|${own.background}`;
    if (!this.looks.has(key)) {
      if (this.looks.size > 1000) this.looks.clear();
      this.looks.set(key, own);
    }
    return this.looks.get(key);
  }
}

const FLAGS = { 1: "bold", 2: "faint", 3: "italic", 4: "underlined", 7: "inverse", 9: "struck" };

/** Return the colour of 38;5;n or 38;2;r;g;b, and remove its numbers. */
function extended(codes) {
  const kind = codes.shift();
  const byte = (value) => Math.min(255, Math.max(0, value || 0));
  if (kind === 2) return `rgb(${codes.splice(0, 3).map(byte).join(" ")})`;
  if (kind !== 5) return null;
  const number = byte(codes.shift());
  if (number < 16) return number;
  if (number >= 232) return `rgb(${Array(3).fill(8 + (number - 232) * 10).join(" ")})`;
  const level = (value) => (value ? 55 + value * 40 : 0);
  const rest = number - 16;
  return `rgb(${[Math.floor(rest / 36), Math.floor(rest / 6) % 6, rest % 6].map(level).join(" ")})`;
}

/** Keeps an element equal to a TerminalText: `update()` changes only the lines that have changed. */
export class TerminalView {
  constructor(terminal) {
    this.terminal = terminal;
    this.dropped = Object.assign(document.createElement("div"), { className: "dropped", hidden: true });
    this.body = document.createElement("div");
    this.element = document.createElement("div");
    this.element.className = "text";
    this.element.append(this.dropped, this.body);
    this.first = terminal.first;
    terminal.dirty = terminal.first;
    this.update();
  }

  update() {
    const { terminal, body } = this;
    for (; this.first < terminal.first && body.firstChild; this.first += 1) body.firstChild.remove();
    this.first = terminal.first;
    const from = Math.max(terminal.dirty, terminal.first);
    while (body.childNodes.length > from - terminal.first) body.lastChild.remove();
    const added = [];
    for (let number = from; number < terminal.end; number += 1) added.push(lineElement(terminal.runs(number)));
    body.append(...added);
    // The empty line after a final \n is the cursor's, and not part of the text.
    body.lastChild?.toggleAttribute("hidden", body.childNodes.length > 1 && !body.lastChild.hasChildNodes());
    this.dropped.hidden = terminal.first === 0;
    if (terminal.first) this.dropped.textContent = `${terminal.first.toLocaleString("en")} earlier lines are not shown`;
    terminal.rendered();
  }
}

function lineElement(runs) {
  const line = document.createElement("div");
  for (const { text, look } of runs) {
    if (look === PLAIN) { line.append(text); continue; }
    const span = document.createElement("span");
    span.className = look.names;
    if (look.color) span.style.color = look.color;
    if (look.background) span.style.backgroundColor = look.background;
    span.append(text);
    line.append(span);
  }
  return line;
}
