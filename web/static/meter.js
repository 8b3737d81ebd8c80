/** The level of the source, as a bar and in words for screen readers. */

const FLOOR_DB = -60;
const SPOKEN_EVERY_MS = 1000;
/** Digital silence after which a microphone is suspected to be switched off, ms. */
const DEAD_AFTER_MS = 5000;

export class Meter extends EventTarget {
  #root;
  #bar;
  #context = null;
  #node = null;
  #timer = 0;
  #samples = new Float32Array(1024);
  #level = 0;
  #spokenAt = 0;
  #silentSince = 0;
  #deadTold = false;

  /** @param {HTMLElement} root With role="meter" and one child, the bar. */
  constructor(root) {
    super();
    this.#root = root;
    this.#bar = root.firstElementChild;
  }

  /** Follow a track; call after a click, or browsers keep the audio context suspended. */
  follow(track) {
    this.stop();
    this.#context = new AudioContext({ latencyHint: "interactive" });
    this.#context.resume();
    this.#node = new AnalyserNode(this.#context, { fftSize: this.#samples.length });
    this.#context.createMediaStreamSource(new MediaStream([track])).connect(this.#node);
    this.#silentSince = performance.now();
    this.#deadTold = false;
    // 20 Hz, not every frame: enough for the eye, and it goes on in hidden tabs without piling up.
    this.#timer = setInterval(() => this.#draw(track), 50);
  }

  /** Stop and show nothing. */
  stop() {
    clearInterval(this.#timer);
    this.#context?.close();
    this.#context = this.#node = null;
    this.#show(0);
  }

  #draw(track) {
    this.#node.getFloatTimeDomainData(this.#samples);
    let peak = 0;
    for (const sample of this.#samples) peak = Math.max(peak, Math.abs(sample));
    const now = performance.now();
    if (peak > 0 || !track.enabled) {
      this.#silentSince = now;
      if (this.#deadTold && peak > 0) {
        this.#deadTold = false;
        this.dispatchEvent(new CustomEvent("dead", { detail: false }));
      }
    } else if (!this.#deadTold && now - this.#silentSince > DEAD_AFTER_MS) {
      this.#deadTold = true;
      this.dispatchEvent(new CustomEvent("dead", { detail: true }));
    }
    const db = peak > 0 && track.enabled ? 20 * Math.log10(peak) : FLOOR_DB;
    const level = Math.min(1, Math.max(0, 1 - db / FLOOR_DB));
    this.#show(Math.max(level, this.#level * 0.85)); // rises at once, falls gently
  }

  #show(level) {
    this.#level = level < 0.005 ? 0 : level;
    this.#bar.style.clipPath = `inset(0 ${((1 - this.#level) * 100).toFixed(1)}% 0 0)`;
    const now = performance.now();
    if (this.#level > 0 && now - this.#spokenAt < SPOKEN_EVERY_MS) return;
    this.#spokenAt = now;
    this.#root.setAttribute("aria-valuenow", String(Math.round(this.#level * 100)));
  }
}
