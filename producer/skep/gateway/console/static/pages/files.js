// A session's files: list, download, upload, remove.

import { bytes } from "../lib/format.js";
import { heldToken, get, ofSession, remove, send, url } from "../lib/api.js";
import { h, replace, table } from "../lib/dom.js";
import { act, announce, problemBox } from "../lib/notices.js";
import { ask } from "../lib/dialog.js";
import { emptyState, when } from "./listings.js";

const MOST = 1000;

const pathOf = (id, path) => ofSession(id, `/files/${path.split("/").map(encodeURIComponent).join("/")}`);

/** Return the part: {element, refresh()}. */
export function filesPart(id, mayRun) {
  const body = h("div", {}, h("p", { class: "quiet-text" }, "Loading …"));
  const chosen = h("input", { id: "upload", type: "file", multiple: true });
  const button = h("button", { type: "submit" }, "Upload");
  const uploading = h("form", { class: "inline", submit: (event) => { event.preventDefault(); upload(); } },
    h("label", { for: "upload" }, "Upload files"), chosen, button);

  async function upload() {
    if (!chosen.files.length) { chosen.focus(); return; }
    const isDone = await act(button, async () => {
      for (const file of chosen.files) await send("PUT", pathOf(id, file.name), { body: file });
    });
    if (isDone) { announce("Uploaded"); chosen.value = ""; }
    await refresh();
  }

  async function download(event, path) {
    const token = heldToken();
    if (token === null) return; // the cookie goes with the link
    event.preventDefault();
    const link = event.currentTarget;
    await act(link, async () => {
      const address = URL.createObjectURL(await (await send("GET", pathOf(id, path))).blob());
      h("a", { href: address, download: path.split("/").at(-1) }).click();
      setTimeout(() => URL.revokeObjectURL(address), 60_000);
    });
  }

  async function erase(button, path) {
    if (!await ask({ title: `Remove ${path}?`, text: "Earlier checkpoints still have it.", action: "Remove", isDangerous: true })) return;
    if (await act(button, () => remove(pathOf(id, path)))) announce(`Removed ${path}`);
    await refresh();
  }

  async function refresh() {
    try {
      const { files } = await get(ofSession(id, "/files"));
      replace(body, files.length
        ? table("Files", [{ label: "Path" }, { label: "Size", numeric: true }, { label: "Changed" }, { label: "Actions", hidden: true }],
          files.slice(0, MOST).map((file) => [
            h("a", { href: url(pathOf(id, file.path)), download: file.path.split("/").at(-1), click: (event) => download(event, file.path) }, file.path),
            bytes(file.bytes), when(file.modified_at),
            mayRun ? h("button", { type: "button", class: "quiet", "aria-label": `Remove ${file.path}`, click: (event) => erase(event.target, file.path) }, "Remove") : ""]))
        : emptyState("No files: what cells write into their working directory is here."),
      files.length > MOST ? h("p", { class: "note" }, `The first ${MOST} of ${files.length}.`) : null);
    } catch (error) {
      replace(body, problemBox(error));
    }
  }

  return {
    element: h("section", { "aria-label": "Files" },
      h("div", { class: "part-row" }, h("h2", {}, "Files"), h("button", { type: "button", click: refresh }, "Refresh")), mayRun ? uploading : null, body),
    refresh,
  };
}
