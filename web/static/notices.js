/** Things the person should know: troubles stay until dismissed, remarks go by themselves. */

import { make } from "./dom.js";

const GOES_AFTER_MS = 8000;
const MOST = 4;

export class Notices {
  #root;
  #byKey = new Map();
  #kept = new Map();

  /** @param {HTMLElement} root Empty. */
  constructor(root) {
    this.#root = root;
  }

  /**
   * Show a notice; one of the same `key` is replaced.
   *
   * @param {"trouble"|"remark"} kind
   * @param {string} text
   * @param {{key?: string, stays?: boolean, action?: {label: string, run: () => void}}} options
   * @returns {(text: string) => void} Changes the text.
   */
  show(kind, text, { key = text, stays = kind === "trouble", action = null } = {}) {
    this.#remove(key);
    const words = make("p", {}, text);
    const notice = make("div", { class: `notice ${kind}`, role: kind === "trouble" ? "alert" : "status" }, words);
    if (action) {
      const button = make("button", { type: "button", class: "plain" }, action.label);
      button.addEventListener("click", () => {
        this.dismiss(key);
        action.run();
      });
      notice.append(button);
    }
    const close = make("button", { type: "button", class: "close", "aria-label": "Dismiss" }, "×");
    close.addEventListener("click", () => this.#remove(key));
    notice.append(close);
    this.#byKey.set(key, notice);
    this.#root.append(notice);
    if (this.#byKey.size > MOST) this.dismiss(this.#byKey.keys().next().value);
    if (!stays) setTimeout(() => this.#byKey.get(key) === notice && this.dismiss(key), GOES_AFTER_MS);
    return (changed) => words.textContent !== changed && words.replaceChildren(changed);
  }

  /** Show a notice that stays true for a while; once dismissed, it does not come back until its text is another one. */
  keep(kind, text, key) {
    if (this.#kept.get(key) === text) return;
    this.#kept.set(key, text);
    this.show(kind, text, { key, stays: true });
  }

  /** Take away all notices, or those whose key begins like this. */
  clear(prefix = "") {
    for (const key of [...this.#byKey.keys()]) if (key.startsWith(prefix)) this.dismiss(key);
  }

  /** Take a notice away, if it is there: what it says is no longer so. */
  dismiss(key) {
    this.#kept.delete(key);
    this.#remove(key);
  }

  #remove(key) {
    this.#byKey.get(key)?.remove();
    this.#byKey.delete(key);
  }
}
