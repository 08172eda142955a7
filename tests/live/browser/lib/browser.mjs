// The browser and its pages, which have numbers.

import { access, constants } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { chromium } from "playwright-core";
import { PATIENCE_MS } from "../../foreign-client/lib/until.mjs";
import { watch } from "./reports.mjs";

const VIEWS = {
  desktop: { viewport: { width: 1280, height: 800 } },
  phone: {
    viewport: { width: 390, height: 844 },
    deviceScaleFactor: 2,
    hasTouch: true,
    isMobile: true,
  },
};

// Beside those of Playwright: with less, Chromium looks for Google's hosts.
const FLAGS = [
  "--disable-gpu",
  "--disable-quic",
  "--disable-sync",
  "--no-first-run",
];

let browser = null;
const contexts = new Map();
const pages = [];

// `camera` is a y4m or mjpeg file, which the camera of each page then shows.
export async function start({ camera, flags = [] }) {
  const ofCamera = camera && [
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    `--use-file-for-fake-video-capture=${camera}`,
  ];
  // Playwright makes a new empty profile for each start.
  browser = await chromium.launch({
    executablePath: await findChromium(),
    args: [...FLAGS, ...(ofCamera ?? []), ...flags],
    chromiumSandbox: false,
  });
  return browser.version();
}

// Names as in tools/setup.sh.
async function findChromium() {
  const names = [
    "chromium",
    "chromium-browser",
    "google-chrome-stable",
    "google-chrome",
  ];
  const dirs = ["/usr/bin", ...process.env.PATH.split(delimiter)];
  for (const path of names.flatMap((name) => dirs.map((dir) => join(dir, name)))) {
    const found = await access(path, constants.X_OK).then(() => true, () => false);
    if (found) return path;
  }
  throw new Error("There is no Chromium. Run tools/setup.sh browser.");
}

// A context is a device with cookies of its own: pages of the same view are tabs of
// one browser.
async function contextOf(view, dark) {
  const key = `${view} ${dark}`;
  if (!contexts.has(key)) {
    if (!VIEWS[view]) throw new Error(`There is no view '${view}'`);
    const context = await browser.newContext({
      ...VIEWS[view],
      colorScheme: dark ? "dark" : "light",
      reducedMotion: "reduce",
      locale: "en-GB",
      timezoneId: "UTC",
    });
    context.setDefaultTimeout(PATIENCE_MS);
    // Tabs that a page opens are kept, too: `tabs` tells their numbers.
    context.on("page", (page) => {
      pages.push(page);
      watch(page);
    });
    contexts.set(key, context);
  }
  return contexts.get(key);
}

export async function open({ url, view = "desktop", dark = false }) {
  const context = await contextOf(view, dark);
  const page = await context.newPage();
  await page.goto(url);
  return pages.indexOf(page) + 1;
}

export function pageOf(number) {
  const page = pages[number - 1];
  if (!page) throw new Error(`There is no page ${number}`);
  return page;
}

// The numbers and addresses of the pages that are open.
export function tabs() {
  return pages
    .map((page, i) => ({ page: i + 1, url: page.url(), open: !page.isClosed() }))
    .filter((tab) => tab.open);
}

export async function stop() {
  await browser?.close();
}
