/** The graphs the server offers, kept up to date while files are edited, added and broken. */

const EVERY_MS = 2000;

/** Events: `change` (detail: the new list), `unreachable` (detail: error; once), `answered` (each time). */
export class Catalog extends EventTarget {
  #api;
  #timer = 0;
  #state = null;
  #failed = 0;
  /** Whether the server has stopped answering. */
  lost = false;
  graphs = [];
  default = null;

  /** @param {import("./api.js").Api} api */
  constructor(api) {
    super();
    this.#api = api;
    document.addEventListener("visibilitychange", () => document.hidden || this.poll());
  }

  /** Ask now, and again every two seconds; not while nobody looks. */
  async poll() {
    clearTimeout(this.#timer);
    try {
      this.#take(await this.#api.json("GET", "graphs"));
      this.#failed = 0;
      this.lost = false;
      this.dispatchEvent(new CustomEvent("answered"));
    } catch (error) {
      this.#failed += 1;
      this.#state = null; // another server may answer next, which counts from the start
      if (this.#failed < 2 || this.lost) return; // one miss is a hiccup
      this.lost = true;
      this.dispatchEvent(new CustomEvent("unreachable", { detail: error }));
    } finally {
      clearTimeout(this.#timer);
      if (!document.hidden) this.#timer = setTimeout(() => this.poll(), EVERY_MS);
    }
  }

  /** The graph of this name, or undefined. */
  find(name) {
    return this.graphs.find((graph) => graph.name === name);
  }

  #take({ default: chosen, revision, graphs }) {
    // The revision is that of the files; models may arrive on the server's disk between two of them.
    const state = JSON.stringify([revision, graphs.map(({ missing }) => missing)]);
    if (state === this.#state) return;
    this.#state = state;
    this.default = chosen;
    this.graphs = graphs;
    this.dispatchEvent(new CustomEvent("change", { detail: graphs }));
  }
}
