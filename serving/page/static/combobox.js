// A text field with suggestions (ARIA combobox with a list box).

import { make } from "./dom.js";

const WAIT_MS = 120;

/**
 * Adds suggestions to a text field.
 * @param {HTMLElement} holder element around the field.
 * @param {object} options `suggest(text, signal)` resolves to [{value, label, note}],
 *   `choose(value)` is called with a suggestion's value or the typed text,
 *   `erase()` when Backspace is pressed in the empty field.
 */
export function combobox(holder, { suggest, choose, erase = () => {} }) {
  const input = holder.querySelector("input");
  const list = make("ul", { role: "listbox", id: `${input.id}-list`, hidden: true });
  const label = document.querySelector(`label[for="${input.id}"]`);
  list.setAttribute("aria-label", label.textContent);
  holder.append(list);
  for (const [key, value] of Object.entries({
    role: "combobox", "aria-autocomplete": "list", "aria-expanded": "false", "aria-controls": list.id,
  })) input.setAttribute(key, value);

  let options = [], active = -1, timer = 0, running = null;

  function close() {
    clearTimeout(timer);
    running?.abort();
    list.hidden = true;
    list.replaceChildren();
    options = [];
    active = -1;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  }

  function mark(index) {
    active = index;
    [...list.children].forEach((row, place) => row.setAttribute("aria-selected", place === index));
    const row = list.children[index];
    if (row && options.length) {
      input.setAttribute("aria-activedescendant", row.id);
      row.scrollIntoView({ block: "nearest" });
    } else input.removeAttribute("aria-activedescendant");
  }

  function show(found, text) {
    options = found;
    const rows = found.map((option, place) => make("li",
      {
        role: "option", id: `${list.id}-${place}`, "aria-selected": "false",
        // The field keeps the focus, so that its blur does not close the list first.
        onmousedown: (event) => event.preventDefault(),
        onclick: () => take(option.value),
      },
      make("span", {}, option.label), make("small", {}, option.note ?? "")));
    list.replaceChildren(...(rows.length ? rows : [make("li", { class: "none", role: "presentation" },
      text ? "Nothing found; Enter takes the text as it is." : "Nothing to choose from.")]));
    list.hidden = false;
    input.setAttribute("aria-expanded", "true");
    mark(-1);
  }

  async function look() {
    const text = input.value.trim();
    running?.abort();
    running = new AbortController();
    const { signal } = running;
    try {
      const found = await suggest(text, signal);
      if (!signal.aborted && document.activeElement === input) show(found, text);
    } catch (error) {
      if (error.name !== "AbortError") close();
    }
  }

  function take(value) {
    close();
    choose(value);
  }

  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(look, WAIT_MS);
  });
  input.addEventListener("click", () => list.hidden && look());
  input.addEventListener("blur", close);
  input.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (list.hidden) look();
      else if (options.length) {
        const step = event.key === "ArrowDown" ? 1 : -1;
        mark(active < 0 && step < 0 ? options.length - 1 : (active + step + options.length) % options.length);
      }
    } else if (event.key === "Enter") {
      const typed = input.value.trim();
      const picked = active >= 0 ? options[active].value : typed;
      if (picked) {
        event.preventDefault();
        take(picked);
      }
    } else if (event.key === "Escape" && !list.hidden) {
      event.preventDefault();
      close();
    } else if (event.key === "Backspace" && input.value === "") erase();
  });
}
