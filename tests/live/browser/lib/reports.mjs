// What a page complains of, and what it requests.

const reports = new WeakMap();

export function watch(page) {
  const { faults, requests } = reportsOf(page);
  const fault = (kind, text, url = page.url()) => {
    if (!isFavicon(url)) faults.push({ kind, text, url });
  };
  page.on("console", (message) => {
    const kind = message.type();
    if (kind === "error" || kind === "warning") {
      fault(kind, message.text(), message.location().url);
    }
  });
  page.on("pageerror", (error) => fault("exception", String(error)));
  page.on("request", (request) => requests.push(request.url()));
  page.on("requestfailed", (request) =>
    fault("request", request.failure().errorText, request.url()));
  page.on("response", (response) => {
    if (response.status() >= 400) {
      fault("response", String(response.status()), response.url());
    }
  });
  // A dialog would hold the page: nobody answers it.
  page.on("dialog", async (dialog) => {
    fault("dialog", dialog.message());
    await dialog.dismiss();
  });
}

export function reportsOf(page) {
  if (!reports.has(page)) reports.set(page, { faults: [], requests: [] });
  return reports.get(page);
}

// The browser looks for it by itself.
const isFavicon = (url) => URL.parse(url)?.pathname === "/favicon.ico";
