// What the checks share: a real Chromium with a page that may not complain, and words for what is expected of it.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { join } from "node:path";

// The packages stand in target/dashboard, which is the working folder, and not beside this file.
const require = createRequire(join(process.cwd(), "package.json"));
const { chromium } = require("playwright-core");
const AXE = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

/** Where the program listens, without a slash at its end; then what else the test says. */
export const [BASE, ...ARGUMENTS] = process.argv.slice(2);
export const DASHBOARD = `${BASE}/-/`;
/** For whatever must come at all. */
export const PATIENCE = 60_000;

/** Runs checks in a browser, which ends with them. */
export async function inBrowser(checks) {
  // No sandbox: tests run as root in containers, and the page is headroom's own.
  const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox", "--no-proxy-server"] });
  try {
    await checks(browser);
  } finally {
    await browser.close();
  }
}

/** A page. `complaints` are its errors, of the console and others; `options` are playwright's for a context. */
export async function newPage(browser, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  const complaints = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("dialog", (dialog) => {
    complaints.push(`a dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  // Nothing is fetched from anywhere else.
  page.on("request", (request) => {
    const url = request.url();
    if (!url.startsWith(BASE) && !url.startsWith("data:")) complaints.push(`a request to ${url}`);
  });
  return { page, complaints, close: () => context.close() };
}

/** Opens the dashboard and waits until it is live. */
export async function open(page) {
  await page.goto(DASHBOARD);
  await isLive(page);
}

export async function isLive(page) {
  await page.locator("#live[data-state=live]").waitFor();
}

/** Checks until it is so: the page draws what has come with one of its next frames. */
export async function soon(check) {
  const end = performance.now() + PATIENCE;
  for (;;) {
    try {
      return await check();
    } catch (error) {
      if (!(error instanceof assert.AssertionError) || performance.now() > end) throw error;
      await new Promise((resume) => setTimeout(resume, 50));
    }
  }
}

/** A call through headroom, to its end. Gives the answer's status. */
export async function call(path, headers = {}) {
  const response = await fetch(BASE + path, { headers });
  await response.arrayBuffer();
  return response.status;
}

/** What axe finds that is serious or worse. It comes in by the debugger: the page's own policy lets nothing in. */
export async function findings(page) {
  const session = await page.context().newCDPSession(page);
  const evaluate = async (expression) => {
    const { result, exceptionDetails } = await session.send("Runtime.evaluate", { expression, awaitPromise: true, returnByValue: true });
    assert.equal(exceptionDetails, undefined);
    return result.value;
  };
  await evaluate(AXE);
  const found = await evaluate(`axe.run().then(({ violations, passes }) => ({
    passes: passes.length,
    bad: violations.filter(({ impact }) => impact === "serious" || impact === "critical")
      .map(({ id, nodes }) => [id, ...nodes.map(({ html, failureSummary }) => html.slice(0, 200) + " " + failureSummary)]),
  }))`);
  await session.detach();
  // It has looked at something.
  assert.ok(found.passes > 20, `${found.passes} rules had something to look at`);
  return found.bad;
}

/** The page fits into its width. */
export async function fits(page) {
  const wide = await page.evaluate(() => {
    if (document.documentElement.scrollWidth <= innerWidth) return null;
    // Outside of what scrolls by itself.
    const out = [...document.querySelectorAll("body *")].filter((node) => node.getBoundingClientRect().right > innerWidth + 1 && !node.closest(".scroller"));
    return [`${document.documentElement.scrollWidth} of ${innerWidth} pixels`, ...out.map((node) => node.outerHTML.slice(0, 80))];
  });
  assert.equal(wide, null);
}

/** Another answer of one of the pages, for what a test cannot make a real provider say. */
export async function answer(page, name, body) {
  await page.route((url) => url.pathname === `/-/${name}`, (route) => {
    // The stream stays the server's.
    if (route.request().headers().accept?.includes("text/event-stream")) return route.fallback();
    return route.fulfill({ json: body });
  });
}

/** A meter as `/-/quota` tells it, with these differences. */
export function meter(differences) {
  return {
    connection: "crm", provider: "hubspot", policy: "daily", partition: "", unit: "requests", limit: 1000, used: 250, remaining: 750,
    reset: 3600, window: 86400, source: "provider", mode: "enforce", suspended: null, in_flight: 0, waiting: 0, consumers: [], others: 0,
    forecast: null, ...differences,
  };
}

/** Numbers of a usage row, with these differences. */
export function numbers(differences) {
  return {
    calls: 0, ok: 0, failed: 0, refused: 0, exhausted: 0, unanswered: 0, waited: 0, waited_ms: 0, duration_ms: 0, upstream_ms: 0,
    bytes_in: 0, bytes_out: 0, ...differences,
  };
}

const NOW = new Date().toISOString();

/** A call as `/-/events` tells it, with these differences. */
export function event(differences) {
  return {
    id: 1, at: NOW, connection: "crm", provider: "hubspot", consumer: "reports", method: "GET", endpoint: "/a/*",
    status: 200, upstream_status: null, refused_by: null, policy: null, costs: [], waited_ms: 0, duration_ms: 12, upstream_ms: 11,
    bytes_in: 0, bytes_out: 512, outcome: "complete", ...differences,
  };
}
