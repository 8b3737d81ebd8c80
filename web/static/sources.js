/** Where the speech comes from: microphones, loopback devices, the sound of a tab or of the whole system. */

import { Trouble } from "./errors.js";

/** The source that is not a device: what getDisplayMedia shares. */
export const SHARED = "shared";

/** Names of devices that carry what the computer plays instead of what a microphone hears. */
const LOOPBACK = new RegExp(
  "stereo ?mix|стерео ?микшер|what u hear|wave out mix|loopback|\\bmonitor\\b|" +
    "blackhole|soundflower|vb-audio|voicemeeter|\\bcable\\b",
  "i",
);

/** Whether a device's name is that of a loopback device. */
export const isLoopback = (label) => LOOPBACK.test(label);

/**
 * The audio inputs; `named` is false until the person has allowed a microphone once, for before that browsers tell
 * neither names nor numbers.
 */
export async function listDevices() {
  const all = (await navigator.mediaDevices?.enumerateDevices?.()) ?? [];
  const inputs = all.filter((d) => d.kind === "audioinput" && d.deviceId !== "communications");
  const outputs = all.filter((d) => d.kind === "audiooutput" && d.deviceId !== "communications");
  return {
    named: inputs.some((d) => d.label),
    inputs: inputs
      .filter((d) => d.label)
      .map((d) => ({ id: d.deviceId, label: d.label, loopback: isLoopback(d.label) })),
    outputs: outputs.filter((d) => d.label).map((d) => ({ id: d.deviceId, label: d.label })),
  };
}

/** Whether tabs can be shared with their sound (no phone's browser can). */
export const canShare = () => typeof navigator.mediaDevices?.getDisplayMedia === "function";

/** Whether the browser can silence the shared tab while it is translated. */
export const canSilenceShared = () =>
  Boolean(navigator.mediaDevices?.getSupportedConstraints?.().suppressLocalAudioPlayback);

/**
 * Open a source.
 *
 * @param {{id: string, loopback: boolean, cancelEcho: boolean, silenceShared: boolean}} choice `id`: a device id, ""
 *   for the default microphone, or SHARED; `cancelEcho`: whether the browser takes the loudspeaker out of it, which costs
 *   every second sentence that is spoken over it, also where it is not heard at all: the server finds that out first.
 * @returns {Promise<MediaStreamTrack>} A live audio track.
 */
export function openSource(choice) {
  return choice.id === SHARED ? openShared(choice.silenceShared) : openDevice(choice);
}

/** Tracks that carry the sound of one other tab, and so nothing of ours. */
const ofOneTab = new WeakSet();

/** Whether what we play may come back in a track: through the air, or because it carries all that this computer plays. */
export const mayCarryUs = ({ headphones }, track) => !headphones && !ofOneTab.has(track);

async function openDevice({ id, loopback, cancelEcho }) {
  // A loopback device carries a clean mix: whatever the browser would "improve" there damages speech.
  const open = (echoCancellation) =>
    navigator.mediaDevices.getUserMedia({
      audio: {
        ...(id ? { deviceId: { exact: id } } : {}),
        echoCancellation,
        noiseSuppression: !loopback,
        autoGainControl: !loopback,
      },
    });
  // Of a device that is open Chrome gives another track with the same treatment, unless told that it will not do.
  const stream = await open({ exact: cancelEcho }).catch((error) => {
    if (error.constraint !== "echoCancellation") throw error;
    return open(cancelEcho); // a device that knows only one treatment
  });
  const [track] = stream.getAudioTracks();
  track.contentHint = "speech";
  return track;
}

async function openShared(silence) {
  const supported = navigator.mediaDevices.getSupportedConstraints();
  const stream = await navigator.mediaDevices.getDisplayMedia({
    video: true, // Chrome shares no sound without a picture
    audio: {
      echoCancellation: false,
      noiseSuppression: false,
      autoGainControl: false,
      // The translation this page plays must not come back as something to translate.
      ...(supported.restrictOwnAudio ? { restrictOwnAudio: true } : {}),
      ...(supported.suppressLocalAudioPlayback ? { suppressLocalAudioPlayback: silence } : {}),
    },
    systemAudio: "include",
    selfBrowserSurface: "exclude",
    surfaceSwitching: "include",
  });
  const [track] = stream.getAudioTracks();
  for (const video of stream.getVideoTracks()) {
    if (track && video.getSettings().displaySurface === "browser") ofOneTab.add(track);
    video.stop(); // the picture is never sent
  }
  if (!track) {
    throw new Trouble("It was shared without sound. Press Start again and switch on “Also share tab audio”.");
  }
  return track;
}
