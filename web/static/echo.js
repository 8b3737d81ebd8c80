/** What the server has found of its own voice in the source, in words; and when the browser is asked to take it out. */

import { setText } from "./dom.js";

const FOUND = {
  none: "The loudspeaker is not heard in the microphone: all you say arrives, also while a translation plays.",
  found: "The microphone hears the loudspeaker. It is being learned how, so that it can be taken out.",
  cancelled: "The microphone hears the loudspeaker; that is taken out, and you are heard over a translation.",
  gated: "The microphone hears the loudspeaker too well to take it out: speak when it is silent, or use headphones.",
};
const BROWSER =
  "The browser takes the loudspeaker out of the microphone, and with it some of what you say over a translation. " +
  "With headphones all of it is heard.";

/** Fires `cancel` when the server cannot take out what it hears, so that the browser has to. */
export class Echo extends EventTarget {
  #place;
  #byBrowser = false;

  /** What the server said last. */
  state = "unknown";

  /** @param {HTMLElement} place Where it is told. */
  constructor(place) {
    super();
    this.#place = place;
  }

  /** Take an `echo` message. */
  told({ state }) {
    this.state = state;
    this.#show();
    if (state !== "gated" || this.#byBrowser) return;
    this.#byBrowser = true;
    this.dispatchEvent(new Event("cancel"));
  }

  /** Whether nothing goes through the server without being silenced now and then. */
  get deaf() {
    return this.state === "gated";
  }

  /** Another source, or none: nothing is known of it. */
  forget() {
    this.state = "unknown";
    this.#byBrowser = false;
    this.#show();
  }

  #show() {
    const text = this.#byBrowser && this.state !== "gated" ? BROWSER : (FOUND[this.state] ?? "");
    setText(this.#place, text);
    this.#place.hidden = !text;
  }
}
