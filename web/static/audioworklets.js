/** What runs on the audio thread when the call goes over a WebSocket: samples to PCM and back. */

/** 20 ms, in samples of the context's rate. */
const PIECE = Math.round(sampleRate / 50);
/** What is waited for before a stretch of speech begins, so that TCP may be uneven: 100 ms. */
const CUSHION = Math.round(sampleRate / 10);
/** A stretch that is shorter than the cushion is heard all the same, after as long. */
const PATIENCE = CUSHION;
/** What waits behind a network that had stalled, and is too old to be heard: five seconds. */
const MOST = 5 * sampleRate;

/** Posts PCM, 16 bit, in pieces of 20 ms; several channels are mixed. */
class Capture extends AudioWorkletProcessor {
  #piece = new Int16Array(PIECE);
  #filled = 0;

  process([channels]) {
    const count = channels[0]?.length ?? 0;
    for (let at = 0; at < count; at += 1) {
      let sample = 0;
      for (const channel of channels) sample += channel[at];
      sample /= channels.length;
      this.#piece[this.#filled] = Math.max(-1, Math.min(1, sample)) * 32767;
      this.#filled += 1;
      if (this.#filled === PIECE) {
        this.port.postMessage(this.#piece.buffer, [this.#piece.buffer]);
        this.#piece = new Int16Array(PIECE);
        this.#filled = 0;
      }
    }
    return true;
  }
}

/** Plays PCM, 16 bit, mono, of the context's rate, as it is posted; silence between. */
class Playback extends AudioWorkletProcessor {
  #waiting = [];
  #depth = 0;
  #at = 0;
  #playing = false;
  #waited = 0;

  constructor() {
    super();
    this.port.onmessage = ({ data }) => {
      const piece = new Int16Array(data);
      this.#waiting.push(piece);
      this.#depth += piece.length;
      while (this.#depth > MOST) this.#drop();
    };
  }

  process(_, [[output]]) {
    if (!this.#playing) {
      this.#waited = this.#depth > 0 ? this.#waited + output.length : 0;
      this.#playing = this.#depth >= CUSHION || this.#waited > PATIENCE;
    }
    for (let at = 0; this.#playing && at < output.length; at += 1) {
      const [piece] = this.#waiting;
      if (!piece) {
        this.#playing = false;
        this.#waited = 0;
        break;
      }
      output[at] = piece[this.#at] / 32768;
      this.#at += 1;
      this.#depth -= 1;
      if (this.#at === piece.length) {
        this.#waiting.shift();
        this.#at = 0;
      }
    }
    return true;
  }

  #drop() {
    this.#depth -= this.#waiting.shift().length - this.#at;
    this.#at = 0;
  }
}

registerProcessor("tolmach-capture", Capture);
registerProcessor("tolmach-playback", Playback);
