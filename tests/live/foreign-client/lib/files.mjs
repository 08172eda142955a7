// Files, as a client in a browser has them: encrypted and decrypted by WebCrypto,
// as the specification says ("Sending encrypted attachments"), and carried by the
// SDK's own media requests.

import { webcrypto } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { sdk } from "./session.mjs";

const subtle = webcrypto.subtle;
const base64 = (bytes) => Buffer.from(bytes).toString("base64").replace(/=+$/, "");
const bytesOf = (text) => new Uint8Array(Buffer.from(text, "base64"));
const counter = (iv) => ({ name: "AES-CTR", counter: iv, length: 64 });

async function encrypted(plain) {
  const iv = new Uint8Array(16);
  webcrypto.getRandomValues(iv.subarray(0, 8));
  const algorithm = { name: "AES-CTR", length: 256 };
  const key = await subtle.generateKey(algorithm, true, ["encrypt", "decrypt"]);
  const ciphertext = await subtle.encrypt(counter(iv), key, plain);
  const hash = await subtle.digest("SHA-256", ciphertext);
  const jwk = await subtle.exportKey("jwk", key);
  return {
    ciphertext: Buffer.from(ciphertext),
    file: { v: "v2", key: jwk, iv: base64(iv), hashes: { sha256: base64(hash) } },
  };
}

async function decrypted(ciphertext, file) {
  const hash = await subtle.digest("SHA-256", ciphertext);
  if (base64(hash) !== file.hashes.sha256) throw new Error("The hash differs");
  const key = await subtle.importKey("jwk", file.key, { name: "AES-CTR" }, false, [
    "decrypt",
  ]);
  return Buffer.from(await subtle.decrypt(counter(bytesOf(file.iv)), key, ciphertext));
}

async function upload(bytes) {
  const options = { type: "application/octet-stream", includeFilename: false };
  return (await sdk().uploadContent(bytes, options)).content_uri;
}

// Encrypts the file at `path`, uploads it, and returns the `EncryptedFile`.
export async function uploadFile({ path }) {
  const { ciphertext, file } = await encrypted(await readFile(path));
  return { ...file, url: await upload(ciphertext) };
}

// Fetches what an `EncryptedFile`, or an address, names, and writes it to `path`.
export async function downloadFile({ file, url, path }) {
  const address = sdk().mxcUrlToHttp(
    file?.url ?? url,
    undefined,
    undefined,
    undefined,
    false,
    true,
    true,
  );
  const headers = { Authorization: `Bearer ${sdk().getAccessToken()}` };
  const response = await fetch(address, { headers });
  if (!response.ok) throw new Error(`Status ${response.status}`);
  const bytes = Buffer.from(await response.arrayBuffer());
  await writeFile(path, file ? await decrypted(bytes, file) : bytes);
  return { size: bytes.length, type: response.headers.get("content-type") };
}
