// A process that is driven over JSON lines:
//
//   in    {"id": 1, "op": "login", "baseUrl": "http://...", "user": ...}
//   out   {"id": 1, "ok": ...}   or   {"id": 1, "error": "...", "errcode": ...}
//
// Requests run side by side, so an answer may overtake an earlier one. The end
// of stdin ends the process: nothing outlives the test that started it.

import { createInterface } from "node:readline";

function write(answer) {
  process.stdout.write(JSON.stringify(answer) + "\n");
}

async function answer(operations, line) {
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

// `close` is called before the end.
export function serve(operations, close = () => {}) {
  process.on("unhandledRejection", (reason) => console.error(reason));
  const lines = createInterface({ input: process.stdin, crlfDelay: Infinity });
  lines.on("line", (line) => answer(operations, line));
  lines.on("close", async () => {
    await close();
    process.exit(0);
  });
}
