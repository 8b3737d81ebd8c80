/** What the page remembers between visits: choices only, never a token or a word that was said. */

const KEY = "tolmach";

function read() {
  try {
    return JSON.parse(localStorage.getItem(KEY)) ?? {};
  } catch {
    return {}; // storage is forbidden, or holds something else
  }
}

/** A remembered choice, or `fallback`. */
export function recall(name, fallback) {
  const value = read()[name];
  return value === undefined ? fallback : value;
}

/** Remember a choice. */
export function remember(name, value) {
  try {
    localStorage.setItem(KEY, JSON.stringify({ ...read(), [name]: value }));
  } catch {
    // Storage is forbidden or full; the page works without it.
  }
}
