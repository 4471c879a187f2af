// Makes elements. Text is always set as text, never as HTML: the page's policy forbids the other way too.

/** Return an element. `attributes`: names to values; a function is a listener, true an empty attribute, null none. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(name, value);
    else if (name === "class") element.className = value;
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

/** Return an element of an SVG picture. */
export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Return a table in a box that scrolls sideways. `columns`: {label, numeric?, hidden?}; `rows`: lists of cells. */
export function table(caption, columns, rows) {
  const kind = (index) => (columns[index].numeric ? "number" : null);
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `Table: ${caption}` },
    h("table", {},
      h("caption", { class: "hidden-text" }, caption),
      h("thead", {}, h("tr", {}, columns.map((column, index) => h("th", { scope: "col", class: kind(index) },
        column.hidden ? h("span", { class: "hidden-text" }, column.label) : column.label)))),
      h("tbody", {}, rows.map((row) => h("tr", {}, row.map((cell, index) => index === 0
        ? h("th", { scope: "row" }, cell) : h("td", { class: kind(index) }, cell)))))));
}

/** Replace an element's children, and keep the focus on the element with the same `data-key`, if it had it. */
export function replace(element, ...children) {
  const key = element.contains(document.activeElement) ? document.activeElement.dataset.key : null;
  const scrolled = [...element.querySelectorAll(".scroll")].map((box) => box.scrollLeft);
  element.replaceChildren(...children.flat().filter(Boolean));
  [...element.querySelectorAll(".scroll")].forEach((box, index) => { box.scrollLeft = scrolled[index] ?? 0; });
  if (key) element.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus();
}
