// The page without a valid token: takes one that is pasted.

import { get, holdToken } from "../lib/api.js";
import { h } from "../lib/dom.js";
import { problemBox } from "../lib/notices.js";

/** Return the page. onDone(access): a token was accepted. */
export function loginPage(onDone, problem) {
  const token = h("input", { id: "token", type: "password", autocomplete: "off", spellcheck: "false", required: true });
  const button = h("button", { type: "submit", class: "primary" }, "Log in");
  const problems = h("div", {}, problem ? problemBox(problem) : null);
  const form = h("form", { submit: (event) => { event.preventDefault(); submit(); } },
    h("p", { class: "field" }, h("label", { for: "token" }, "Token"), token), button);
  async function submit() {
    button.disabled = true;
    holdToken(token.value.trim());
    try {
      onDone(await get("console/access"));
    } catch (error) {
      holdToken(null);
      problems.replaceChildren(problemBox(error));
      token.select();
    } finally {
      button.disabled = false;
    }
  }
  return {
    title: "Log in",
    element: h("div", { class: "narrow" }, h("h1", { tabindex: "-1" }, "Log in"), problems,
      h("p", {}, "Open the link that ", h("code", {}, "skep gateway"), " has printed, or paste a token. ",
        h("code", {}, "skep tokens create"), " makes one. It is kept in this tab only, until you close it."), form),
    start() { token.focus(); },
    stop() {},
  };
}
