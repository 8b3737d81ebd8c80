/** The translation's voice: an audio element fed by the peer connection. */

/** Peak below which nothing is heard: -50 dB of full scale. */
const SILENCE = 10 ** (-50 / 20);
const LOOK_MS = 100;
/** A pause between the words of a sentence is no end of it, ms. */
const HOLD_MS = 600;

/** Fires `sounding` (detail: whether something is heard now), and `sampled` when a sample has ended. */
export class Player extends EventTarget {
  #audio;
  #context = null;
  #timer = 0;
  #soundedAt = -Infinity;
  #sounding = false;
  #sample = new Audio();
  #sampleUrl = "";

  /** @param {HTMLAudioElement} audio */
  constructor(audio) {
    super();
    this.#audio = audio;
    for (const end of ["ended", "error"]) this.#sample.addEventListener(end, () => this.endSample());
  }

  /** The stream that is played, or null. */
  get stream() {
    return this.#audio.srcObject;
  }

  /** Play a remote stream. Resolves to false when the browser wants a click first. */
  async play(stream) {
    this.#audio.srcObject = stream;
    this.#watch(stream);
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
    this.#unwatch();
  }

  /** Play a recording beside it, with the same volume on the same loudspeaker. Rejects when it cannot be played. */
  async sample(blob) {
    this.endSample();
    this.#sampleUrl = URL.createObjectURL(blob);
    this.#sample.src = this.#sampleUrl;
    this.#sample.volume = this.#audio.volume;
    if (this.canChoose) await this.#sample.setSinkId(this.#audio.sinkId);
    await this.#sample.play();
  }

  /** Stop the sample, if one is played. */
  endSample() {
    if (!this.#sampleUrl) return;
    this.#sample.pause();
    URL.revokeObjectURL(this.#sampleUrl);
    this.#sampleUrl = "";
    this.#sample.removeAttribute("src");
    this.dispatchEvent(new CustomEvent("sampled"));
  }

  #watch(stream) {
    this.#unwatch();
    this.#context = new AudioContext();
    this.#context.resume();
    const node = new AnalyserNode(this.#context, { fftSize: 8192 }); // 170 ms: no gap between two looks
    this.#context.createMediaStreamSource(stream).connect(node);
    const samples = new Float32Array(node.fftSize);
    this.#timer = setInterval(() => {
      node.getFloatTimeDomainData(samples);
      const now = performance.now();
      if (samples.some((sample) => Math.abs(sample) > SILENCE)) this.#soundedAt = now;
      this.#tell(now - this.#soundedAt < HOLD_MS);
    }, LOOK_MS);
  }

  #unwatch() {
    clearInterval(this.#timer);
    this.#context?.close();
    this.#context = null;
    this.#soundedAt = -Infinity;
    this.#tell(false);
  }

  #tell(sounding) {
    if (sounding === this.#sounding) return;
    this.#sounding = sounding;
    this.dispatchEvent(new CustomEvent("sounding", { detail: sounding }));
  }

  /** Volume, 0 to 1. */
  set volume(value) {
    this.#audio.volume = value;
    this.#sample.volume = value;
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
