/** Shortcuts of one letter; they must never fire while somebody writes or a dialog is open. */

const WRITING = "input:not([type=checkbox]):not([type=range]), select, textarea, [contenteditable]";

/** @param {Record<string, () => void>} actions By `KeyboardEvent.code`, so that they work in every keyboard layout. */
export function listenToKeys(actions) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.shiftKey || event.repeat) return;
    if (event.target.closest?.(WRITING) || document.querySelector("dialog[open]")) return;
    const action = actions[event.code];
    if (!action) return;
    event.preventDefault();
    action();
  });
}
