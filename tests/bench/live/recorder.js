// Records its two inputs together, so that both are on one clock: 8192 frames a message, 16 bit, microphone then remote.
const BLOCK = 8192;

class Recorder extends AudioWorkletProcessor {
  constructor() {
    super();
    this.begin();
  }

  begin() {
    this.samples = new Int16Array(2 * BLOCK);
    this.filled = 0;
  }

  process(inputs) {
    if (this.filled === 0) this.frame = currentFrame;
    const quantum = 128;
    for (let i = 0; i < 2; i++) {
      const channel = inputs[i][0];
      const at = i * BLOCK + this.filled;
      if (channel) for (let n = 0; n < quantum; n++) this.samples[at + n] = Math.max(-1, Math.min(1, channel[n])) * 32767;
    }
    this.filled += quantum;
    if (this.filled === BLOCK) {
      this.port.postMessage({frame: this.frame, samples: this.samples}, [this.samples.buffer]);
      this.begin();
    }
    return true;
  }
}

registerProcessor("recorder", Recorder);
