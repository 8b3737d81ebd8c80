/** What the page is doing, in a word or two at the top; counts down where something is waited for. */

import { make, setText } from "./dom.js";
import { explain } from "./errors.js";
import { loaded, sentence, shortened } from "./words.js";

const WORDS = {
  idle: "Ready",
  asking: "Waiting for the sound source",
  starting: "Connecting",
  live: "Live",
  ended: "Ended",
};
const LOADING_EVERY_MS = 1000;
/** What failed is tried again when somebody starts a session, maybe on another page. */
const FAILED_EVERY_MS = 4000;
/** Errors of a model's loader can be long. */
const LONGEST_REASON = 600;

export class Status {
  #root;
  #text = make("span");
  #left = make("span", { "aria-hidden": "true" }); // a screen reader would speak every second
  #api;
  #notices;
  #timer = 0;
  #asking = false;
  #state = "idle";
  /** What to say instead of "Ready"; "" when the server is. */
  #unready = "";
  #failed = false;
  #lost = false;

  /**
   * @param {HTMLElement} root
   * @param {import("./api.js").Api} api
   * @param {import("./notices.js").Notices} notices Take what could not be loaded.
   */
  constructor(root, api, notices) {
    this.#root = root;
    this.#api = api;
    this.#notices = notices;
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
    this.#root.dataset.state = state === "idle" && (this.#failed || this.#lost) ? "failed" : state;
    setText(this.#text, this.#inWords(state, reason, error));
    const count = () => {
      const left = Math.max(0, Math.ceil((until - performance.now()) / 1000));
      setText(this.#left, { reconnecting: `${left} s left`, waiting: `in ${left} s` }[state] ?? "");
    };
    count();
    if (until) this.#timer = setInterval(count, 250);
  }

  /** Whether the server has stopped answering. */
  set lost(lost) {
    if (lost === this.#lost) return;
    this.#lost = lost;
    if (this.#state === "idle") this.show("idle");
    if (!lost) this.untilReady(); // it may have been started anew
  }

  #inWords(state, reason, error) {
    if (state === "reconnecting") return `Connection lost: ${reason}. Trying again,`;
    if (state === "waiting") return `${explain(error)} Asking again`;
    if (state === "idle" && this.#lost) return "No answer from the server";
    if (state === "idle" && this.#unready) return this.#unready;
    return WORDS[state];
  }

  /** While nothing else goes on, tell what the server still loads, and what it could not load. */
  async untilReady() {
    if (this.#asking) return;
    this.#asking = true;
    for (;;) {
      const config = await this.#api.json("GET", "config").catch(() => null);
      if (config) this.#take(config);
      if (config?.ready) break;
      const pause = this.#failed ? FAILED_EVERY_MS : LOADING_EVERY_MS;
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
    this.#asking = false;
  }

  #take({ ready, draining, loading, failed }) {
    const problems = ready ? [] : listed(failed);
    const loads = listed(loading).map(loaded);
    this.#failed = problems.length > 0;
    if (ready) this.#unready = "";
    else if (draining) this.#unready = "The server is shutting down";
    else if (loads.length === 0 && this.#failed) this.#unready = "Not everything is loaded";
    else this.#unready = `The server is loading ${loads.join(", ") || "its models"}`;
    this.#explain(problems);
    if (this.#state === "idle") this.show("idle");
  }

  #explain(problems) {
    if (problems.length === 0) {
      this.#notices.dismiss("warm");
      return;
    }
    const reason = shortened(problems.map((text) => sentence(text)).join(" "), LONGEST_REASON);
    this.#notices.keep(
      "trouble",
      `The server could not load what it begins with. ${reason} Choose another graph under Setup, or mend this and ` +
        "press Start: it is then tried again.",
      "warm",
    );
  }
}

/** `loading` and `failed` of /api/config: a list of texts, or one. */
const listed = (texts) => (Array.isArray(texts) ? texts : [texts]).filter(Boolean).map(String);
