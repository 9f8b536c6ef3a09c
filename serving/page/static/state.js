// What is asked, as the query string of the page: a link shows the same question.

export const COUNT = 24;

export function emptyState() {
  return {
    mode: "user", user: "", items: [], follows: [], action: "", now: null,
    filters: [], count: COUNT, implicit: true, explicit: true, version: null, label: "",
  };
}

function whole(text, least) {
  return /^-?\d{1,15}$/.test(text ?? "") && Number(text) >= least ? Number(text) : null;
}

/** Reads a query string; whatever makes no sense is left out. */
export function readState(search) {
  const query = new URLSearchParams(search);
  const state = emptyState();
  const only = query.get("only");
  state.user = query.get("user") ?? "";
  state.items = [...new Set(query.getAll("item"))].filter(Boolean);
  state.follows = [...new Set(query.getAll("follow"))].filter(Boolean);
  state.filters = [...new Set(query.getAll("filter"))].filter(Boolean);
  if (!state.user && (state.items.length || query.has("history"))) state.mode = "history";
  state.action = query.get("action") ?? "";
  state.now = whole(query.get("now"), -Infinity);
  state.count = Math.min(whole(query.get("n"), 1) ?? COUNT, 1000);
  state.implicit = only !== "follows";
  state.explicit = only !== "history";
  state.version = whole(query.get("version"), 1);
  state.label = state.version ? "" : query.get("label") ?? "";
  return state;
}

/** Writes the query string that `readState` reads. */
export function writeState(state) {
  const query = new URLSearchParams();
  if (state.mode === "user") {
    if (state.user) query.set("user", state.user);
  } else {
    if (!state.items.length) query.set("history", "");
    for (const item of state.items) query.append("item", item);
    if (state.action) query.set("action", state.action);
    if (state.now !== null) query.set("now", state.now);
  }
  for (const topic of state.follows) query.append("follow", topic);
  for (const condition of state.filters) query.append("filter", condition);
  if (state.count !== COUNT) query.set("n", state.count);
  if (!state.explicit) query.set("only", "history");
  if (!state.implicit) query.set("only", "follows");
  if (state.version) query.set("version", state.version);
  if (state.label) query.set("label", state.label);
  return query.toString();
}
