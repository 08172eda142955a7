// Rooms and who is in them. What changes a room returns when the SDK has seen
// the change in its own sync, so that the next operation builds on it.

import { sdk } from "./session.mjs";
import { until } from "./until.mjs";

const list = (x) => (x === undefined || x === null ? [] : [x].flat());

export async function createRoom({
  invite,
  encrypted = true,
  name,
  historyVisibility,
  rotation = {},
  preset = "private_chat",
}) {
  const state = [];
  if (encrypted) state.push(encryptionEvent(rotation));
  if (historyVisibility) state.push(visibilityEvent(historyVisibility));
  const { room_id: roomId } = await sdk().createRoom({
    preset,
    name,
    invite: list(invite),
    initial_state: state,
  });
  await seenAs(roomId, "join");
  if (encrypted) await until("encryption of the new room", isEncrypted(roomId));
  return roomId;
}

function encryptionEvent({ periodMs, periodMsgs }) {
  return {
    type: "m.room.encryption",
    state_key: "",
    content: {
      algorithm: "m.megolm.v1.aes-sha2",
      rotation_period_ms: periodMs,
      rotation_period_msgs: periodMsgs,
    },
  };
}

function visibilityEvent(historyVisibility) {
  return {
    type: "m.room.history_visibility",
    state_key: "",
    content: { history_visibility: historyVisibility },
  };
}

const isEncrypted = (roomId) => () =>
  sdk().getCrypto().isEncryptionEnabledInRoom(roomId);

function seenAs(roomId, membership, timeoutMs) {
  return until(
    `membership '${membership}' in ${roomId}`,
    () => sdk().getRoom(roomId)?.getMyMembership() === membership,
    timeoutMs,
  );
}

export async function invite({ roomId, userId }) {
  await sdk().invite(roomId, userId);
  await waitForMember({ roomId, userId, membership: "invite" });
}

export async function join({ roomId }) {
  await sdk().joinRoom(roomId);
  await seenAs(roomId, "join");
  // State that names an encryption reaches the crypto a little later.
  const room = sdk().getRoom(roomId);
  if (room.hasEncryptionStateEvent()) {
    await until("encryption of the joined room", isEncrypted(roomId));
  }
  return roomId;
}

// Waits for at least one invitation, joins all there are.
export async function joinInvites({ timeoutMs } = {}) {
  const invited = await until(
    "an invitation",
    () => {
      const found = sdk()
        .getRooms()
        .filter((room) => room.getMyMembership() === "invite");
      return found.length > 0 && found;
    },
    timeoutMs,
  );
  return Promise.all(invited.map(({ roomId }) => join({ roomId })));
}

export async function leave({ roomId }) {
  await sdk().leave(roomId);
  await seenAs(roomId, "leave");
}

export async function kick({ roomId, userId, reason }) {
  await sdk().kick(roomId, userId, reason);
  await waitForMember({ roomId, userId, membership: "leave" });
}

export async function waitForMember({
  roomId,
  userId,
  membership = "join",
  timeoutMs,
}) {
  await until(
    `membership '${membership}' of ${userId} in ${roomId}`,
    () => sdk().getRoom(roomId)?.getMember(userId)?.membership === membership,
    timeoutMs,
  );
}

export function members({ roomId }) {
  return sdk()
    .getRoom(roomId)
    .currentState.getMembers()
    .map(({ userId, membership }) => ({ userId, membership }));
}
