// Shows an answer: the history, one band per interest, and the tiles of each.

import { find, make, percent, plural } from "./dom.js";
import { mosaic } from "./mosaic.js";

const COLOURS = 12;
/** Pictures beyond this many would make the page slow; the tiles stay coloured. */
const PICTURES = 240;
const HISTORY_SHOWN = 24;

/** Returns slot -> colour class, in the order in which interests appear. */
function colourClasses(interests) {
  return new Map(interests.map((interest, place) => [interest.slot, `k${place % COLOURS}`]));
}

const nameOf = (item) => item.title || item.item_id;

/**
 * Shows an answer.
 * @param {object} answer of `POST /api/recommend`.
 * @param {object} on what buttons do: `addItem(id, title)`, `addTopic(topic)`, `edit()`.
 */
export function showAnswer(answer, on) {
  const colours = colourClasses(answer.interests);
  const parts = [
    ...answer.notes.map((note) => make("p", { class: "box note" }, note)),
    overview(answer, colours),
    history(answer, colours, on),
  ];
  if (!answer.items.length) parts.push(nothing());
  for (const interest of answer.interests) {
    if (interest.items) parts.push(band(interest, answer, colours, on));
  }
  find("result").replaceChildren(...parts.filter(Boolean));
}

function nothing() {
  return make("div", { class: "empty" },
    make("h2", {}, "Nothing to recommend"),
    make("p", {}, "No source that is switched on found an item. Switch the other one on, follow a topic, or add an item to the history."));
}

/** The whole answer at a glance: one stone per item, best first. */
function overview(answer, colours) {
  if (!answer.items.length) return null;
  const label = `${plural(answer.items.length, "item")} in the order of rank: ` + answer.interests
    .filter((interest) => interest.items)
    .map((interest) => `${interest.items} ${interest.reason}`).join("; ");
  return make("div", { class: "overview", role: "img", "aria-label": label },
    ...answer.items.map((item) => make("i", { class: colours.get(item.slot), title: `${item.rank}. ${nameOf(item)}` })));
}

function history(answer, colours, on) {
  const events = answer.history;
  const title = answer.user === null ? "Typed history" : `History of user ${answer.user}`;
  const head = make("div", { class: "head" }, make("h2", {}, title));
  if (events.length) head.append(make("p", { class: "quiet" }, `${plural(events.length, "item")}, newest first; colours as the interests below`));
  if (answer.user !== null) head.append(make("button", { type: "button", class: "plain", onclick: on.edit }, "Edit a copy"));
  const rows = events.map((event) => make("li",
    { class: `stone ${colours.get(event.slot) ?? "none"}`, title: described(event, answer) },
    make("span", {}, nameOf(event)),
    event.known ? null : make("small", {}, "not in the catalogue")));
  const list = make("ul", { class: "stones", "aria-label": title }, ...rows.slice(0, HISTORY_SHOWN));
  const section = make("section", { class: "history" }, head, list);
  if (!events.length) list.replaceWith(make("p", { class: "quiet" }, "Empty: answered as a new user."));
  if (rows.length > HISTORY_SHOWN) {
    const more = make("button", { type: "button", class: "plain" }, `Show all ${events.length}`);
    more.addEventListener("click", () => {
      list.append(...rows.slice(HISTORY_SHOWN));
      more.remove();
    });
    section.append(more);
  }
  if (answer.follows.length) section.append(follows(answer, colours));
  return section;
}

function described(event, answer) {
  const when = answer.time_unit === "seconds"
    ? new Date(event.timestamp * 1000).toISOString().slice(0, 16).replace("T", " ")
    : `position ${event.timestamp}`;
  const feeds = event.slot === null ? "feeds no interest"
    : (answer.interests.find((interest) => interest.slot === event.slot)?.reason ?? "");
  return [event.title ? event.item_id : null, event.action, when, event.topics.join(", "), feeds].filter(Boolean).join(" · ");
}

function follows(answer, colours) {
  const slotOf = new Map(answer.interests.filter((i) => i.topic).map((i) => [i.topic, i.slot]));
  return make("p", { class: "follows" }, make("span", { class: "quiet" }, "Follows "),
    ...answer.follows.map((topic) => make("span", { class: `stone ${colours.get(slotOf.get(topic)) ?? "none"}` }, topic)));
}

function band(interest, answer, colours, on) {
  const items = answer.items.filter((item) => item.slot === interest.slot);
  const id = `band-${interest.slot}`;
  const share = interest.kind === "explicit" ? "followed topic"
    : interest.history.length ? `${percent(interest.share)} of the history` : "no history of its own";
  const wide = items.length >= 7;
  return make("section", { class: `band ${colours.get(interest.slot)}`, "aria-labelledby": id, "data-slot": interest.slot, "data-kind": interest.kind },
    make("div", { class: "head" },
      make("h2", { id }, sentence(interest)),
      make("p", { class: "quiet" }, `${share} · ${interest.items} of ${plural(answer.items.length, "item")}`)),
    make("ol", { class: "tiles" }, ...items.map((item, place) => tile(item, place === 0 && wide, answer, colours, on))));
}

/** The heading of a band: what brought its items. */
function sentence(interest) {
  const text = interest.reason;
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function tile(item, large, answer, colours, on) {
  const others = item.found_by.filter((slot) => slot !== item.slot);
  const known = others.filter((slot) => colours.has(slot)).map((slot) => colours.get(slot));
  const art = item.rank > PICTURES ? make("div", { class: "art" })
    : mosaic(item.item_id, known, large ? 14 : 8, large ? 9 : 3);
  return make("li", { class: `tile${large ? " large" : ""}`, "data-item": item.item_id },
    art,
    make("div", { class: "text" },
      make("h3", { title: item.title ? item.item_id : null }, nameOf(item)),
      topicList(item, on),
      ["explored", "neighbour"].includes(item.kind) ? make("p", { class: "also" }, item.reason) : null,
      others.length ? make("p", { class: "also" }, "also found by ", alsoFound(others, answer, colours)) : null,
      foot(item, on)));
}

function foot(item, on) {
  return make("p", { class: "foot" },
    make("span", { class: "rank", title: "rank" }, `${item.rank}`),
    make("span", { class: "score", title: "score" }, item.score.toFixed(3)),
    make("button",
      { type: "button", class: "near", "aria-label": `Items similar to ${nameOf(item)}`, title: "Similar items", onclick: () => on.similar(item.item_id) },
      "≈"),
    make("button",
      { type: "button", class: "add", "aria-label": `Add ${nameOf(item)} to the history`, title: "Add to the history", onclick: () => on.addItem(item.item_id, item.title) },
      "+"));
}

/**
 * Shows the neighbours of an item above the answer.
 * @param {object?} found of `POST /api/similar`; null takes them away.
 * @param {object} on what buttons do: `addItem`, `addTopic`, `similar(id)`.
 */
export function showSimilar(found, on) {
  const box = find("similar");
  box.hidden = found === null;
  box.replaceChildren();
  if (found === null) return;
  const close = make("button", { type: "button", class: "plain", onclick: () => showSimilar(null) }, "Close");
  const tiles = found.items.map((item) => make("li", { class: "tile", "data-item": item.item_id },
    mosaic(item.item_id, [], 8, 3),
    make("div", { class: "text" },
      make("h3", { title: item.title ? item.item_id : null }, nameOf(item)), topicList(item, on), foot(item, on))));
  box.append(make("section", { class: "near none", "aria-label": "Similar items" },
    make("div", { class: "head" }, make("h2", {}, `Similar to ${nameOf(found)}`),
      make("p", { class: "quiet" }, plural(found.items.length, "item")), close),
    make("ol", { class: "tiles" }, ...tiles)));
  box.scrollIntoView({ block: "nearest" });
}

function topicList(item, on) {
  const [shown, rest] = [item.topics.slice(0, 3), item.topics.slice(3)];
  return make("p", { class: "topics" },
    ...shown.map((topic) => make("button",
      { type: "button", title: `Follow ${topic}`, "aria-label": `Follow ${topic}`, onclick: () => on.addTopic(topic) }, topic)),
    rest.length ? make("span", { title: rest.join(", ") }, `+${rest.length}`) : null);
}

function alsoFound(slots, answer, colours) {
  const names = slots.map((slot) => answer.interests.find((i) => i.slot === slot)?.reason ?? "an interest without items of its own");
  return make("span", { class: "dots", role: "img", "aria-label": names.join("; "), title: names.join("\n") },
    ...slots.map((slot) => make("i", { class: colours.get(slot) ?? "none" })));
}

/** Shows what stands in for an answer while none is there. */
export function showSkeleton() {
  const tiles = Array.from({ length: 12 }, () => make("li", { class: "tile ghost" }));
  find("result").replaceChildren(make("div", { class: "loading" }, make("ol", { class: "tiles" }, ...tiles)));
}

export function showHint(text) {
  find("result").replaceChildren(make("div", { class: "empty" }, make("h2", {}, "Who asks?"), make("p", {}, text)));
}
