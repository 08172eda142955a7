// Verifications, step by step. What a person decides is an operation of its own, so that a
// test says when.

import {
  VerificationPhase,
  VerifierEvent,
} from "matrix-js-sdk/lib/crypto-api/index.js";
import { sdk } from "./session.mjs";
import { until } from "./until.mjs";

const api = () => sdk().getCrypto();

// The one request that this device is at, and what its verifier says.
let request = null;
let sas = null;
let failure = null;

export async function requestVerification({ userId, deviceId, roomId }) {
  if (roomId) {
    begin(await api().requestVerificationDM(userId, roomId));
  } else if (deviceId) {
    begin(await api().requestDeviceVerification(userId, deviceId));
  } else {
    begin(await api().requestOwnUserVerification());
  }
}

// Waits until somebody asks.
export async function waitForVerification({ userId, roomId, timeoutMs }) {
  const find = () =>
    roomId
      ? api().findVerificationRequestDMInProgress(roomId, userId)
      : api()
          .getVerificationRequestsToDeviceInProgress(userId)
          .find((found) => !found.initiatedByMe);
  const isOpen = () => {
    const found = find();
    return found?.phase === VerificationPhase.Requested && found;
  };
  const what = `a request of ${userId}`;
  begin(await until(what, isOpen, timeoutMs));
}

function begin(found) {
  request = found;
  sas = null;
  failure = null;
}

export async function acceptVerification() {
  await request.accept();
}

export async function startSas() {
  await request.startVerification("m.sas.v1");
}

// Takes part in the method that either side has begun: until then the SDK says nothing.
export async function takePart({ timeoutMs } = {}) {
  const verifier = await until("a method", () => request.verifier, timeoutMs);
  verifier.on(VerifierEvent.ShowSas, (callbacks) => (sas = callbacks));
  sas = verifier.getShowSasCallbacks();
  verifier.verify().catch((error) => (failure = String(error.message)));
}

// Waits until there is something to compare.
export async function waitForSas({ timeoutMs } = {}) {
  await until("emoji", () => sas ?? failure, timeoutMs);
  if (!sas) throw new Error(failure);
  return sas.sas;
}

export async function confirmSas() {
  await sas.confirm();
}

export function mismatchSas() {
  sas.mismatch();
}

export async function cancelVerification() {
  await request.cancel();
}

export function verificationStatus() {
  return {
    phase: VerificationPhase[request.phase],
    // Some ends only the verifier tells.
    code: request.cancellationCode ?? null,
    failure,
    otherDeviceId: request.otherDeviceId ?? null,
  };
}

// Waits until it ended without success, wherever the SDK says so.
export async function waitForEnd({ timeoutMs } = {}) {
  const hasEnded = () =>
    failure || request.phase === VerificationPhase.Cancelled;
  await until("an end", hasEnded, timeoutMs);
  return verificationStatus();
}

export async function waitForPhase({ phase, timeoutMs }) {
  const is = () => VerificationPhase[request.phase] === phase;
  try {
    await until(`the phase ${phase}`, is, timeoutMs);
  } catch (error) {
    error.message += `; it is ${JSON.stringify(verificationStatus())}`;
    throw error;
  }
  return verificationStatus();
}
