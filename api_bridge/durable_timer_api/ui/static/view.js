// Turns a status into the page. Texts become text nodes, never markup.

const COLOURS = 12;
const GOOD = new Set(["ShardsAssigned", "StoreReachable", "SecretsAvailable", "LatenessWithinObjective"]);
const COUNTS = ["pending", "due", "running", "completed", "failed"];

const element = (id) => document.getElementById(id);
const number = (value) => value.toLocaleString("en");

function make(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "class") made.className = value;
    else if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

const cell = (kind, ...children) => make("td", { class: kind }, ...children);
const chip = (kind, text, title = "") => make("span", { class: `chip ${kind}`, title }, text);

function link(look, changes, text, key) {
  const wanted = new URLSearchParams(look);
  for (const [name, value] of Object.entries(changes)) value ? wanted.set(name, value) : wanted.delete(name);
  const made = make("a", { href: "#" + wanted }, text);
  made.dataset.key = key;
  return made;
}

function duration(seconds) {
  if (seconds === null) return "–";
  if (seconds < 1) return `${+(seconds * 1000).toPrecision(2)} ms`;
  if (seconds < 120) return `${+seconds.toPrecision(3)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return seconds < 172800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86400)} days`;
}

export function renderAges(now) {
  for (const time of document.querySelectorAll("time")) {
    time.textContent = duration(Math.max(0, Math.round((now - Date.parse(time.dateTime)) / 1000)));
  }
}

const age = (instant) => make("time", { dateTime: instant, title: instant });

function head(...titles) {
  const cells = titles.map(([title, kind]) => make("th", { scope: "col", class: kind ?? "" }, title));
  return make("thead", {}, make("tr", {}, ...cells));
}

function conditionChips(group) {
  const chips = group.conditions
    .filter((seen) => GOOD.has(seen.type) && seen.status === "False")
    .map((seen) => chip("wrong", seen.reason, seen.message));
  if (group.paused) chips.unshift(chip("watch", "Paused", "Timers are accepted and none fires."));
  if (group.state !== "active") chips.unshift(chip("watch", group.state, `since ${group.stateSince}`));
  return chips.length ? chips : [chip("good", "active")];
}

function shares(group, colours) {
  if (group.state !== "active") return cell("", make("span", { class: "dim" }, "–"));
  const parts = group.owners.map(({ name, shards }) => part(colours(name), shards, `${name}: ${shards} shards`));
  const shown = group.owners.reduce((sum, { shards }) => sum + shards, 0);
  if (group.owned > shown) parts.push(part("", group.owned - shown, `others: ${group.owned - shown} shards`));
  const left = group.shards - group.owned;
  if (left) parts.push(part("nobody", left, `nobody: ${left} shards`));
  const label = `${group.owned} of ${group.shards} shards owned, by ${group.owners.length} executors`;
  return cell("", make("span", { class: left ? "late" : "" }, `${group.owned}/${group.shards}`),
    make("div", { class: "shares", role: "img", "aria-label": label }, ...parts));
}

function part(kind, size, title) {
  const made = make("i", { class: kind, title });
  made.style.flexGrow = size;
  return made;
}

function count(group, name, late = false) {
  if (!group.counts) return cell("number dim", "…");
  const value = group.counts[name];
  const about = group.counts.estimated.includes(name) ? "about " : "";
  return cell(`number ${late && value ? "late" : value ? "" : "dim"}`, about + number(value));
}

function lateness(group) {
  const late = group.lateness !== null && group.lateness > group.objective;
  return cell("number", make("span", { class: late ? "late" : "" }, duration(group.lateness)),
    make("span", { class: "dim small" }, `of ${duration(group.objective)}`));
}

function groupRow(group, look, colours) {
  const picked = look.get("group") === group.groupId;
  const name = link(look, { group: picked ? "" : group.groupId }, group.groupId, `group ${group.groupId}`);
  const oldest = group.counts?.oldestDueAt;
  const row = make("tr", {},
    make("th", { scope: "row" }, name, make("span", { class: "dim small" }, group.owner)),
    cell("", ...conditionChips(group)), shares(group, colours),
    count(group, "pending"), count(group, "due"), cell("number", oldest ? age(oldest) : make("span", { class: "dim" }, "–")),
    count(group, "running"), count(group, "failed", true), lateness(group),
    cell("dim", group.executorPool, make("span", { class: "small" }, group.store)));
  if (picked) row.setAttribute("aria-current", "true");
  return row;
}

function renderGroups(status, look, colours) {
  const rows = status.groups.map((group) => groupRow(group, look, colours));
  const none = make("tr", {}, make("td", { colSpan: 10, class: "dim" }, status.total ? "No group matches." : "There is no group yet."));
  element("groups").replaceChildren(
    head(["Group"], ["State"], ["Shards"], ["Pending", "number"], ["Due", "number"], ["Oldest due for", "number"],
      ["Running", "number"], ["Failed", "number"], ["Lateness p99", "number"], ["Pool, store"]),
    make("tbody", {}, ...(rows.length ? rows : [none])));
  const pages = status.pages < 2 ? [] : [
    status.page > 1 ? link(look, { page: status.page - 1 }, "previous", "previous") : make("span", { class: "dim" }, "previous"),
    `page ${number(status.page)} of ${number(status.pages)}`,
    status.page < status.pages ? link(look, { page: status.page + 1 }, "next", "next") : make("span", { class: "dim" }, "next"),
    make("span", { class: "dim" }, `${number(status.matching)} groups`)];
  element("pages").replaceChildren(...pages);
}

function shardMap({ names, owners, assigned, epochs }, colours) {
  const cells = owners.map((owner, shard) => {
    const name = owner === null ? "nobody" : names[owner];
    const moving = assigned[shard] !== owner && assigned[shard] !== null;
    const title = `shard ${shard}: ${name}, epoch ${epochs[shard]}${moving ? `, going to ${names[assigned[shard]]}` : ""}`;
    return make("i", { class: `${owner === null ? "nobody" : colours(name)}${moving ? " moving" : ""}`, title });
  });
  const unowned = owners.filter((owner) => owner === null).length;
  const keys = names.map((name, position) => [name, colours(name), owners.filter((owner) => owner === position).length]);
  if (unowned) keys.push(["nobody", "nobody", unowned]);
  const legend = keys.map(([name, kind, size]) => make("li", {}, make("i", { class: `key ${kind}` }), `${name}: ${number(size)}`));
  const label = keys.map(([name, , size]) => `${name} ${size}`).join(", ");
  return [make("div", { class: "map", role: "img", "aria-label": `Shards by executor: ${label}` }, ...cells),
    make("ul", { class: "plain" }, ...legend)];
}

function renderPicked(group, look, colours) {
  const section = element("picked");
  section.hidden = !group;
  if (!group) return section.replaceChildren();
  const conditions = group.conditions.map((seen) => {
    const kind = !GOOD.has(seen.type) ? (seen.status === "True" ? "watch" : "") : { True: "good", False: "wrong" }[seen.status] ?? "";
    return make("li", {}, chip(kind, `${seen.type}: ${seen.status}`), seen.message);
  });
  const facts = Object.entries(group.settings).flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value === null ? "none" : String(value))]);
  const timers = `api/v1/groups/${encodeURIComponent(group.groupId)}/timers`;
  const counts = COUNTS.map((state) => {
    const value = group.counts ? number(group.counts[state]) : "…";
    const query = state === "due" ? `dueBefore=${encodeURIComponent(new Date().toISOString())}` : `state=${state}`;
    return make("li", {}, make("a", { href: `${timers}?${query}` }, `${value} ${state}`));
  });
  section.replaceChildren(
    make("div", { class: "bar-of-tools" }, make("h2", { id: "picked-title" }, `Group ${group.groupId}`), link(look, { group: "" }, "close", "close")),
    make("div", { class: "columns" },
      make("div", {}, make("h3", {}, "Shards"), ...shardMap(group.map, colours)),
      make("div", {}, make("h3", {}, "Conditions"), make("ul", { class: "plain" }, ...conditions)),
      make("div", {}, make("h3", {}, "Timers"), make("ul", { class: "plain" }, ...counts)),
      make("div", {}, make("h3", {}, "Settings"), make("dl", {}, ...facts))));
  section.setAttribute("aria-labelledby", "picked-title");
}

function memberRow(member, colours) {
  const silent = member.silentSeconds !== null;
  const state = { Active: "good", Draining: "watch", Dead: "wrong" }[member.state];
  const beat = member.state === "Dead" ? "–" : silent ? `none for ${duration(member.silentSeconds)}` : "beating";
  return make("tr", {},
    make("th", { scope: "row" }, make("i", { class: `key ${member.state === "Dead" ? "" : colours(member.name)}` }), member.name),
    cell("", member.pool, make("span", { class: "dim small" }, member.store)), cell("", chip(state, member.state)),
    cell(silent ? "late" : "", beat), cell("number", number(member.shards)), cell("number", duration(member.lateness)),
    cell("", member.unreadableSecrets ? chip("wrong", `of ${member.unreadableSecrets} groups unreadable`) : make("span", { class: "dim" }, "all read")),
    cell("dim", member.version));
}

function renderMembers(status, colours) {
  const rows = status.members.map((member) => memberRow(member, colours));
  const none = make("tr", {}, make("td", { colSpan: 8, class: "dim" }, "No executor has joined the pool of any group."));
  const left = status.membersTotal - status.members.length;
  element("members").replaceChildren(
    ...(left ? [make("caption", {}, `${number(left)} more are not shown.`)] : []),
    head(["Executor"], ["Pool, store"], ["State"], ["Beat"], ["Shards", "number"], ["Worst lateness p99", "number"], ["Secrets"], ["Version"]),
    make("tbody", {}, ...(rows.length ? rows : [none])));
}

function renderSummary(status) {
  const alive = status.members.filter((member) => member.state !== "Dead").length;
  const dead = status.members.length - alive;
  const away = status.stores.filter((store) => !store.reachable).map((store) => store.name);
  const tiles = [
    ["groups", number(status.total), ""],
    [status.attention === 1 ? "needs attention" : "need attention", number(status.attention), status.attention ? "bad" : ""],
    [alive === 1 ? "executor lives" : "executors live", number(alive), alive ? "" : "bad"],
    ["dead lately", number(dead), dead ? "bad" : ""],
    [away.length ? `stores away: ${away.join(", ")}` : "stores reachable", number(status.stores.length - away.length), away.length ? "bad" : ""]];
  element("summary").replaceChildren(...tiles.map(([name, value, kind]) => make("li", { class: kind }, make("strong", {}, value), name)));
}

/** Shows a status under what is looked at; `now` is the bridge's time in ms. Keeps the keyboard's focus. */
export function render(status, look, now) {
  const names = [...new Set(status.members.filter((member) => member.state !== "Dead").map((member) => member.name))].sort();
  const colours = (name) => `c${Math.max(0, names.indexOf(name)) % COLOURS}`;
  const focused = document.activeElement?.dataset?.key;
  element("version").textContent = status.version;
  renderSummary(status);
  renderGroups(status, look, colours);
  renderPicked(status.picked, look, colours);
  renderMembers(status, colours);
  renderAges(now);
  if (focused) document.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
}
