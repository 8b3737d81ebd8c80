/** What the page is doing, in a word or two at the top; counts down where something is waited for. */

import { make, setText } from "./dom.js";
import { explain } from "./errors.js";

const WORDS = {
  idle: "Ready",
  asking: "Waiting for the sound source",
  starting: "Connecting",
  live: "Live",
  ended: "Ended",
};
const READY_EVERY_MS = 1000;

export class Status {
  #root;
  #text = make("span");
  #left = make("span", { "aria-hidden": "true" }); // a screen reader would speak every second
  #api;
  #timer = 0;
  #state = "idle";
  #loading = "";

  /** @param {HTMLElement} root @param {import("./api.js").Api} api */
  constructor(root, api) {
    this.#root = root;
    this.#api = api;
    root.replaceChildren(make("span", {}, this.#text, " ", this.#left));
  }

  /**
   * Show a state of the call, or "asking" (for the source), or "waiting" (for the server, because of `error`).
   *
   * @param {{reason?: string, until?: number, error?: Error}} detail `until` is of performance.now().
   */
  show(state, { reason = "", until = 0, error = null } = {}) {
    clearInterval(this.#timer);
    this.#state = state;
    this.#root.dataset.state = state;
    setText(this.#text, this.#inWords(state, reason, error));
    const count = () => {
      const left = Math.max(0, Math.ceil((until - performance.now()) / 1000));
      setText(this.#left, { reconnecting: `${left} s left`, waiting: `in ${left} s` }[state] ?? "");
    };
    count();
    if (until) this.#timer = setInterval(count, 250);
  }

  #inWords(state, reason, error) {
    if (state === "reconnecting") return `Connection lost: ${reason}. Trying again,`;
    if (state === "waiting") return `${explain(error)} Asking again`;
    if (state === "idle" && this.#loading) return `The server is loading ${this.#loading}`;
    return WORDS[state];
  }

  /** While nothing else goes on, tell what the server still loads. */
  async untilReady() {
    for (;;) {
      const config = await this.#api.json("GET", "config").catch(() => null);
      this.#loading = config && !config.ready ? inWords(config.loading) : "";
      if (this.#state === "idle") this.show("idle");
      if (config?.ready) return;
      await new Promise((resolve) => setTimeout(resolve, READY_EVERY_MS));
    }
  }
}

/** `loading` of /api/config: a list of names, or one. */
const inWords = (loading) => (Array.isArray(loading) ? loading : [loading]).filter(Boolean).join(", ") || "its models";
