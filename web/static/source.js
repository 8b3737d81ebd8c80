/** The track that is sent: opened, measured, muted, let go. */

import { Trouble, explain, explainSharing } from "./errors.js";
import { SHARED, openSource } from "./sources.js";

/** Fires `ended` when the device was unplugged or sharing was stopped. */
export class Source extends EventTarget {
  #meter;
  #muted = false;

  /** The live track; null while there is none. */
  track = null;

  /** @param {import("./meter.js").Meter} meter Shows its level. */
  constructor(meter) {
    super();
    this.#meter = meter;
  }

  /**
   * Open what was chosen, without using it yet.
   *
   * @param {object} choice As openSource() takes it.
   * @throws {Trouble} In words.
   */
  async open(choice) {
    try {
      return await openSource(choice);
    } catch (error) {
      throw new Trouble(choice.id === SHARED ? explainSharing(error) : explain(error));
    }
  }

  /** Send this track from now on; the one before is closed. */
  use(track) {
    this.release();
    this.track = track;
    track.enabled = !this.#muted;
    track.onended = () => this.dispatchEvent(new Event("ended"));
    this.#meter.follow(track);
  }

  /** Close it; the browser's sign of recording goes out. */
  release() {
    this.#meter.stop();
    if (!this.track) return;
    this.track.onended = null;
    this.track.stop();
    this.track = null;
  }

  /** Whether silence is sent instead, now and with tracks to come. */
  set muted(muted) {
    this.#muted = muted;
    if (this.track) this.track.enabled = !muted;
  }
}
