// What a page shows, to people and to programs that read it aloud.

import axe from "axe-core";
import { until } from "../../foreign-client/lib/until.mjs";
import { place } from "./places.mjs";
import { reportsOf } from "./reports.mjs";

export const waitFor = (page, { where, state = "visible", timeoutMs }) =>
  place(page, where).waitFor({ state, timeout: timeoutMs });

// Until the place shows this text, or until it does not.
export async function waitForText(page, { where, value, gone = false, timeoutMs }) {
  const shows = async () => (await visibleText(page, where)).includes(squeezed(value));
  const what = gone ? `the end of "${value}"` : `"${value}"`;
  await until(what, async () => (await shows()) !== gone, timeoutMs);
}

async function visibleText(page, where) {
  return squeezed((await place(page, where).allInnerTexts()).join(" "));
}

const squeezed = (text) => text.replace(/\s+/g, " ");

// The texts of all places.
export const texts = (page, { where }) => place(page, where).allInnerTexts();

export const count = (page, { where }) => place(page, where).count();

export const value = (page, { where }) => place(page, where).inputValue();

export const attribute = (page, { where, name }) =>
  place(page, where).getAttribute(name);

export const isChecked = (page, { where }) => place(page, where).isChecked();

export const isEnabled = (page, { where }) => place(page, where).isEnabled();

// The value of an expression in JavaScript.
export const evaluate = (page, { code }) => page.evaluate(code);

export const screenshot = (page, { path }) =>
  page.screenshot({ path, fullPage: true, animations: "disabled" }).then(() => null);

// The names of elements that are wider than the screen, if one must scroll sideways.
// A phone zooms out where the page is too wide, so its `innerWidth` says nothing.
export function overflow(page) {
  return page.evaluate((width) => {
    if (document.scrollingElement.scrollWidth <= width) return [];
    const wide = [...document.body.querySelectorAll("*")].filter(
      (element) => element.getBoundingClientRect().right > width,
    );
    return ["the page", ...wide.slice(0, 5).map((element) =>
      element.cloneNode(false).outerHTML.slice(0, 200))];
  }, page.viewportSize().width);
}

// What axe-core finds. It comes over the debugger: a page's policy does not stop it.
export async function axeViolations(page, { css }) {
  await page.evaluate(axe.source);
  const { violations } = await page.evaluate(
    (css) => window.axe.run(css ?? document),
    css,
  );
  return violations.flatMap(({ id, impact, help, nodes }) =>
    nodes.map((node) => ({
      id,
      impact,
      help,
      html: node.html,
      why: node.failureSummary,
    })));
}

// Role, name and description of what has the focus, as Chromium tells them to a
// screen reader.
export async function focused(page) {
  const session = await page.context().newCDPSession(page);
  try {
    const { result } = await session.send("Runtime.evaluate", {
      expression: "document.activeElement",
    });
    const { nodes } = await session.send("Accessibility.getPartialAXTree", {
      objectId: result.objectId,
      fetchRelatives: false,
    });
    const [{ role, name, description }] = nodes;
    return {
      role: role?.value ?? "",
      name: name?.value ?? "",
      description: description?.value ?? "",
    };
  } finally {
    await session.detach();
  }
}

export const faults = (page) => reportsOf(page).faults;

export const requests = (page) => reportsOf(page).requests;

// For the message of an error.
export async function shown(page) {
  if (page.isClosed()) return "The page is closed.";
  try {
    const text = (await visibleText(page)).trim();
    const said = reportsOf(page).faults.map((f) => `${f.kind}: ${f.text} (${f.url})`);
    const lines = [`The page ${page.url()} shows:`, text.slice(0, 2000)];
    return [...lines, ...said.slice(-5)].join("\n");
  } catch (error) {
    return `The page cannot be read: ${error.message}`;
  }
}
