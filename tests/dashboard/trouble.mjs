// What does not work is told: a stream that breaks, a history that is missing, a store that cannot be written.

import assert from "node:assert/strict";
import { ARGUMENTS, answer, call, findings, inBrowser, isLive, newPage, open, soon } from "./browser.mjs";

const stream = (url) => url.pathname === "/-/events";

/** On demand. Without looking first whether the button is there: the page also tries by itself, and then it is not for long. */
const retry = (page) => page.locator("#live-retry").evaluate((button) => button.click());

await inBrowser(async (browser) => {
  await call(ARGUMENTS[0]);
  const { page } = await newPage(browser);
  await open(page);
  await page.locator("#calls > tr").first().waitFor();

  // No stream: the page says so, tries again by itself and on demand, and catches up.
  await page.route(stream, (route) => route.abort());
  await page.reload();
  await page.locator("#live-text", { hasText: /^Not connected, next try in \d+ s$/ }).waitFor();
  const missed = 3;
  for (let number = 0; number < missed; number += 1) await call(ARGUMENTS[0]);
  await page.unroute(stream);
  await retry(page);
  await isLive(page);
  await page.waitForFunction((count) => document.querySelectorAll("#calls > tr").length === count, missed + 1);

  // Warnings of the stream, which ends here after each: one for each quota, until it is closed or has recovered.
  const warning = (type, policy, differences) => `event: warning\ndata: ${JSON.stringify({
    type, timestamp: new Date().toISOString(),
    data: { connection: "<b>crm</b>", provider: "hubspot", policy, partition: "", unit: "requests", threshold: 80, limit: 100, used: 80, remaining: 20, reset_at: null, source: "provider", ...differences },
  })}\n\n`;
  const stage = { body: "" };
  await page.route(stream, (route) => {
    if (!route.request().headers().accept?.includes("text/event-stream")) return route.fallback();
    return route.fulfill({ contentType: "text/event-stream", body: stage.body });
  });
  stage.body = "event: warning\ndata: {\n\n" + warning("quota.threshold", "daily") + warning("quota.threshold", "daily", { threshold: 95, used: 96, remaining: 4 })
    + warning("quota.forecast", "hourly", { threshold: null, runs_out_at: new Date().toISOString() });
  await page.reload();
  await page.locator(".notice", { hasText: /<b>crm<\/b> daily has passed 95%: 96% used, 4 requests left/ }).waitFor();
  await page.locator(".notice", { hasText: /hourly will be used up at .*, before its reset, 20 requests left/ }).waitFor();
  await soon(async () => assert.equal(await page.locator(".notice", { hasText: "has passed" }).count(), 1));
  stage.body = warning("quota.recovered", "daily", { threshold: null, used: 0, remaining: 100 });
  await retry(page);
  await page.locator(".notice", { hasText: "has passed" }).waitFor({ state: "detached" });
  await page.getByRole("button", { name: "Close the warning of hourly of <b>crm</b>" }).click();
  await page.locator(".notice", { hasText: "hourly" }).waitFor({ state: "detached" });
  await page.unroute(stream);

  // The store.
  await page.route((url) => url.pathname === "/-/readyz", (route) => route.fulfill({ contentType: "text/plain", body: "ready\nstate: the disk is full\n" }));
  await page.reload();
  await page.locator(".notice", { hasText: "the disk is full" }).waitFor();
  await page.locator("#checks [data-state=bad]", { hasText: "the disk is full" }).waitFor();

  // Files with mistakes: the store is fine.
  await page.route((url) => url.pathname === "/-/readyz", (route) => route.fulfill({ contentType: "text/plain", body: "ready\nconfiguration: error[bad-url]: this is none\n" }));
  await page.reload();
  await page.locator(".notice", { hasText: "Configuration error[bad-url]: this is none. What ran before goes on." }).waitFor();
  await soon(async () => assert.equal(await page.locator("#checks [data-state=bad]", { hasText: "none" }).count(), 1));
  await soon(async () => assert.equal(await page.locator("#checks [data-state=good]", { hasText: "counts and history are written" }).count(), 1));

  // A history that cannot be read is not a history without calls.
  await page.route((url) => url.pathname === "/-/usage", (route) => route.fulfill({ status: 503, contentType: "application/problem+json", body: JSON.stringify({ detail: "The history is broken." }) }));
  await page.reload();
  await page.locator(".notice", { hasText: "Usage history cannot be read: The history is broken." }).waitFor();
  await page.locator(".connection").first().waitFor();
  await soon(async () => assert.equal(await page.locator(".calls").first().textContent(), ""));
  await soon(async () => assert.equal(await page.locator("figcaption:visible").count(), 0));
  await soon(async () => assert.equal(await page.locator("#summary").isVisible(), false));

  await soon(async () => assert.equal(await page.locator("#week-table").isVisible(), false));
  await soon(async () => assert.deepEqual(await findings(page), []));

  // A page that is not what it should be is told, too.
  await answer(page, "quota", { meters: null });
  await page.reload();
  await page.locator(".notice", { hasText: "Quotas cannot be read" }).waitFor();
});
