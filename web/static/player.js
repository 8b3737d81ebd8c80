/** The translation's voice: an audio element fed by the peer connection. */

export class Player {
  #audio;

  /** @param {HTMLAudioElement} audio */
  constructor(audio) {
    this.#audio = audio;
  }

  /** The stream that is played, or null. */
  get stream() {
    return this.#audio.srcObject;
  }

  /** Play a remote stream. Resolves to false when the browser wants a click first. */
  async play(stream) {
    this.#audio.srcObject = stream;
    return this.resume();
  }

  /** Play on, after a click. */
  async resume() {
    try {
      await this.#audio.play();
      return true;
    } catch (error) {
      // AbortError: another stream took its place meanwhile, which plays itself.
      return error.name === "AbortError";
    }
  }

  /** Let go of the stream. */
  stop() {
    this.#audio.pause();
    this.#audio.srcObject = null;
  }

  /** Volume, 0 to 1. */
  set volume(value) {
    this.#audio.volume = value;
  }

  /** Whether another loudspeaker can be chosen. */
  get canChoose() {
    return typeof this.#audio.setSinkId === "function";
  }

  /** Play on this output device; "" is the default one. */
  async choose(deviceId) {
    await this.#audio.setSinkId(deviceId);
  }
}
