/** How far the voice is behind the speaker, and whether it hurries; in small words, while something is spoken. */

import { setText } from "./dom.js";

/** What is less is what hearing and translating always take, ms. */
const WORTH_SAYING_MS = 1000;
/** A pause between two sentences is no end of what was told, ms. */
const STAYS_MS = 2500;

export class Pace {
  #root;
  #timer = 0;

  /** @param {HTMLElement} root No live region: nobody wants this read out at each sentence. */
  constructor(root) {
    this.#root = root;
  }

  /** A `voice` message: a text begins to be spoken. */
  told({ lag_ms: lagMs, tempo }) {
    clearTimeout(this.#timer);
    const late = lagMs >= WORTH_SAYING_MS ? `voice ${Math.round(lagMs / 1000)} s behind` : "";
    const fast = tempo > 1.005 ? `${tempo.toFixed(2)}× as fast` : "";
    setText(this.#root, [late, fast].filter(Boolean).join(", "));
    this.#root.classList.toggle("hurried", Boolean(fast));
  }

  /** Whether the voice is heard now; what was told goes when it is not for a while. */
  set sounding(sounding) {
    clearTimeout(this.#timer);
    if (!sounding) this.#timer = setTimeout(() => this.clear(), STAYS_MS);
  }

  /** Nobody speaks. */
  clear() {
    clearTimeout(this.#timer);
    setText(this.#root, "");
  }
}
