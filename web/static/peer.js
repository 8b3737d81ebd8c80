/** One RTCPeerConnection: offer, trickled candidates, ICE restart, the data channel, and a watch over its life. */

const LABEL = "tolmach";
/** How long the offer waits for host candidates, which come at once; all others are trickled, ms. */
const GATHER_MS = 100;
const BATCH_MS = 50;
const ROUND_MS = 500;
/** The server pings every second. Rounds are counted, not the clock: after a stall of our own, its pings are unread. */
const SILENT_ROUNDS = 8;
/** How long the server may take to answer a goodbye by closing, ms. */
const FAREWELL_MS = 1000;
/** A disconnected ICE transport often recovers by itself, ms. */
const DISCONNECTED_MS = 2000;
/** How long an ICE restart may take, and the server over its answer, ms. */
export const RESTART_MS = 4000;

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * Events: `message` (detail: a parsed message), `remote` (detail: MediaStream), `lost` (detail: why, in words; at most
 * once until `mend()` succeeds).
 */
export class Peer extends EventTarget {
  #signalling;
  #transceiver;
  #channel;
  #trickling = false;
  #negotiated = false;
  #batch = [];
  #batchTimer = 0;
  #watch = 0;
  #disconnected = 0;
  #silent = 0;
  #lost = false;
  #broken = false;
  #closed = false;

  /**
   * @param {{iceServers: RTCIceServer[], track: MediaStreamTrack|null, signalling: {
   *   offer(sdp: string): Promise<string>, reoffer(sdp: string): Promise<string>,
   *   candidates(list: object[]): Promise<void>}}} options `offer` and `reoffer` return the answer's SDP; without a `track`
   *   nothing is said, only heard.
   */
  constructor({ iceServers, track, signalling }) {
    super();
    this.#signalling = signalling;
    this.pc = new RTCPeerConnection({ iceServers, bundlePolicy: "max-bundle" });
    this.#transceiver = track
      ? this.pc.addTransceiver(track, { direction: "sendrecv", streams: [new MediaStream([track])] })
      : this.pc.addTransceiver("audio", { direction: "recvonly" });
    this.#channel = this.pc.createDataChannel(LABEL);
    this.#channel.onopen = () => this.#beginWatch();
    this.#channel.onclose = () => this.#lose("it was closed");
    this.#channel.onmessage = (event) => this.#received(event.data);
    this.pc.ontrack = ({ track: remote, streams }) => this.#emit("remote", streams[0] ?? new MediaStream([remote]));
    this.pc.onicecandidate = ({ candidate }) => this.#trickle(candidate);
    this.pc.onconnectionstatechange = () => this.#stateChanged();
    // Also fired by pc.restartIce(), whoever calls it. Before the first answer there is nothing to renegotiate.
    this.pc.onnegotiationneeded = () => this.#negotiated && this.#renegotiate();
  }

  /** Make the first offer and take its answer. */
  async connect() {
    await this.pc.setLocalDescription();
    await this.#gathered();
    const answer = await this.#signalling.offer(this.#snapshot());
    await this.pc.setRemoteDescription({ type: "answer", sdp: answer });
    this.#negotiated = true;
    this.#flush();
  }

  /** Resolves at the first message that `matches`. Rejects when `signal` is aborted, or after `timeoutMs`. */
  message(matches, signal, timeoutMs) {
    return new Promise((resolve, reject) => {
      const limit = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
      limit.addEventListener("abort", () => reject(limit.reason), { once: true });
      this.addEventListener("message", ({ detail }) => matches(detail) && resolve(detail), { signal: limit });
      limit.throwIfAborted();
    });
  }

  /**
   * Find new paths to the same server by an ICE restart, keeping the connection.
   *
   * @returns {Promise<boolean>} Whether the server is heard over them; false when there is nothing left to mend.
   */
  async mend(signal) {
    if (!this.mendable) return false;
    try {
      await this.#restartIce(signal);
      return true;
    } catch {
      signal.throwIfAborted();
      return false;
    }
  }

  async #restartIce(signal) {
    const heard = new Promise((resolve, reject) => {
      this.addEventListener("renegotiated", ({ detail }) => (detail ? reject(detail) : resolve()), { once: true });
    });
    this.pc.restartIce();
    const limit = AbortSignal.timeout(RESTART_MS);
    await Promise.race([heard, aborted(AbortSignal.any([signal, limit]))]);
    await this.message(() => this.pc.connectionState === "connected", signal, RESTART_MS);
    this.#lost = false;
    this.#silent = 0;
  }

  /** Whether there is a connection left that ICE could mend. */
  get mendable() {
    return !this.#closed && !this.#broken && this.#channel.readyState === "open";
  }

  /** Send another track from now on; nothing is renegotiated. */
  replaceTrack(track) {
    return this.#transceiver.sender.replaceTrack(track);
  }

  /** Send a message if the channel is open. */
  send(message) {
    if (this.#channel.readyState === "open") this.#channel.send(JSON.stringify({ v: 1, ...message }));
  }

  /**
   * Say goodbye, so that the server may still write down what was said, and close. Resolves to whether it was heard.
   */
  async farewell() {
    clearInterval(this.#watch);
    const gone = new Promise((resolve) => {
      this.#channel.onclose = () => resolve(true);
    });
    this.send({ type: "bye" });
    const heard =
      this.#channel.readyState === "open" && (await Promise.race([gone, sleep(FAREWELL_MS).then(() => false)]));
    this.close();
    return heard;
  }

  /** Close without a word; the server keeps the session for a resume. Safe twice. */
  close() {
    this.#closed = true;
    clearInterval(this.#watch);
    clearTimeout(this.#disconnected);
    clearTimeout(this.#batchTimer);
    this.pc.close();
  }

  async #renegotiate() {
    let failure = null;
    try {
      this.#trickling = false;
      await this.pc.setLocalDescription();
      await this.#gathered();
      const answer = await this.#signalling.reoffer(this.#snapshot());
      await this.pc.setRemoteDescription({ type: "answer", sdp: answer });
      this.#flush();
    } catch (error) {
      // Not rolled back: the restart would still be wanted, and be offered for ever.
      this.#broken = true;
      failure = error;
    }
    this.#emit("renegotiated", failure);
    if (failure) this.#lose("the server did not take the new network path");
  }

  async #gathered() {
    if (this.pc.iceGatheringState === "complete") return;
    const complete = new Promise((resolve) => {
      this.pc.addEventListener("icegatheringstatechange", () => {
        if (this.pc.iceGatheringState === "complete") resolve();
      });
    });
    await Promise.race([complete, sleep(GATHER_MS)]);
  }

  /** The offer as it stands; candidates found from here on are trickled. */
  #snapshot() {
    this.#trickling = true;
    return this.pc.localDescription.sdp;
  }

  #trickle(candidate) {
    if (!candidate?.candidate || !this.#trickling) return;
    const { candidate: text, sdpMid, sdpMLineIndex } = candidate;
    this.#batch.push({ candidate: text, sdpMid, sdpMLineIndex });
    if (this.#negotiated) this.#flush();
  }

  #flush() {
    clearTimeout(this.#batchTimer);
    this.#batchTimer = setTimeout(() => {
      if (this.#batch.length === 0 || this.#closed) return;
      // A candidate that does not arrive costs one path; when none is left, the watch notices.
      this.#signalling.candidates(this.#batch.splice(0)).catch(() => {});
    }, BATCH_MS);
  }

  #beginWatch() {
    this.#silent = 0;
    this.#watch = setInterval(() => {
      this.#silent += 1;
      if (this.#silent >= SILENT_ROUNDS) this.#lose("the server has not been heard for some seconds");
    }, ROUND_MS);
  }

  #stateChanged() {
    clearTimeout(this.#disconnected);
    const state = this.pc.connectionState;
    if (state === "failed") this.#lose("the network path broke");
    if (state === "disconnected") {
      this.#disconnected = setTimeout(() => this.#lose("the network does not carry anything"), DISCONNECTED_MS);
    }
  }

  #received(text) {
    this.#silent = 0;
    let message;
    try {
      message = JSON.parse(text);
    } catch {
      return; // not ours
    }
    if (message?.v !== 1) return;
    if (message.type === "ping") this.send({ type: "pong", number: message.number });
    this.#emit("message", message);
  }

  #lose(why) {
    if (this.#lost || this.#closed) return;
    this.#lost = true;
    this.#emit("lost", why);
  }

  #emit(type, detail) {
    if (!this.#closed) this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

function aborted(signal) {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason);
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}
