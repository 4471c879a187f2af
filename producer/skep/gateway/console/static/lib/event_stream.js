// Follows a session's events over fetch, which, unlike EventSource, can send a token, and resumes by Last-Event-ID.

import { authorization, Problem, problemOf, url } from "./api.js";

const SILENT_MS = 45_000; // three times the gateway's keep-alive
const LONGEST_PAUSE_MS = 30_000;

/** Pause; returns early when the signal is aborted. */
function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(done, milliseconds);
    function done() {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    }
    signal.addEventListener("abort", done);
  });
}

/** Call `onEvents(list)` with the events after an id as they come, `onState(state, problem?)` with "live", "waiting",
 * "ended" or "failed". Ends when the signal is aborted, when the session has ended, and at an error that remains. */
export async function follow(path, after, { signal, onEvents, onState }) {
  let lastId = after;
  let retry = 1000;
  let failures = 0;
  while (!signal.aborted) {
    const connection = new AbortController();
    const abort = () => connection.abort();
    signal.addEventListener("abort", abort);
    let problem = null;
    let hasEnded = false;
    try {
      const headers = { Accept: "text/event-stream", "Last-Event-ID": lastId, ...authorization() };
      const response = await fetch(url(path), { headers, cache: "no-store", signal: connection.signal });
      if (response.status === 204) { onState("ended"); return; }
      if (!response.ok) throw await problemOf(response);
      onState("live");
      for await (const { id, name, data, retry: wait } of messages(response, connection)) {
        failures = 0;
        if (wait !== null) retry = wait;
        if (name === "error") { problem = new Problem(data[0]); break; }
        if (!data.length) continue;
        lastId = id ?? lastId;
        onEvents(data);
        hasEnded = data.some((event) => event.kind === "session.closed");
        if (hasEnded) break;
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Problem) problem = error;
    } finally {
      connection.abort();
      signal.removeEventListener("abort", abort);
    }
    if (hasEnded) { onState("ended"); return; }
    if (problem && [400, 401, 403, 404, 422].includes(problem.status)) { onState("failed", problem); return; }
    failures += 1;
    onState("waiting", problem);
    await pause(Math.min(retry * 2 ** Math.min(failures - 1, 6), LONGEST_PAUSE_MS), signal);
  }
}

/** Yield what one piece of the stream has brought: its events as one list, or an error. */
async function* messages(response, connection) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  while (true) {
    const timer = setTimeout(() => connection.abort(), SILENT_MS);
    const { done, value } = await reader.read().finally(() => clearTimeout(timer));
    if (done) return;
    text += value;
    const parts = text.split("\n\n");
    text = parts.pop();
    const found = { id: null, name: "message", data: [], retry: null };
    for (const part of parts) {
      const message = parsed(part);
      if (message.retry !== null) found.retry = message.retry;
      if (message.name === "error") {
        yield found;
        yield message;
        return;
      }
      if (message.data.length) { found.data.push(...message.data); found.id = message.id; }
    }
    yield found;
  }
}

function parsed(part) {
  const message = { id: null, name: "message", data: [], retry: null };
  for (const line of part.split("\n")) {
    const place = line.indexOf(":");
    if (place <= 0) continue;
    const value = line.slice(place + 1).replace(/^ /, "");
    const field = line.slice(0, place);
    if (field === "id") message.id = value;
    else if (field === "event") message.name = value;
    else if (field === "retry") message.retry = Number(value);
    else if (field === "data") message.data.push(JSON.parse(value));
  }
  return message;
}
