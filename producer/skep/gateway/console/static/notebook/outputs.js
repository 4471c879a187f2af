// Shows one output of a cell. Nothing of it is ever HTML of this page: HTML goes into a frame with an origin of its own.

import { h } from "../lib/dom.js";
import { url } from "../lib/api.js";
import { TerminalText, TerminalView } from "../lib/terminal.js";

const FRAME = "console/static/frame/frame.html";
const FRAME_PIXELS = [24, 600];
const MOST_PLAIN = 200_000; // characters of a value that are shown
const PICTURES = ["image/png", "image/jpeg", "image/gif", "image/webp"];

/** Return a view: {element, update()}. */
export function outputView(output) {
  switch (output.type) {
    case "text": return new TerminalView(output.terminal);
    case "error": return errorView(output);
    case "note": return fixed(h("p", { class: output.isWarning ? "note warning" : "note" }, output.text));
    default: return bundleView(output);
  }
}

const fixed = (element) => ({ element, update() {} });

function errorView(output) {
  const terminal = new TerminalText();
  terminal.write(output.text.slice(0, MOST_PLAIN));
  const view = new TerminalView(terminal);
  return fixed(h("div", { class: "fault", role: "group", "aria-label": `Error: ${output.name}` }, view.element));
}

function bundleView(output) {
  const element = h("div", { class: output.type === "result" ? "bundle result" : "bundle" });
  let shown = -1;
  const view = {
    element,
    update() {
      if (shown === output.version) return;
      shown = output.version;
      element.replaceChildren(representation(output.bundle));
    },
  };
  view.update();
  return view;
}

/** Return the element for the richest representation that the page can show. */
function representation(bundle) {
  const picture = PICTURES.find((type) => typeof bundle[type] === "string");
  const description = String(bundle["text/plain"] ?? "Picture").slice(0, 300);
  // The text of a picture is often all that a screen reader has of it.
  if (picture) {
    const data = standardBase64(bundle[picture]);
    return /^[A-Za-z0-9+/]+=*$/.test(data) ? pictureElement(`data:${picture};base64,${data}`, description)
      : h("p", { class: "note warning" }, `This ${picture} is damaged: it is not base64.`);
  }
  if (typeof bundle["text/html"] === "string") return frameElement(bundle["text/html"], description);
  if (typeof bundle["image/svg+xml"] === "string") {
    return pictureElement(`data:image/svg+xml;charset=utf-8,${encodeURIComponent(bundle["image/svg+xml"])}`, description);
  }
  if (bundle["application/json"] !== undefined && bundle["text/plain"] === undefined) {
    return plain(JSON.stringify(bundle["application/json"], null, 2));
  }
  const text = bundle["text/plain"] ?? bundle["text/markdown"] ?? bundle["text/latex"];
  return text === undefined
    ? h("p", { class: "note" }, `Only in types that are not shown here: ${Object.keys(bundle).join(", ")}`)
    : plain(String(text));
}

const standardBase64 = (text) => text.replace(/[\r\n]/g, "").replaceAll("-", "+").replaceAll("_", "/");

const pictureElement = (source, description) => h("img", { src: source, alt: description, loading: "lazy", decoding: "async" });

function plain(text) {
  const terminal = new TerminalText();
  terminal.write(text.slice(0, MOST_PLAIN));
  const { element } = new TerminalView(terminal);
  return text.length > MOST_PLAIN
    ? h("div", {}, element, h("p", { class: "note" }, `Only the first ${MOST_PLAIN} of ${text.length} characters are shown.`))
    : element;
}

/** Return a frame for HTML of a cell. It has an origin of its own; all that is believed of it is a height. */
function frameElement(html, description) {
  const frame = h("iframe", {
    sandbox: "allow-scripts", src: url(FRAME), title: `HTML output: ${description.slice(0, 80)}`, loading: "eager",
    referrerpolicy: "no-referrer",
  });
  frame.addEventListener("load", () => frame.contentWindow?.postMessage({ html }, "*")); // its origin has no name
  heights.set(frame, (height) => {
    frame.style.height = `${Math.min(FRAME_PIXELS[1], Math.max(FRAME_PIXELS[0], height))}px`;
  });
  return frame;
}

const heights = new WeakMap();

addEventListener("message", (event) => {
  const height = event.data?.height;
  if (typeof height !== "number" || !Number.isFinite(height)) return;
  for (const frame of document.querySelectorAll("iframe")) {
    if (frame.contentWindow === event.source) heights.get(frame)?.(height);
  }
});
