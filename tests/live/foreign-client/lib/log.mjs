// Standard output carries answers only: whatever logs, logs to standard error.

import { Console } from "node:console";

globalThis.console = new Console(process.stderr, process.stderr);
