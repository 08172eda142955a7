// A device of matrix-js-sdk, driven over JSON lines: what another person's
// client does and sees, for the live tests. One process is one device.
//
//   in    {"id": 1, "op": "login", "baseUrl": "http://...", "user": ...}
//   out   {"id": 1, "ok": ...}   or   {"id": 1, "error": "...", "errcode": ...}
//
// Requests run side by side, so an answer may overtake an earlier one. The end
// of stdin ends the process: no device outlives the test that started it.

import "./lib/log.mjs"; // first, before the SDK takes hold of the console
import { createInterface } from "node:readline";
import * as backup from "./lib/backup.mjs";
import * as crypto from "./lib/crypto.mjs";
import * as dehydration from "./lib/dehydration.mjs";
import * as files from "./lib/files.mjs";
import * as messages from "./lib/messages.mjs";
import * as rooms from "./lib/rooms.mjs";
import * as session from "./lib/session.mjs";
import * as verification from "./lib/verification.mjs";

const operations = {
  ...session,
  ...rooms,
  ...messages,
  ...crypto,
  ...backup,
  ...dehydration,
  ...files,
  ...verification,
};
// Of use to the other files, but nothing to be asked for.
delete operations.sdk;

function write(answer) {
  process.stdout.write(JSON.stringify(answer) + "\n");
}

async function answer(line) {
  let id = null;
  try {
    const { id: given, op, ...args } = JSON.parse(line);
    id = given;
    if (!Object.hasOwn(operations, op)) {
      throw new Error(`There is no operation '${op}'`);
    }
    write({ id, ok: (await operations[op](args)) ?? null });
    if (op === "stop") process.stdout.end(() => process.exit(0));
  } catch (error) {
    console.error(error);
    write({ id, error: String(error.message), errcode: error.errcode ?? null });
  }
}

process.on("unhandledRejection", (reason) => console.error(reason));
const lines = createInterface({ input: process.stdin, crlfDelay: Infinity });
lines.on("line", answer);
lines.on("close", () => process.exit(0));
