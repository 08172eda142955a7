// Where on a page: as a person finds it, or by CSS.
//
//   {"role": "button", "name": "Export"}   {"label": "Passphrase"}
//   {"text": "n of n keys"}                {"css": ".mx-body"}
//
// A name, label or text must be the whole one, unless `exact` is false. `within` is
// the CSS of what the place is in, `nth` (from 1) one of several places. An action on
// several places is an error.

export function place(page, where) {
  const { role, name, label, text, css, within, nth, exact = true } = where ?? {};
  const root = within ? page.locator(within) : page;
  let found;
  if (role) found = root.getByRole(role, name === undefined ? {} : { name, exact });
  else if (label) found = root.getByLabel(label, { exact });
  else if (text) found = root.getByText(text, { exact });
  else found = root.locator(css ?? "body");
  return nth ? found.nth(nth - 1) : found;
}
