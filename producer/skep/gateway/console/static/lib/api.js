// Calls of the HTTP API, and its problem documents as errors.

const STORED = "skep.token";
const CSRF_HEADER = "X-Skep-CSRF";
const CALL_SECONDS = 70; // longer than any wait of the gateway

/** An error of the API: its problem document. status 0: the gateway was not reached. */
export class Problem extends Error {
  constructor(document) {
    super(document.detail || document.title || "The call failed.");
    this.status = document.status ?? 0;
    this.title = document.title ?? "";
    this.remedy = document.remedy ?? "";
  }
}

export const heldToken = () => sessionStorage.getItem(STORED);

/** Keep a pasted token for this tab, until it is closed; null forgets it. */
export function holdToken(token) {
  if (token === null) sessionStorage.removeItem(STORED);
  else sessionStorage.setItem(STORED, token);
}

export const url = (path) => new URL(path, document.baseURI).href;

/** Return the path of a session, and of what is below it. */
export const ofSession = (id, rest = "") => `v1/sessions/${encodeURIComponent(id)}${rest}`;

let csrf = ""; // comes with answers to a login, and shows with requests that change something that this page sends them

/** Return the headers by which a request is permitted: a pasted token, or what goes with the cookie of a login. */
export function authorization() {
  const token = heldToken();
  if (token !== null) return { Authorization: `Bearer ${token}` };
  return csrf ? { [CSRF_HEADER]: csrf } : {};
}

let onUnauthorized = () => {};
export const whenUnauthorized = (action) => { onUnauthorized = action; };

/** Return the problem of a response that is an error. */
export async function problemOf(response) {
  let found = null;
  try {
    found = await response.json();
  } catch { /* not the gateway's, such as a proxy's page */ }
  const problem = new Problem({ status: response.status, title: `HTTP ${response.status}`, ...found });
  if (response.status === 401) onUnauthorized(problem);
  return problem;
}

/** Send a request and return the response. Throws Problem. */
export async function send(method, path, { body, headers = {}, signal } = {}) {
  const deadline = AbortSignal.timeout(CALL_SECONDS * 1000);
  const options = {
    method, body, headers: { ...authorization(), ...headers }, cache: "no-store",
    signal: body instanceof Blob ? signal : AbortSignal.any([deadline, ...(signal ? [signal] : [])]), // an upload takes its time
  };
  let response;
  try {
    response = await fetch(url(path), options);
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Problem({
      title: "The gateway is not reached", detail: "The gateway did not answer.",
      remedy: "Is it running? The page goes on by itself when it answers again.",
    });
  }
  csrf = response.headers.get(CSRF_HEADER) ?? csrf;
  if (!response.ok) throw await problemOf(response);
  return response;
}

async function answerOf(response) {
  return response.status === 204 ? null : response.json();
}

export const get = async (path, options) => answerOf(await send("GET", path, options));
export const remove = async (path) => answerOf(await send("DELETE", path));

/** POST JSON. */
export async function post(path, body, options = {}) {
  const headers = { "Content-Type": "application/json", ...options.headers };
  return answerOf(await send("POST", path, { ...options, headers, body: JSON.stringify(body) }));
}

/** Return the sessions of up to `most` pages, and whether there are more. */
export async function allSessions(signal, most = 5) {
  const found = [];
  let after = null;
  for (let page = 0; page < most; page += 1) {
    const answer = await get(`v1/sessions?limit=1000${after === null ? "" : `&after=${after}`}`, { signal });
    found.push(...answer.sessions);
    after = answer.next;
    if (after === null) break;
  }
  return { sessions: found, hasMore: after !== null };
}
