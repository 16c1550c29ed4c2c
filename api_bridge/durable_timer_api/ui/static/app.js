// Asks for the status while somebody looks, and hands it to the view. What is looked at stands in the address.
import { render, renderAges } from "./view.js";

const EVERY = 2000; // ms between an answer and the next question
const LONGEST = 30000; // ms to which the wait doubles while answers fail
const PATIENCE = 10000; // ms to wait for an answer

let etag = null;
let wait = EVERY;
let next = 0;
let asking = null;

const element = (id) => document.getElementById(id);

function look() {
  const stated = new URLSearchParams(location.hash.slice(1));
  const found = new URLSearchParams();
  for (const name of ["search", "show", "page", "group"]) if (stated.get(name)) found.set(name, stated.get(name));
  return found;
}

function lookAt(changes) {
  const wanted = look();
  for (const [name, value] of Object.entries(changes)) value ? wanted.set(name, value) : wanted.delete(name);
  history.replaceState(null, "", "#" + wanted);
  etag = null;
  ask();
}

async function ask() {
  clearTimeout(next);
  asking?.abort();
  if (document.hidden) return;
  const mine = (asking = new AbortController());
  const tooLong = setTimeout(() => mine.abort(), PATIENCE);
  try {
    const headers = etag ? { "If-None-Match": etag } : {};
    const answer = await fetch("ui/status?" + look(), { headers, cache: "no-store", signal: mine.signal });
    if (answer.status !== 200 && answer.status !== 304) throw new Error(await reason(answer));
    const now = Date.parse(answer.headers.get("Date")) || Date.now();
    if (answer.status === 200) {
      const status = await answer.json();
      if (mine !== asking) return;
      render(status, look(), now);
      etag = answer.headers.get("ETag");
    } else renderAges(now);
    wait = EVERY;
    element("trouble").hidden = true;
    element("pulse").textContent = "live, read at " + new Date().toLocaleTimeString();
  } catch (fault) {
    if (mine !== asking) return;
    wait = Math.min(wait * 2, LONGEST);
    const why = fault.name === "AbortError" ? "no answer" : fault.message;
    element("trouble").textContent = `What you see is old: ${why}. Asking again in ${Math.round(wait / 1000)} s.`;
    element("trouble").hidden = false;
    element("pulse").textContent = "not connected";
  } finally {
    clearTimeout(tooLong);
    if (mine === asking) next = setTimeout(ask, wait * (0.9 + Math.random() / 5));
  }
}

async function reason(answer) {
  try {
    return (await answer.json()).detail ?? `status ${answer.status}`;
  } catch {
    return `status ${answer.status}`;
  }
}

let typing = 0;
element("find").addEventListener("submit", (event) => event.preventDefault());
element("search").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => lookAt({ search: element("search").value.trim(), page: "" }), 250);
});
element("attention").addEventListener("change", (event) =>
  lookAt({ show: event.target.checked ? "attention" : "", page: "" }),
);

function readAddress() {
  element("search").value = look().get("search") ?? "";
  element("attention").checked = look().get("show") === "attention";
  etag = null;
  ask();
}

window.addEventListener("hashchange", readAddress);
document.addEventListener("visibilitychange", ask);
readAddress();
