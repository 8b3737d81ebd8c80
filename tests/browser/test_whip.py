"""Chromium as anybody's WHIP publisher and WHEP player: candidates trickle in, ICE restarts by a fragment."""

from __future__ import annotations

import pytest

from tests.browser.conftest import OpenPage

pytestmark = [pytest.mark.browser, pytest.mark.slow]

CALL = """async () => {
  const sdp = 'application/sdp', fragment = 'application/trickle-ice-sdpfrag';
  const send = (method, path, type, body, more = {}) =>
    fetch(path, { method, body, headers: { 'Content-Type': type, ...more } });
  const until = async (what, told) => {
    for (let tries = 0; tries < 300; tries++) {
      if (await what()) return;
      await new Promise((done) => setTimeout(done, 100));
    }
    throw new Error(`in vain: ${told}`);
  };
  const lines = (text, ...names) => text.split('\\r\\n').filter((s) => names.some((name) => s.startsWith(name)));
  const head = (text) =>
    [...lines(text, 'a=ice-ufrag', 'a=ice-pwd').slice(0, 2), 'm=audio 9 RTP/AVP 0', 'a=mid:0'];
  const begin = async (pc, path) => {
    const candidates = [];
    pc.onicecandidate = (event) => event.candidate?.candidate && candidates.push(`a=${event.candidate.candidate}`);
    await pc.setLocalDescription();
    const offer = pc.localDescription.sdp;  // no candidates yet
    const answered = await send('POST', path, sdp, offer);
    if (answered.status !== 201) throw new Error(await answered.text());
    const answer = await answered.text();
    await pc.setRemoteDescription({ type: 'answer', sdp: answer });
    await until(() => pc.iceGatheringState === 'complete', 'candidates');
    const body = [...head(offer), ...candidates];
    const place = answered.headers.get('Location'), tag = answered.headers.get('ETag');
    const trickled = await send('PATCH', place, fragment, body.join('\\r\\n') + '\\r\\n', { 'If-Match': tag });
    await until(() => pc.connectionState === 'connected', 'connection');
    return { place, answer, trickled: trickled.status };
  };
  const port = async (pc) => {
    const report = [...(await pc.getStats()).values()];
    const pair = report.find((s) => s.type === 'transport')?.selectedCandidatePairId;
    const found = report.find((s) => s.id === pair);
    return report.find((s) => s.id === found?.localCandidateId)?.port;
  };
  const energy = async (pc) =>
    [...(await pc.getStats()).values()].find((s) => s.type === 'inbound-rtp')?.totalAudioEnergy ?? 0;

  const speaker = new RTCPeerConnection(), listener = new RTCPeerConnection();
  const media = await navigator.mediaDevices.getUserMedia({ audio: true });
  const canvas = document.createElement('canvas');
  canvas.getContext('2d');
  speaker.addTransceiver(media.getAudioTracks()[0], { direction: 'sendonly' });
  speaker.addTransceiver(canvas.captureStream(1).getVideoTracks()[0], { direction: 'sendonly' });
  listener.addTransceiver('audio', { direction: 'recvonly' });
  const player = new Audio();
  listener.ontrack = (event) => { player.srcObject = new MediaStream([event.track]); player.play(); };
  const published = await begin(speaker, '/whip/echo?stream=chromium');
  const listening = await begin(listener, '/whep/chromium');
  await until(async () => (await energy(listener)) > 0.001, 'sound');

  const before = await port(speaker);
  speaker.restartIce();
  await speaker.setLocalDescription();
  await until(() => speaker.iceGatheringState === 'complete', 'new candidates');
  const ours = speaker.localDescription.sdp;
  const body = [...head(ours), ...lines(ours, 'a=candidate')];
  const restarted = await send('PATCH', published.place, fragment, body.join('\\r\\n') + '\\r\\n', { 'If-Match': '*' });
  const theirs = (await restarted.text()).split('\\r\\n');
  const of = (name) => theirs.find((s) => s.startsWith(name));
  const candidates = theirs.filter((s) => s.startsWith('a=candidate')).join('\\r\\n');
  const answer = published.answer
    .replace(/a=ice-ufrag:.*/g, of('a=ice-ufrag')).replace(/a=ice-pwd:.*/g, of('a=ice-pwd'))
    .replace(/(a=candidate:.*\\r\\n)+/, `${candidates}\\r\\n`);
  await speaker.setRemoteDescription({ type: 'answer', sdp: answer });
  await until(async () => (await port(speaker)) !== before, 'another path');
  const heard = await energy(listener);
  await until(async () => (await energy(listener)) > heard + 0.001, 'sound after the restart');

  const ended = (await fetch(published.place, { method: 'DELETE' })).status;
  await until(() => listener.connectionState !== 'connected', 'the end');
  media.getTracks().forEach((track) => track.stop());
  speaker.close();
  listener.close();
  return [published.trickled, listening.trickled, restarted.status, ended];
}"""


def test_chromium_publishes_and_listens(open_page: OpenPage, address: str):
    tolmach = open_page(address)
    assert tolmach.page.evaluate(CALL) == [204, 204, 200, 200]
