// Shows the HTML of one output, in a document with an origin of its own. See page_policy.py for what separates it.
"use strict";
(() => {
  const shown = document.getElementById("shown");
  const report = () => {
    parent.postMessage({ height: Math.ceil(shown.getBoundingClientRect().height) }, "*");
  };
  new ResizeObserver(report).observe(shown);
  addEventListener("message", (event) => {
    if (event.source !== parent || typeof event.data?.html !== "string") return;
    const parsed = new DOMParser().parseFromString(event.data.html, "text/html");
    // None of these could run or load anything here: without them the browser does not report each as refused.
    for (const node of parsed.querySelectorAll("script, base, meta, link, object, embed, iframe")) node.remove();
    for (const node of parsed.querySelectorAll("*")) {
      for (const { name } of [...node.attributes]) if (name.startsWith("on")) node.removeAttribute(name);
    }
    shown.replaceChildren(...parsed.head.childNodes, ...parsed.body.childNodes);
    report();
  });
})();
