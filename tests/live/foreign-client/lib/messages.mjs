// Sending, and what arrives: every event as this device sees it.

import {
  EventShieldColour,
  EventShieldReason,
} from "matrix-js-sdk/lib/crypto-api/index.js";
import { sdk } from "./session.mjs";
import { until } from "./until.mjs";

export async function sendText({ roomId, body }) {
  const { event_id: eventId } = await sdk().sendTextMessage(roomId, body);
  return eventId;
}

export async function sendEvent({ roomId, type, content }) {
  const { event_id: eventId } = await sdk().sendEvent(roomId, type, content);
  return eventId;
}

export async function redact({ roomId, eventId }) {
  const { event_id: redaction } = await sdk().redactEvent(roomId, eventId);
  return redaction;
}

export function waitForRedaction({ roomId, eventId, timeoutMs }) {
  const wanted = (event) => event.getId() === eventId && event.isRedacted();
  return waitForEvent({ roomId, what: eventId, timeoutMs, wanted });
}

export async function messages({ roomId, scrollback = 0 }) {
  const room = knownRoom(roomId);
  if (scrollback > 0) await sdk().scrollback(room, scrollback);
  await until("all decryptions", () => !eventsOf(roomId).some(isBusy));
  return Promise.all(eventsOf(roomId).map(describe));
}

export function waitForMessage({ roomId, body, eventId, timeoutMs }) {
  if (body === undefined && eventId === undefined) {
    throw new Error("Say which message to wait for: body or eventId");
  }
  const wanted = (event) =>
    !event.isDecryptionFailure() &&
    (eventId === undefined || event.getId() === eventId) &&
    (body === undefined || event.getContent().body === body);
  const what = eventId ?? `'${body}'`;
  return waitForEvent({ roomId, what, timeoutMs, wanted });
}

// `code` waits for one reason among all: a first one is often replaced by a
// better one when a to-device message explains it.
export function waitForUtd({ roomId, eventId, code, timeoutMs }) {
  const wanted = (event) =>
    event.isDecryptionFailure() &&
    (eventId === undefined || event.getId() === eventId) &&
    (code === undefined || event.decryptionFailureReason === code);
  const what = `failure ${code ?? "of any kind"} of ${eventId ?? "any event"}`;
  return waitForEvent({ roomId, what, timeoutMs, wanted });
}

async function waitForEvent({ roomId, what, timeoutMs, wanted }) {
  const find = () => eventsOf(roomId).find((e) => !isBusy(e) && wanted(e));
  try {
    return await describe(await until(`${what} in ${roomId}`, find, timeoutMs));
  } catch (error) {
    const reasons = eventsOf(roomId)
      .filter((event) => event.isDecryptionFailure())
      .map((event) => `${event.getId()} ${event.decryptionFailureReason}`);
    error.message += `; undecryptable there: ${reasons.join(", ") || "none"}`;
    throw error;
  }
}

function knownRoom(roomId) {
  const room = sdk().getRoom(roomId);
  if (!room) throw new Error(`This device knows no room ${roomId}`);
  return room;
}

// Own events that have not come back from the server are no events yet.
function eventsOf(roomId) {
  const timelines =
    sdk().getRoom(roomId)?.getUnfilteredTimelineSet().getTimelines() ?? [];
  return timelines
    .flatMap((timeline) => timeline.getEvents())
    .filter((event) => event.status === null);
}

function isBusy(event) {
  // The SDK leaves old events encrypted until somebody looks at them.
  void sdk().decryptEventIfNeeded(event);
  return event.isBeingDecrypted();
}

async function describe(event) {
  const failure = event.decryptionFailureReason;
  return {
    event_id: event.getId(),
    room_id: event.getRoomId(),
    sender: event.getSender(),
    origin_server_ts: event.getTs(),
    type: event.getType(),
    content: event.getContent(),
    // The SDK puts its own words where it cannot read.
    body: failure ? null : (event.getContent().body ?? null),
    encrypted: event.isEncrypted(),
    // The edit that the SDK shows in place of the event; `content` is its.
    replaced_by: event.replacingEventId() ?? null,
    redacted: event.isRedacted(),
    thread: event.threadRootId ?? null,
    failure,
    shield: await shieldOf(event),
    wire: { type: event.getWireType(), content: event.getWireContent() },
  };
}

async function shieldOf(event) {
  const info = event.isEncrypted()
    ? await sdk().getCrypto().getEncryptionInfoForEvent(event)
    : null;
  if (!info) return null;
  return {
    color: EventShieldColour[info.shieldColour],
    reason: EventShieldReason[info.shieldReason] ?? null,
  };
}
