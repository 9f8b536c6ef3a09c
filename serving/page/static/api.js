// Talks to the server. Every failure becomes an Error whose message can be shown.

async function fetchJson(url, options) {
  let response;
  try {
    response = await fetch(url, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server does not answer. Is `tessera serve` still running?");
  }
  const body = await response.json().catch(() => null);
  if (!response.ok) throw new Error((body && body.error) || `The server answered ${response.status}.`);
  if (body === null) throw new Error("The server answered with something that is not JSON.");
  return body;
}

/** Query string of the version that is asked: `{version}`, `{label}` or nothing. */
function served(state) {
  return { ...(state.version && { version: state.version }), ...(state.label && { label: state.label }) };
}

function get(path, state, parameters = {}, signal = undefined) {
  const query = new URLSearchParams({ ...served(state), ...parameters });
  return fetchJson(`/api/${path}?${query}`, { signal });
}

export const bundle = (state) => get("bundle", state);
export const users = (state, q, signal, limit = 8) => get("users", state, { q, limit }, signal);
export const items = (state, q, signal) => get("items", state, { q, limit: 8 }, signal);
export const topics = (state, q, signal) => get("topics", state, { q, limit: 8 }, signal);

function post(path, body, signal) {
  return fetchJson(`/api/${path}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
    signal,
  });
}

export function similar(state, item, signal) {
  return post("similar", { ...served(state), item, filters: state.filters }, signal);
}

export function recommend(state, signal) {
  const body = {
    ...served(state),
    ...(state.mode === "user" ? { user: state.user } : { history: state.items }),
    ...(state.mode === "history" && state.action && { action: state.action }),
    ...(state.mode === "history" && state.now !== null && { now: state.now }),
    follows: state.follows,
    num_results: state.count,
    use_implicit: state.implicit,
    use_explicit: state.explicit,
    filters: state.filters,
  };
  return post("recommend", body, signal);
}
