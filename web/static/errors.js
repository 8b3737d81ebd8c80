/** Errors in words a person understands: what happened, and what to do. */

import { ApiError } from "./api.js";
import { sentence } from "./words.js";

/** A trouble of the page itself that is already in words. */
export class Trouble extends Error {
  constructor(message) {
    super(message);
    this.name = "Trouble";
  }
}

const MEDIA = {
  NotAllowedError:
    "The browser does not let this page use the microphone. Click the icon at the left of the address bar, allow the " +
    "microphone, and press Start again.",
  NotFoundError: "No microphone was found. Plug one in, or choose the sound of a tab under Setup.",
  NotReadableError:
    "The microphone cannot be opened. Another program may be using it; close that and press Start again.",
  OverconstrainedError: "The chosen microphone is no longer there. Choose another one under Setup.",
};

/** The same errors of getDisplayMedia. */
const SHARING = {
  NotAllowedError: "Nothing was shared. Press Start and choose a tab, with “Also share tab audio” switched on.",
  NotFoundError: "There is nothing this browser could share. Choose a microphone under Setup.",
  NotReadableError:
    "The computer does not let this browser share that. Try a tab instead of a window or the screen, or allow the " +
    "browser to record the screen in the computer's settings.",
  AbortError: "Sharing was broken off. Press Start and choose again.",
  InvalidStateError: "Browsers share sound only from a page that is in front. Click into this one and press Start again.",
  OverconstrainedError: "This browser cannot share sound in the way it was asked for. Choose another source under Setup.",
};

const SERVER = {
  busy: "All places on the server are taken.",
  draining: "The server is shutting down and takes no new sessions.",
  loading: "The server is still loading its models.",
  "too-many-requests": "The server was asked too often from this address.",
  unauthorised: "The server wants a valid access token.",
  "forbidden-origin": "The server does not accept requests from this address of the page.",
  unreachable: "The server does not answer. Check that it runs and that this computer is online.",
  "not-found": "The server does not know this session or graph any more.",
  "too-large": "The request was too large for the server.",
};

/** Codes after which it is worth trying again by itself. */
export const PASSING = new Set(["busy", "draining", "loading", "too-many-requests"]);

/** An error in words */
export function explain(error) {
  if (error instanceof Trouble) return error.message;
  if (error instanceof ApiError) {
    const known = SERVER[error.code];
    if (known) return known;
    if (error.code === "bad-graph" || error.code === "no-sample") return sentence(error.message);
    return `The server refused: ${sentence(error.message || `error ${error.status}`)}`;
  }
  if (error instanceof DOMException && error.name in MEDIA) return MEDIA[error.name];
  return `Something unexpected happened: ${sentence(error.message || String(error))}`;
}

/** Why this browser or address cannot hold a conversation at all; null when it can. */
export function obstacle() {
  if (!window.isSecureContext) {
    return (
      "Browsers give the microphone only to secure pages. Open this page as https://… or, on the server's own " +
      "computer, as http://localhost…"
    );
  }
  if (!navigator.mediaDevices?.getUserMedia || !window.RTCPeerConnection) {
    return "This browser has no WebRTC. Use a current Chrome, Edge, Firefox or Safari.";
  }
  return null;
}

/** Why sharing a tab gave no sound. */
export function explainSharing(error) {
  if (error instanceof DOMException) {
    return SHARING[error.name] ?? `Sharing failed: ${sentence(error.message || error.name)} Press Start to try again.`;
  }
  return explain(error);
}
