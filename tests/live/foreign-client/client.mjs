// A device of matrix-js-sdk, driven over JSON lines: what another person's
// client does and sees, for the live tests. One process is one device.
// lib/json-lines.mjs says how it is spoken to.

import "./lib/log.mjs"; // first, before the SDK takes hold of the console
import * as backup from "./lib/backup.mjs";
import * as crypto from "./lib/crypto.mjs";
import * as dehydration from "./lib/dehydration.mjs";
import * as files from "./lib/files.mjs";
import { serve } from "./lib/json-lines.mjs";
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

serve(operations);
