// An OAuth server for the homeserver of the live tests, on loopback: oidc-provider
// (lib/provider.mjs) and what it lacks (lib/stand-ins.mjs). helper-oauth.R starts
// it with a port and a secret, and speaks to it over HTTP, at paths that no OAuth
// server has:
//
//   POST /_test/settings   access_ttl, code_ttl, interval (seconds), slow_down (so
//                          many polls are told to), homeserver (its URL)
//   POST /_test/fault      the next `times` requests to `path` get `status` and
//                          `body`; or, with `lost`, are carried out and not answered
//   POST /_test/end        ends the grants of `user`; Synapse keeps the devices
//                          with `keep_devices`
//   POST /_test/clear      forgets requests and faults
//   GET  /_test/requests   what came, in order

import { createServer } from "node:http";
import { make_provider } from "./lib/provider.mjs";
import {
  account,
  around,
  bearer_as_client,
  end_grants,
  too_fast,
} from "./lib/stand-ins.mjs";

const [port, secret] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}/`;
const settings = {
  access_ttl: 300,
  code_ttl: 600,
  interval: 1,
  slow_down: 0,
  homeserver: null,
  secret,
};
const provider = make_provider(issuer, secret, settings);
around(provider, settings);
const oauth = provider.callback();
provider.on("server_error", (ctx, error) => console.error(error));

let requests = [];
let faults = [];

async function control(what, text) {
  const body = text ? JSON.parse(text) : {};
  switch (what) {
    case "settings":
      return Object.assign(settings, body);
    case "fault":
      return faults.push(body);
    case "end":
      return await end_grants(provider, settings, body);
    case "clear":
      faults = [];
      requests = [];
      return null;
    case "requests":
      return requests;
    default:
      throw new Error(`no control '${what}'`);
  }
}

function send(res, status, body) {
  res.writeHead(status, {
    "content-type": "application/json",
    "cache-control": "no-store",
  });
  res.end(typeof body === "string" ? body : JSON.stringify(body));
}

function due(path) {
  const fault = faults.find((one) => one.path === path && one.times > 0);
  if (fault) fault.times -= 1;
  return fault;
}

async function read(req) {
  const chunks = [];
  for await (const chunk of req) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

async function answer(req, res) {
  const { pathname: path, searchParams: query } = new URL(req.url, issuer);
  const text = await read(req);
  if (path.startsWith("/_test/")) {
    return send(res, 200, await control(path.slice("/_test/".length), text));
  }
  const form = new URLSearchParams(
    req.headers["content-type"]?.includes("form") ? text : "",
  );
  const seen = {
    method: req.method,
    path,
    grant_type: form.get("grant_type"),
    body: text,
    status: null,
  };
  requests.push(seen);
  res.on("finish", () => (seen.status = res.statusCode));
  const fault = due(path);
  if (fault?.lost) res.end = () => res.destroy();
  else if (fault) return send(res, fault.status, fault.body);
  if (path === "/account") {
    const page = await account(provider, settings, req.method, query, form);
    res.writeHead(200, { "content-type": "text/html" });
    return res.end(page);
  }
  if (path === "/oauth2/token" && too_fast(settings, form)) {
    return send(res, 400, { error: "slow_down" });
  }
  bearer_as_client(req, secret);
  // The stream is read; oidc-provider takes the text then.
  req.body = text;
  await oauth(req, res);
}

const server = createServer((req, res) =>
  answer(req, res).catch((error) => {
    console.error(error);
    if (!res.headersSent) send(res, 500, { error: String(error) });
  }),
);
server.listen(Number(port), "127.0.0.1");
// The end of R ends it, also where R was killed.
process.stdin.on("end", () => process.exit(0)).resume();
