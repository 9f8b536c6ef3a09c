// The page: keeps the form, the address and the answer in step.

import * as api from "./api.js";
import { combobox } from "./combobox.js";
import { find, make, plural } from "./dom.js";
import { readState, writeState } from "./state.js";
import { showAnswer, showHint, showSimilar, showSkeleton } from "./view.js";

const SKELETON_AFTER_MS = 250;
/** Items of a user's history that "Edit a copy" takes over. */
const COPIED = 200;

let state = readState(location.search);
let info = null;
let answer = null;
let running = null;
/** Titles of items that were chosen or shown; a typed history is shown with them. */
const titles = new Map();

function remember(items) {
  for (const item of items) if (item.title) titles.set(item.item_id, item.title);
}

/** Changes the question, the form and the address, then asks. */
function change(fields, { replace = false } = {}) {
  const typed = "items" in fields || "action" in fields || "mode" in fields;
  state = { ...state, ...(typed && { now: null }), ...fields };
  writeAddress(replace);
  showForm();
  ask();
}

function writeAddress(replace) {
  const query = writeState(state);
  const url = query ? `?${query}` : location.pathname;
  if (replace) history.replaceState(null, "", url);
  else if (url !== (location.search || location.pathname)) history.pushState(null, "", url);
}

async function ask() {
  running?.abort();
  running = new AbortController();
  const { signal } = running;
  showError(null);
  showSimilar(null);
  if (state.mode === "user" && !state.user) {
    answer = null;
    say("");
    showHint("Pick a user on the left, or type a history.");
    return;
  }
  find("result").setAttribute("aria-busy", "true");
  const slow = setTimeout(() => { if (!answer) showSkeleton(); }, SKELETON_AFTER_MS);
  try {
    const found = await api.recommend(state, signal);
    if (signal.aborted) return;
    show(found);
  } catch (error) {
    if (signal.aborted) return;
    answer = null;
    find("result").replaceChildren();
    say("");
    showError(error.message);
  } finally {
    clearTimeout(slow);
    if (!signal.aborted) find("result").setAttribute("aria-busy", "false");
  }
}

function show(found) {
  answer = found;
  remember(found.history);
  remember(found.items);
  if (state.mode === "history" && found.time_unit === "seconds" && state.now === null) {
    state.now = found.now; // the link then asks at the same moment
    writeAddress(true);
  }
  showAnswer(found, { addItem, addTopic, similar, edit: () => editCopy([]) });
  showForm();
  const interests = found.interests.filter((interest) => interest.items).length;
  const who = found.user === null ? "the typed history" : `user ${found.user}`;
  say(`${plural(found.items.length, "item")} from ${plural(interests, "interest")} for ${who} · version ${found.bundle.version} · ${milliseconds(found)} ms`);
  document.title = `${who.charAt(0).toUpperCase()}${who.slice(1)} · ${found.bundle.name} · Tessera`;
  loadInfo(); // versions and labels may have changed
}

function milliseconds(found) {
  return found.milliseconds < 10 ? found.milliseconds.toFixed(1) : Math.round(found.milliseconds).toLocaleString("en");
}

function addItem(item, title) {
  remember([{ item_id: item, title }]);
  if (state.mode === "user") editCopy([item]);
  else change({ items: [item, ...state.items.filter((other) => other !== item)] });
  find("ask").scrollIntoView({ block: "nearest" });
}

/** Shows the neighbours of an item above the answer; the filters count for them as well. */
async function similar(item) {
  try {
    const found = await api.similar(state, item);
    remember(found.items);
    showSimilar(found, { addItem, addTopic, similar });
  } catch (error) {
    showError(error.message);
  }
}

function addFilter() {
  const condition = find("filters").value.trim();
  if (!condition) return;
  find("filters").value = "";
  change({ filters: [...state.filters.filter((other) => other !== condition), condition] });
}

function addTopic(topic) {
  change({ follows: [topic, ...state.follows.filter((other) => other !== topic)] });
}

/** Turns the shown user into a typed history. */
function editCopy(first) {
  const items = [...new Set([...first, ...answer.history.map((event) => event.item_id)])];
  change({ mode: "history", items: items.slice(0, COPIED), follows: answer.follows.slice(0, 100) });
}

function say(text) {
  find("status").textContent = text;
}

function showError(message) {
  const box = find("error");
  box.hidden = message === null;
  box.replaceChildren();
  if (message === null) return;
  box.append(make("p", {}, message),
    make("button", { type: "button", class: "plain", onclick: async () => { if (!info) await loadInfo(); ask(); } }, "Try again"));
}

// The form.

function chips(list, names, remove) {
  list.hidden = names.length === 0;
  list.replaceChildren(...names.map((name) => {
    const shown = titles.get(name) ?? name;
    return make("li", { title: shown === name ? null : name }, make("span", {}, shown),
      make("button", { type: "button", "aria-label": `Remove ${shown}`, onclick: () => remove(name) }, "×"));
  }));
}

function showForm() {
  for (const radio of document.getElementsByName("mode")) radio.checked = radio.value === state.mode;
  for (const part of document.querySelectorAll("[data-mode]")) part.hidden = part.dataset.mode !== state.mode;
  if (document.activeElement !== find("user")) find("user").value = state.user;
  const without = (names, name) => names.filter((other) => other !== name);
  chips(find("item-chips"), state.items, (name) => change({ items: without(state.items, name) }));
  chips(find("topic-chips"), state.follows, (name) => change({ follows: without(state.follows, name) }));
  chips(find("filter-chips"), state.filters, (condition) => change({ filters: without(state.filters, condition) }));
  showFilters();
  find("count").value = state.count;
  find("count-range").value = Math.min(state.count, 100);
  find("implicit").checked = state.implicit;
  find("explicit").checked = state.explicit;
  showVersions();
  showActions();
}

/** Conditions are offered where the version knows columns; those of a link can always be removed. */
function showFilters() {
  const columns = (info?.filters ?? []).filter((name) => name !== "item_id");
  find("filters-field").hidden = !columns.length && !state.filters.length;
  const number = (name) => name.endsWith(":number") || name === "created_at";
  const shown = columns.map((name) => number(name) ? `${name.split(":")[0]}>=, <=, =` : `${name}=`);
  find("filters-hint").textContent = shown.length ? `Columns: ${shown.join("; ")}` : "This version knows no columns to filter by.";
}

function showVersions() {
  const option = (value, text) => make("option", { value }, text);
  const options = [option("", info ? `newest (${Math.max(...info.versions)})` : "newest")];
  const chosen = state.version ? `v${state.version}` : state.label ? `l${state.label}` : "";
  for (const [label, version] of Object.entries(info?.labels ?? {})) options.push(option(`l${label}`, `${label} (${version})`));
  for (const version of info?.versions ?? []) options.push(option(`v${version}`, `version ${version}`));
  if (chosen && !options.some((one) => one.value === chosen)) options.push(option(chosen, `${chosen.slice(1)} (not served)`));
  find("version").replaceChildren(...options);
  find("version").value = chosen;
}

function showActions() {
  const actions = info?.actions ?? [];
  find("action-field").hidden = state.mode !== "history" || actions.length < 2;
  find("action").replaceChildren(...actions.map((name, place) => make("option", { value: place ? name : "" }, name)));
  find("action").value = state.action;
}

/** Asks what is served; a version that is not served (any more) must not hide the others. */
async function loadInfo() {
  let found;
  try {
    found = await api.bundle(state).catch(() => api.bundle({}));
  } catch (error) {
    if (!info) showError(error.message);
    return;
  }
  if (JSON.stringify(found) === JSON.stringify(info)) return;
  info = found;
  const facts = [info.name, plural(info.items, "item"), plural(info.topics, "topic")];
  if (info.run_date) facts.push(`data up to ${info.run_date}`);
  find("bundle").textContent = facts.join(" · ");
  find("user-hint").textContent = info.users
    ? `${plural(info.users, "user")} of the bundle's sample; any other id is looked up in the tables.`
    : "The bundle carries no sample of requests; ids are looked up in the tables.";
  find("next-user").hidden = info.users < 2;
  if (info.max_results) find("count").max = Math.min(1000, info.max_results);
  showForm();
}

async function nextUser() {
  try {
    const { users } = await api.users(state, "", undefined, 100);
    const place = users.findIndex((user) => user.user_id === state.user);
    change({ user: users[(place + 1) % users.length].user_id });
  } catch (error) {
    showError(error.message);
  }
}

function connectCombos() {
  combobox(find("user-combo"), {
    suggest: async (text, signal) => (await api.users(state, text === state.user ? "" : text, signal)).users.map((user) => ({
      value: user.user_id, label: user.user_id,
      note: `${plural(user.history, "item")}, ${plural(user.follows, "topic")}`,
    })),
    choose: (user) => {
      find("user").value = user;
      change({ user });
    },
  });
  combobox(find("items-combo"), {
    suggest: async (text, signal) => {
      const { items } = await api.items(state, text, signal);
      remember(items);
      return items.map((item) => ({
        value: item.item_id, label: item.title || item.item_id,
        note: [item.title && item.item_id, item.topics.slice(0, 3).join(", ")].filter(Boolean).join(" · "),
      }));
    },
    choose: (item) => {
      find("items").value = "";
      change({ items: [item, ...state.items.filter((other) => other !== item)] });
    },
    erase: () => state.items.length && change({ items: state.items.slice(1) }),
  });
  combobox(find("topics-combo"), {
    suggest: async (text, signal) => (await api.topics(state, text, signal)).topics.map((found) => ({
      value: found.topic, label: found.topic, note: plural(found.items, "item"),
    })),
    choose: (topic) => {
      find("topics").value = "";
      addTopic(topic);
    },
    erase: () => state.follows.length && change({ follows: state.follows.slice(0, -1) }),
  });
}

function connectForm() {
  find("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    const typed = find("user").value.trim();
    if (state.mode === "user" && typed && typed !== state.user) change({ user: typed });
    else ask();
  });
  for (const radio of document.getElementsByName("mode")) {
    radio.addEventListener("change", () => change({ mode: radio.value }));
  }
  find("next-user").addEventListener("click", nextUser);
  find("count-range").addEventListener("input", () => { find("count").value = find("count-range").value; });
  for (const id of ["count", "count-range"]) {
    find(id).addEventListener("change", () => {
      const most = Number(find("count").max);
      change({ count: Math.min(Math.max(Math.round(Number(find(id).value)) || state.count, 1), most) });
    });
  }
  const sources = { implicit: "explicit", explicit: "implicit" };
  for (const [id, other] of Object.entries(sources)) {
    // One source always stays on: without any there is nothing to ask.
    find(id).addEventListener("change", () => change({ [id]: find(id).checked, ...(!find(id).checked && { [other]: true }) }));
  }
  find("add-filter").addEventListener("click", addFilter);
  find("filters").addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    addFilter();
  });
  find("action").addEventListener("change", () => change({ action: find("action").value }));
  find("version").addEventListener("change", async () => {
    const chosen = find("version").value;
    state = { ...state, version: chosen[0] === "v" ? Number(chosen.slice(1)) : null, label: chosen[0] === "l" ? chosen.slice(1) : "" };
    await loadInfo();
    change({});
  });
  find("copy").addEventListener("click", async () => {
    await navigator.clipboard.writeText(location.href).then(() => say("The link is copied."), () => say(location.href));
  });
  addEventListener("popstate", () => {
    state = readState(location.search);
    find("user").value = state.user;
    showForm();
    ask();
  });
}

async function start() {
  // On a small screen the answer matters more than the options.
  find("options").open = matchMedia("(min-width: 901px)").matches;
  connectCombos();
  connectForm();
  showForm();
  showSkeleton();
  say("Reading the bundle…"); // titles of a large catalogue take seconds the first time
  await loadInfo();
  if (!info) {
    find("result").replaceChildren();
    say("");
    return;
  }
  if (state.mode === "user" && !state.user && info.users) {
    const { users } = await api.users(state, "", undefined, 20).catch(() => ({ users: [] }));
    const first = users.find((user) => user.history) ?? users[0];
    if (first) state.user = first.user_id;
    writeAddress(true);
    showForm();
  }
  ask();
}

start();
