/** Changing the graph, its params or its settings during a session, and how that goes on. */

import { explain } from "./errors.js";
import { setText } from "./dom.js";
import { loaded, named, sentence } from "./words.js";

/** Several changes in a row become one switch, ms. */
const SETTLE_MS = 400;
const SHOWN_MS = 4000;

/** Fires `reverted` when a change was refused and the form shows again what is in use. */
export class Switching extends EventTarget {
  #root;
  #call;
  #setup;
  #catalog;
  #notices;
  #timer = 0;
  #hiding = 0;
  #used = null;
  #running = false;

  /** @param {HTMLElement} root The line that tells the progress. */
  constructor(root, call, setup, catalog, notices) {
    super();
    this.#root = root;
    this.#call = call;
    this.#setup = setup;
    this.#catalog = catalog;
    this.#notices = notices;
    call.addEventListener("session", ({ detail }) => this.#inUse(detail));
    call.addEventListener("graph", ({ detail }) => this.#told(detail));
    call.addEventListener("state", ({ detail }) => detail.state === "ended" && this.#ended());
    catalog.addEventListener("change", () => this.#compare());
  }

  /** Switch to this choice, once no other follows at once. */
  to(choice) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#send(choice), SETTLE_MS);
  }

  async #send(choice) {
    if (this.#call.state !== "live" || !choice) return;
    this.#notices.dismiss("edited");
    this.#notices.dismiss("switch");
    this.#show("loading", `Loading ${named(choice.graph)}`);
    try {
      await this.#call.switchTo(choice);
    } catch (error) {
      this.#failed(explain(error));
    }
  }

  #told({ state, graph, text }) {
    const name = named(graph);
    if (state === "loading") this.#show("loading", text ? `Loading ${name}: ${loaded(text)}` : `Loading ${name}`);
    else if (state === "waiting") this.#show("waiting", `${name} is ready and takes over in the next pause`);
    else if (state === "failed") this.#failed(text || `${name} could not be started.`);
    else {
      this.#inUse({ graph, state });
      this.#show("current", `Now using ${name}`);
      this.#hiding = setTimeout(() => this.#hide(), SHOWN_MS);
    }
  }

  #failed(text) {
    this.#hide();
    if (!this.#running) return; // the session ends now, and says why
    this.#notices.clear("event "); // they told the same
    const { current } = this.#call;
    this.#notices.show("trouble", `${sentence(text)} ${named(current.graph)} stays in use.`, { key: "switch" });
    this.#setup.show(current);
    this.dispatchEvent(new CustomEvent("reverted"));
  }

  /** Remember the graph's file as it is, to notice when it is edited. */
  #inUse({ graph, state }) {
    this.#running ||= state === "current";
    this.#used = { name: graph, revision: this.#catalog.find(graph)?.revision };
  }

  /** Offer the new version of a graph whose file was edited; the session itself is not disturbed. */
  #compare() {
    if (this.#call.state !== "live" || !this.#used) return;
    const found = this.#catalog.find(this.#used.name);
    if (!found?.ok || found.stale || found.revision === this.#used.revision) return;
    this.#used.revision = found.revision;
    this.#notices.show(
      "remark",
      `The file of ${named(found.name)} has changed. This session still uses the earlier version.`,
      {
        key: "edited",
        stays: true,
        action: { label: "Use the new one", run: () => this.#send(this.#setup.choice) },
      },
    );
  }

  #ended() {
    clearTimeout(this.#timer);
    this.#running = false;
    this.#used = null;
    this.#notices.dismiss("edited");
    this.#hide();
  }

  #show(state, text) {
    clearTimeout(this.#hiding);
    this.#root.hidden = false;
    this.#root.dataset.state = state;
    setText(this.#root, text);
  }

  #hide() {
    clearTimeout(this.#hiding);
    this.#root.hidden = true;
    setText(this.#root, "");
  }
}
