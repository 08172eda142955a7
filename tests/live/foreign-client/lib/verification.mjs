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

// The bytes of the QR code that this device shows, as base64.
export async function showQrCode() {
  const bytes = await request.generateQRCode();
  if (!bytes) throw new Error("The SDK shows no code");
  return Buffer.from(bytes).toString("base64");
}

// Scans a QR code of the other device.
export async function scanQrCode({ bytes }) {
  const code = new Uint8ClampedArray(Buffer.from(bytes, "base64"));
  const verifier = await request.scanQRCode(code);
  verifier.verify().catch((error) => (failure = String(error.message)));
}

// Waits until the other device says that it scanned the code.
export async function waitForScan({ timeoutMs } = {}) {
  const scan = () => request.verifier?.getReciprocateQrCodeCallbacks();
  await until("a scan", () => scan() || failure, timeoutMs);
  if (!scan()) throw new Error(failure);
}

export async function confirmScan() {
  request.verifier.getReciprocateQrCodeCallbacks().confirm();
}

export async function cancelVerification() {
  await request.cancel();
}

// As if so many minutes had gone by, by the clocks that the SDK has.
export function passTime({ minutes }) {
  for (const clock of [Date, performance]) {
    const now = clock.now.bind(clock);
    clock.now = () => now() + minutes * 60_000;
  }
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
