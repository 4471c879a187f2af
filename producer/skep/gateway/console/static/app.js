// The start of the page: logs in, and shows the page that the address names.

import { get, heldToken, holdToken, remove, whenUnauthorized } from "./lib/api.js";
import { clearNotices, showProblem } from "./lib/notices.js";
import { h } from "./lib/dom.js";
import { loginPage } from "./pages/login.js";
import { overviewPage } from "./pages/overview.js";
import { sessionPage } from "./pages/session.js";
import { sessionsPage } from "./pages/sessions.js";
import { usagePage } from "./pages/usage.js";
import { workersPage } from "./pages/workers.js";

const main = document.getElementById("main");
const nav = document.getElementById("nav");
const logout = document.getElementById("logout");
let access = null;
let current = null;

/** Return the page for an address: the part after #. */
function pageOf(address) {
  const [path, query = ""] = address.split("?");
  const [name = "", id, part = "notebook"] = path.split("/").filter(Boolean).map(decodeURIComponent);
  if (name === "") return overviewPage();
  if (name === "workers") return workersPage();
  if (name === "usage") return usagePage();
  if (name === "sessions" && id !== undefined) {
    if (current?.key === `session ${id}`) { current.show(part); return current; }
    return sessionPage(id, part, access.can);
  }
  if (name === "sessions") {
    return sessionsPage(new URLSearchParams(query), (wanted) => { location.hash = `#/sessions?${wanted}`; }, access.can.includes("run"));
  }
  return {
    title: "Not found", start() {}, stop() {},
    element: h("div", {}, h("h1", { tabindex: "-1" }, "Not found"), h("p", {}, "There is no such page. ", h("a", { href: "#/" }, "Overview"))),
  };
}

function show(page, takesFocus = true) {
  document.title = `${page.title} · skep`;
  const [, name = ""] = location.hash.split(/[/?]/);
  for (const link of nav.children) {
    const isCurrent = access !== null && link.hash === `#/${name}`;
    if (isCurrent) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (page === current) return;
  current?.stop();
  current = page;
  clearNotices();
  main.replaceChildren(page.element);
  scrollTo(0, 0);
  if (takesFocus) main.querySelector("h1")?.focus();
  page.start();
}

function route(takesFocus) {
  let address = "/";
  try {
    address = location.hash.slice(1) || "/";
    if (access !== null) show(pageOf(address), takesFocus);
  } catch (error) {
    if (!(error instanceof URIError)) throw error;
    location.hash = "#/";
  }
}

function enter(found) {
  access = found;
  nav.hidden = logout.hidden = false;
  route(true);
}

function leave(problem = null) {
  access = null;
  nav.hidden = logout.hidden = true;
  show(loginPage(enter, problem));
}

async function start() {
  try {
    enter(await get("console/access"));
  } catch (error) {
    leave(error.status === 401 && heldToken() === null ? null : error);
    holdToken(null);
  }
  whenUnauthorized((problem) => {
    if (access === null) return;
    holdToken(null);
    leave(problem);
  });
}

logout.addEventListener("click", async () => {
  try {
    await remove("console/access");
  } catch (error) {
    if (error.status !== 401) { showProblem(error); return; }
  }
  holdToken(null);
  leave();
});
document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault(); // its address would be taken for a page's
  main.focus();
});
addEventListener("hashchange", () => route(true));
start();
