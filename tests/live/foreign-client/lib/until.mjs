// Asks again and again until `check` gives something true, which is returned.
// Polling sees every way a state can come about; no event has to be known.

import { setTimeout as sleep } from "node:timers/promises";

export const PATIENCE_MS = 20_000;

export async function until(what, check, timeoutMs = PATIENCE_MS) {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const found = await check();
    if (found) return found;
    if (Date.now() > deadline) {
      throw new Error(`Waited ${timeoutMs} ms in vain for ${what}`);
    }
    await sleep(20);
  }
}
