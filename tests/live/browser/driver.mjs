// Chromium, driven over JSON lines: what a person does on a page and sees there,
// for the live tests. One process is one browser with any number of pages.
//
//   {"op": "start"}, {"op": "open", "url": "http://...", "view": "phone"} gives 1,
//   {"op": "click", "page": 1, "where": {"role": "button", "name": "Export"}}
//
// foreign-client/lib/json-lines.mjs says how it is spoken to, lib/places.mjs what
// `where` may be. An error has with it what the page shows.

import "../foreign-client/lib/log.mjs"; // first, before others take hold of the console
import { serve } from "../foreign-client/lib/json-lines.mjs";
import * as actions from "./lib/actions.mjs";
import * as browser from "./lib/browser.mjs";
import * as readings from "./lib/readings.mjs";

const { pageOf, ...control } = browser;

// The operations on a page get it instead of its number.
function onPage(operation) {
  return async ({ page: number, ...args }) => {
    const page = pageOf(number);
    try {
      return await operation(page, args);
    } catch (error) {
      error.message = `${readable(error)}\n${await readings.shown(page)}`;
      throw error;
    }
  };
}

// Playwright's messages come with the colours of a terminal, and a long log of tries.
function readable(error) {
  const lines = error.message.replace(/\u001b\[\d+m/g, "").split("\n");
  return lines.slice(0, 8).join("\n");
}

const operations = { ...control };
for (const [name, operation] of Object.entries({ ...actions, ...readings })) {
  operations[name] = onPage(operation);
}
serve(operations, browser.stop);
