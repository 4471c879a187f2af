// Asks before something is done that can't be undone, and for what it needs.

import { h } from "./dom.js";

let last = 0;

/** Ask, and return an object with the fields' values; null if it was cancelled.
 * fields: {name, label, value?, type?, hint?}; type "checkbox" gives true or false. */
export function ask({ title, text, action, fields = [], isDangerous = false }) {
  return new Promise((resolve) => {
    last += 1;
    const titleId = `dialog-${last}`;
    const inputs = fields.map((field) => h("input", {
      id: `${titleId}-${field.name}`, type: field.type ?? "text", required: field.type !== "checkbox",
      value: field.value ?? "", autocomplete: "off", spellcheck: "false",
    }));
    const rows = fields.map((field, index) => h("p", { class: field.type === "checkbox" ? "check" : "field" },
      h("label", { for: inputs[index].id }, field.label), inputs[index]));
    const form = h("form", { submit: (event) => { event.preventDefault(); finish(values()); } },
      h("h2", { id: titleId }, title), text && h("p", {}, text), ...rows,
      h("div", { class: "buttons" },
        h("button", { type: "button", click: () => finish(null) }, "Cancel"),
        h("button", { type: "submit", class: isDangerous ? "danger" : "primary" }, action)));
    const dialog = h("dialog", { "aria-labelledby": titleId, cancel: (event) => { event.preventDefault(); finish(null); } }, form);
    const values = () => Object.fromEntries(fields.map((field, index) => [
      field.name, field.type === "checkbox" ? inputs[index].checked : inputs[index].value.trim()]));
    const before = document.activeElement;
    function finish(result) {
      dialog.close();
      dialog.remove();
      before?.focus();
      resolve(result);
    }
    document.body.append(dialog);
    dialog.showModal();
  });
}
