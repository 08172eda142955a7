// What a person does on a page. Each waits until the place is there and can be used.

import { place } from "./places.mjs";

export const click = (page, { where }) => place(page, where).click();

export const fill = (page, { where, value }) => place(page, where).fill(value);

// A key, or keys such as "Shift+Enter": at a place, or where the focus is.
export const press = (page, { where, key }) =>
  where ? place(page, where).press(key) : page.keyboard.press(key);

// Types letter by letter where the focus is.
export const type = (page, { value }) => page.keyboard.type(value);

export const check = (page, { where, checked = true }) =>
  place(page, where).setChecked(checked);

// An option by its value or its label.
export const select = (page, { where, value }) =>
  place(page, where).selectOption(value);

export const upload = (page, { where, paths }) =>
  place(page, where).setInputFiles(paths);

// Clicks, and saves what the browser downloads. Returns the name that was proposed.
export async function download(page, { where, path }) {
  const started = page.waitForEvent("download");
  // If the click fails, its error is the one to read.
  started.catch(() => {});
  await place(page, where).click();
  const file = await started;
  await file.saveAs(path);
  return file.suggestedFilename();
}

export const go = (page, { url }) => page.goto(url).then(() => null);

export const reload = (page) => page.reload().then(() => null);

export const close = (page) => page.close();

// Of all pages with this view.
export const offline = (page, { offline }) => page.context().setOffline(offline);
