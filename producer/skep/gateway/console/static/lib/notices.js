// What the page tells: problems in a box that alerts, and what happened in a live region for screen readers.

import { h } from "./dom.js";

const MOST_NOTICES = 3;

/** Announce a sentence to screen readers. */
export function announce(sentence) {
  document.getElementById("announcer").textContent = sentence;
}

/** Return the box of a problem: its detail, and what to do. */
export function problemBox(problem, onDismiss = null) {
  return h("div", { class: "problem", role: "alert" },
    h("div", {}, h("strong", {}, problem.message), problem.remedy ? h("p", {}, problem.remedy) : null),
    onDismiss && h("button", { type: "button", class: "quiet", click: onDismiss }, "Dismiss"));
}

/** Show a problem above the page until it is dismissed, or the page is left. Cancelled calls are none. */
export function showProblem(error) {
  if (error.name === "AbortError" || error.status === 401) return;
  const notices = document.getElementById("notices");
  const box = problemBox(error, () => { box.remove(); document.getElementById("main").focus(); });
  for (const old of notices.children) if (old.textContent === box.textContent) old.remove();
  while (notices.children.length >= MOST_NOTICES) notices.firstChild.remove();
  notices.append(box);
}

export function clearNotices() {
  document.getElementById("notices").replaceChildren();
}

/** Run an action of a button: it is disabled meanwhile, and a problem is shown. Returns whether it succeeded. */
export async function act(button, action) {
  button.disabled = true;
  try {
    await action();
    return true;
  } catch (error) {
    showProblem(error);
    return false;
  } finally {
    button.disabled = false;
  }
}
