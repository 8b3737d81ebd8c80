/** The choice of the source and of the loudspeaker, and what goes with them. */

import { make } from "./dom.js";
import { recall, remember } from "./prefs.js";
import { SHARED, canShare, canSilenceShared, listDevices } from "./sources.js";

const DEFAULT = "";

const HEADPHONES =
  "Off: the server finds out whether the microphone hears the loudspeaker, and takes that out. On: nothing is looked " +
  "for, and nothing is taken out.";
const NO_AIR =
  "Echo cancellation is off: no sound gets from the loudspeaker back into this source through the air. A source that " +
  "carries all this computer plays is not listened to while it carries the translation; another loudspeaker avoids that.";

/** Fires `source` and `output` when the person chose another one, or another treatment of the same. */
export class SourcePicker extends EventTarget {
  #parts;
  #inputs = [];

  /** Whether the browser is to take the loudspeaker out of a microphone; at first it is not. */
  cancelEcho = false;

  /**
   * @param {{source: HTMLSelectElement, headphones: HTMLInputElement, headphonesHint: HTMLElement,
   *   silence: HTMLInputElement, hint: HTMLElement, output: HTMLSelectElement}} parts
   * @param {boolean} canChooseOutput Whether this browser can play on a chosen device.
   */
  constructor(parts, canChooseOutput) {
    super();
    this.#parts = parts;
    this.canChooseOutput = canChooseOutput;
    parts.headphones.checked = recall("headphones", false);
    parts.silence.checked = recall("silence", false);
    parts.source.addEventListener("change", () => this.#picked("source", parts.source.value));
    parts.headphones.addEventListener("change", () => this.#picked("headphones", parts.headphones.checked));
    parts.silence.addEventListener("change", () => this.#picked("silence", parts.silence.checked));
    parts.output.addEventListener("change", () => {
      remember("output", parts.output.value);
      this.dispatchEvent(new CustomEvent("output", { detail: parts.output.value }));
    });
    navigator.mediaDevices?.addEventListener?.("devicechange", () => this.refresh());
  }

  /** What is chosen, as openSource() takes it. */
  get choice() {
    const id = this.#parts.source.value;
    return {
      id,
      loopback: this.#isLoopback(id),
      cancelEcho: this.cancelEcho && this.#isMicrophone(id) && !this.#parts.headphones.checked,
      headphones: this.#isMicrophone(id) && this.#parts.headphones.checked,
      silenceShared: this.#parts.silence.checked,
    };
  }

  /** List the devices anew: after permission, and when something was plugged in or out. */
  async refresh() {
    const { named, inputs, outputs } = await listDevices();
    this.#inputs = inputs;
    const { source, hint, output } = this.#parts;
    const option = ({ id, label, loopback }) => make("option", { value: id }, loopback ? `${label} (loopback)` : label);
    const microphones = inputs.filter((d) => !d.loopback && d.id !== "default");
    const loopbacks = inputs.filter((d) => d.loopback && d.id !== "default");
    const group = (label, options) => (options.length ? [make("optgroup", { label }, ...options)] : []);
    source.replaceChildren(
      ...group("Microphone", [make("option", { value: DEFAULT }, "Default microphone"), ...microphones.map(option)]),
      ...group("Sound of this computer", [
        ...loopbacks.map(option),
        ...(canShare() ? [make("option", { value: SHARED }, "A tab, a window or the whole system")] : []),
      ]),
    );
    hint.hidden = named;
    this.#select(source, recall("source", DEFAULT));
    output.closest(".field").hidden = !this.canChooseOutput || outputs.length < 2;
    output.replaceChildren(
      make("option", { value: "" }, "Default loudspeaker"),
      ...outputs.filter((d) => d.id !== "default").map(option),
    );
    this.#select(output, recall("output", ""));
    this.#adapt();
  }

  /** The remembered one, as long as it is there. */
  #select(select, value) {
    select.value = value;
    if (select.selectedIndex < 0) select.value = "";
  }

  #picked(name, value) {
    remember(name, value);
    this.#adapt();
    this.dispatchEvent(new CustomEvent("source"));
  }

  #isLoopback(id) {
    return this.#inputs.some((d) => d.id === id && d.loopback);
  }

  #isMicrophone(id) {
    return id !== SHARED && !this.#isLoopback(id);
  }

  #adapt() {
    const { source, headphones, headphonesHint, silence } = this.#parts;
    const isMicrophone = this.#isMicrophone(source.value);
    headphones.disabled = !isMicrophone;
    headphonesHint.textContent = isMicrophone ? HEADPHONES : NO_AIR;
    silence.closest(".field").hidden = source.value !== SHARED || !canSilenceShared();
  }
}
