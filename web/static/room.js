/** The page of a room: for who listens, who speaks, and the host. What it was opened with stands behind the `#`. */

import { Api } from "./api.js";
import { Captions } from "./captions.js";
import { $, make, setText } from "./dom.js";
import { explain, obstacle } from "./errors.js";
import { Meter } from "./meter.js";
import { Notices } from "./notices.js";
import { Player } from "./player.js";
import { recall, remember } from "./prefs.js";
import { RoomCall } from "./roomcall.js";
import { Seats, seatName } from "./seats.js";
import { Source } from "./source.js";
import { listDevices } from "./sources.js";
import { BYWAY } from "./ways.js";
import { languageName, named, sentence } from "./words.js";

const LOOK_MS = 3000;
const SHOWN = 400;
const FILES = { "subtitles.srt": "SRT", "subtitles.vtt": "VTT", "transcript.json": "JSON" };

const notices = new Notices($("notices"));
const player = new Player($("voice"));
const source = new Source(new Meter($("meter")));
const captions = new Captions({
  scroller: $("captions"),
  list: $("caption-list"),
  pending: $("pending"),
  latest: $("latest"),
  said: $("said"),
});
const trouble = (text, key = "trouble") => notices.show("trouble", text, { key });

const [roomId, code] = location.hash.slice(1).split("~");
const api = new Api(async () => null, { code: code ?? "" });

/** What the server said of the room last; the seat this page sits at; its call. */
let room = null;
let seat = null;
let call = null;
/** Messages of captions, for those who choose among languages. */
const told = [];
let reading = "";
let cancelEcho = false;
let people = {};

// The room ------------------------------------------------------------------------------------------------------------

async function look() {
  if (!roomId || !code) {
    showStatus("failed", "No room");
    trouble("This page needs a link to a room. Ask whoever has opened it for one.", "room");
    return false;
  }
  try {
    room = await api.json("GET", `rooms/${encodeURIComponent(roomId)}`);
    notices.dismiss("unreachable");
  } catch (error) {
    if (error.code === "unreachable") trouble(explain(error), "unreachable");
    else {
      showStatus("failed", "No room");
      const why = { "not-found": "There is no such room any more.", unauthorised: "This link is not complete, or wrong." };
      trouble(why[error.code] ?? explain(error), "room");
    }
    return error.code === "unreachable" && room !== null;
  }
  return true;
}

function show() {
  people = { ...people, ...Object.fromEntries([...room.seats, ...room.speakers].map((each) => [each.seat, each.people])) };
  setText($("title"), `Room: ${named(room.graph)}`);
  if (room.host) hosted.show(room.seats);
  if (room.state === "ended") {
    showStatus("ended", "The room has ended");
    setText($("presence"), sentence(room.end_reason));
    $("start").disabled = $("end").disabled = true;
    return;
  }
  showPresence();
}

function showPresence() {
  const speakers = room.speakers.filter(({ seat: name }) => name !== seat?.seat);
  const words = speakers.map(({ seat: name, ...rest }) => {
    const here = people[name] ? "is here" : "is not here yet";
    return `${seatName({ seat: name, ...rest })} ${here}.`;
  });
  const audience = Object.entries(people).filter(([name]) => !room.speakers.some((each) => each.seat === name));
  const listeners = audience.reduce((sum, [, count]) => sum + count, 0);
  if (seat?.speaks && room.host && audience.length) words.push(listeners === 1 ? "1 listener." : `${listeners} listeners.`);
  setText($("presence"), words.join(" "));
}

const hosted = new Seats($("seats"), $("big"), api, roomId);

function beginHost() {
  $("host").hidden = false;
  if (["localhost", "127.0.0.1", "[::1]"].includes(location.hostname)) {
    $("reach").hidden = false;
    setText($("reach"), "You have opened this page at an address that only this computer knows. For telephones and " +
      "other computers, open it at one that they can reach, and open the room there.");
  }
  $("my-seat").replaceChildren(...room.seats.map((each) => make("option", { value: each.seat }, seatName(each))));
  $("my-seat").addEventListener("change", () => sit($("my-seat").value));
  $("end").addEventListener("click", async () => {
    if (!confirm("End the room for everybody?")) return;
    try {
      await api.request("DELETE", `rooms/${encodeURIComponent(roomId)}`);
      if (await look()) show();
    } catch (error) {
      trouble(explain(error));
    }
  });
}

// The seat ------------------------------------------------------------------------------------------------------------

/** Take one of the seats whose code this page knows. */
async function sit(name) {
  if (call) await call.leave();
  seat = room.seats.find((each) => each.seat === name);
  const how = { iceServers: room.ice_servers, hasByway: room.websocket };
  call = new RoomCall(new Api(async () => null, { code: seat.code ?? code }), roomId, how);
  follow(call);
  const does = seat.speaks ? "You speak" : seat.hears ? "You hear" : "You read";
  setText($("seat-name"), `${does}: ${seatName(seat)}`);
  $("level").hidden = $("mute").hidden = !seat.speaks;
  $("source-field").hidden = !seat.speaks;
  $("volume-field").hidden = !seat.hears;
  showReading();
  showControls("idle");
  setText(
    $("empty-text"),
    seat.speaks ? "Press Speak. What you say appears here." : "Press Listen. What is said appears here, in your language.",
  );
}

/** Who only speaks is told every language, and chooses which to read. */
function showReading() {
  const langs = room.host ? [...new Set(room.seats.filter((each) => each.reads).map((each) => each.lang))] : [];
  $("reading").hidden = !(seat.speaks && !seat.hears && langs.length > 1);
  reading = $("reading").hidden ? "" : langs.includes(seat.lang) ? seat.lang : langs[0];
  $("reading-language").replaceChildren(...langs.map((lang) => make("option", { value: lang }, languageName(lang))));
  $("reading-language").value = reading;
}

$("reading-language").addEventListener("change", () => {
  reading = $("reading-language").value;
  captions.begin();
  $("caption-list").replaceChildren();
  for (const caption of told) if (caption.target_lang === reading) captions.add({ ...caption, replayed: true });
});

function caption(message) {
  told.push(message);
  if (told.length > SHOWN) told.shift();
  if (reading && message.target_lang !== reading) return;
  $("empty").hidden = true;
  $("downloads").hidden = false;
  captions.add(message);
}

// The call ------------------------------------------------------------------------------------------------------------

const isOn = () => ["joining", "live", "reconnecting"].includes(call?.state);

async function start(takeOver = false) {
  notices.clear();
  const mine = call;
  try {
    let track = null;
    if (seat.speaks) {
      showStatus("asking", "Waiting for the microphone");
      track = await source.open({ id: $("source").value, loopback: false, cancelEcho });
      source.use(track);
      showDevices();
    }
    await mine.join(track, takeOver);
  } catch (error) {
    source.release();
    showControls("idle");
    if (error.name === "AbortError") return;
    showStatus("idle", "Ready");
    if (error.code === "conflict" && !takeOver && room.state !== "ended") {
      notices.show("trouble", "Somebody speaks from this seat already, with the same link.", {
        key: "taken",
        action: { label: "Take over", run: () => start(true) },
      });
    } else trouble(explain(error));
  }
}

function follow(of) {
  const on = (type, what) => of.addEventListener(type, ({ detail }) => of === call && what(detail));
  on("state", ({ state, reason }) => {
    showControls(state);
    const words = { idle: "Ready", joining: "Connecting", live: "Live", ended: "Left" };
    showStatus(state === "joining" ? "starting" : state, words[state] ?? `Connection lost: ${reason}. Trying again`);
    if (state === "ended" || state === "idle") {
      source.release();
      player.stop();
      captions.pending(null);
    }
  });
  on("ended", async (error) => {
    if (error) trouble(explain(error), "ended");
    if (await look()) show();
  });
  on("remote", async (stream) => {
    if (!seat.hears || (await player.play(stream))) return;
    notices.show("trouble", "The browser waits for your permission to play sound.", {
      key: "autoplay",
      action: { label: "Play", run: () => player.resume() },
    });
  });
  on("byway", (goesOver) => (goesOver ? notices.keep("remark", BYWAY, "byway") : notices.dismiss("byway")));
  on("room", (message) => tellPeople(message.people));
  on("people", (message) => tellPeople(message.people));
  on("caption", caption);
  on("speech", ({ active }) => captions.pending(active ? "hearing" : "translating"));
  on("graph", ({ state, text }) => {
    const loads = state === "loading" ? `The translation is being loaded: what is said now is not heard yet. ${text}` : "";
    if (loads) notices.keep("remark", loads, "loading");
    else notices.dismiss("loading");
  });
  on("event", ({ kind, element, text }) => {
    if (kind === "error") trouble(element ? `${element}: ${sentence(text)}` : sentence(text), `event ${element}`);
  });
  on("echo", ({ state }) => {
    if (state === "gated" && !cancelEcho) {
      cancelEcho = true; // the server cannot take our voice out: the browser is asked to
      openAnother();
    }
  });
}

function tellPeople(told) {
  people = { ...people, ...told };
  showPresence();
  if (room.host) hosted.show(room.seats.map((each) => ({ ...each, people: people[each.seat] ?? each.people })));
}

async function openAnother() {
  if (!isOn() || !seat.speaks) return;
  try {
    const track = await source.open({ id: $("source").value, loopback: false, cancelEcho });
    await call.replaceTrack(track);
    source.use(track);
  } catch (error) {
    trouble(explain(error), "source");
  }
}

async function showDevices() {
  const { inputs } = await listDevices();
  const chosen = $("source").value;
  const standard = make("option", { value: "" }, "Default microphone");
  $("source").replaceChildren(standard, ...inputs.map(({ id, label }) => make("option", { value: id }, label)));
  $("source").value = chosen;
}

function showControls(state) {
  const on = ["joining", "live", "reconnecting"].includes(state);
  $("start").dataset.on = String(on);
  setText($("start"), on ? "Leave" : seat.speaks ? "Speak" : seat.hears ? "Listen" : "Read");
  $("start").disabled = room.state === "ended" || (seat.speaks && obstacle() !== null);
  $("mute").disabled = !on;
  if (!on) setMuted(false);
}

function setMuted(muted) {
  $("mute").setAttribute("aria-pressed", String(muted));
  source.muted = muted;
  setText($("level-note"), muted ? "Muted: nothing is sent" : "");
}

function showStatus(state, text) {
  $("status").dataset.state = state;
  setText($("status"), text);
}

$("start").addEventListener("click", () => (isOn() ? call.leave() : start()));
$("mute").addEventListener("click", () => setMuted($("mute").getAttribute("aria-pressed") !== "true"));
$("source").addEventListener("change", openAnother);
source.addEventListener("ended", () => trouble("The microphone has gone. Plug it in again, or choose another one.", "source"));
$("volume").value = recall("volume", 100);
player.volume = $("volume").value / 100;
$("volume").addEventListener("input", () => {
  player.volume = $("volume").value / 100;
  remember("volume", Number($("volume").value));
});
$("downloads").replaceChildren(
  ...Object.entries(FILES).map(([file, short]) => {
    const button = make("button", { type: "button", class: "plain" }, short);
    button.addEventListener("click", () => save(file));
    return button;
  }),
);

async function save(file) {
  try {
    const query = room.host ? `?seat=${encodeURIComponent(seat.seat)}` : "";
    const response = await api.request("GET", `rooms/${encodeURIComponent(roomId)}/${file}${query}`);
    const address = URL.createObjectURL(await response.blob());
    const link = make("a", { href: address, download: `tolmach-${seat.seat}-${file}` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(address), 60_000);
  } catch (error) {
    trouble(explain(error), "saved");
  }
}

// Begin ---------------------------------------------------------------------------------------------------------------

const hook = {};
const values = {
  state: () => call?.state ?? "idle",
  room: () => room,
  seat: () => seat?.seat ?? null,
  people: () => people,
  captions: () => captions.all,
  pc: () => call?.pc ?? null,
  socket: () => call?.socket ?? null,
  source: () => source.track,
  remote: () => player.stream,
};
for (const [name, get] of Object.entries(values)) Object.defineProperty(hook, name, { get, enumerable: true });
window.tolmach = Object.freeze(hook);

window.addEventListener("hashchange", () => location.reload()); // another link in the same tab

if (await look()) {
  if (room.host) beginHost();
  const [first] = room.seats;
  await sit(first.seat);
  if (seat.speaks && obstacle()) trouble(obstacle(), "obstacle");
  if (seat.speaks) showDevices();
  showStatus("idle", "Ready");
  show();
  setInterval(async () => {
    if (!document.hidden && room.state !== "ended" && (await look())) show();
  }, LOOK_MS);
}
