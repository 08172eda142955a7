// Dehydrated devices (MSC3814).

import { raw, sdk } from "./session.mjs";

// Reads what the one that is there was sent, and puts another in its place. How many
// keys were read, or why they were not, and the id of the new one.
export async function startDehydration() {
  const api = sdk().getCrypto();
  if (!(await api.isDehydrationSupported())) {
    throw new Error("The server has no dehydrated devices");
  }
  const seen = { keys: 0, error: null };
  sdk().on("dehydration.RehydrationProgress", (keys) => (seen.keys = keys));
  sdk().on("dehydration.RehydrationError", (error) => (seen.error = error));
  await api.startDehydration();
  const path =
    "/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device";
  return { ...seen, deviceId: (await raw({ path })).device_id };
}
