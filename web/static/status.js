/** What the page is doing, in a word or two at the top; counts down where something is waited for. */

import { setText } from "./dom.js";
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
  #api;
  #timer = 0;
  #state = "idle";
  #loading = "";

  /** @param {HTMLElement} root @param {import("./api.js").Api} api */
  constructor(root, api) {
    this.#root = root;
    this.#api = api;
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
    const draw = () => {
      const left = Math.max(0, Math.ceil((until - performance.now()) / 1000));
      let text = WORDS[state];
      if (state === "reconnecting") text = `Connection lost (${reason}). Trying again, ${left} s left`;
      if (state === "waiting") text = `${explain(error)} Asking again in ${left} s`;
      if (state === "idle" && this.#loading) text = `Server is loading ${this.#loading}`;
      setText(this.#root, text);
    };
    draw();
    if (until) this.#timer = setInterval(draw, 250);
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
