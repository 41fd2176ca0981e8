// Names from outside are text, however they are made; and each kind of number says whose it is.

import assert from "node:assert/strict";
import { answer, event, findings, fits, inBrowser, meter, newPage, numbers, open, soon } from "./browser.mjs";

const IMAGE = `<img src=x onerror="alert('image')">`;
const SCRIPT = `"><script>alert("script")</script>`;
const TURNED = "\u202Eturned\u0000\u2066";
const LONG = "very-long-name-".repeat(40);
const now = Date.now();
const hour = new Date(Math.floor(now / 3_600_000) * 3_600_000).toISOString();
const day = hour.slice(0, 10);
const range = { from: new Date(now - 86_400_000).toISOString(), to: new Date(now).toISOString(), time_zone: "UTC" };

await inBrowser(async (browser) => {
  for (const width of [360, 1280]) {
    const { page, complaints, close } = await newPage(browser, { viewport: { width, height: 900 }, locale: "en-US" });
    await answer(page, "quota", {
      total: 6,
      meters: [
        meter({ connection: IMAGE, provider: SCRIPT, policy: SCRIPT, partition: IMAGE, unit: IMAGE, consumers: [{ consumer: SCRIPT, used: 100 }, { consumer: TURNED, used: 50 }, { consumer: LONG, used: 20 }], others: 30 }),
        meter({ connection: LONG, policy: LONG, partition: LONG, source: "own;estimated", remaining: 0, used: 1000 }),
        meter({ connection: TURNED, source: "own", suspended: 90 }),
        meter({ connection: "odd", policy: "unknown", limit: null, remaining: null, reset: null, window: null, source: "provider;estimated" }),
        meter({ connection: "odd", policy: "none", limit: 0, used: 3, remaining: 0 }),
        meter({ connection: "odd", policy: "soon", used: 900, remaining: 100, waiting: 2, forecast: { runs_out_in: 600, runs_out_at: new Date(now + 600_000).toISOString() } }),
      ],
    });
    await page.route((url) => url.pathname === "/-/usage", (route) => {
      const byHour = new URL(route.request().url()).searchParams.get("by").includes("hour");
      const its = numbers({ calls: 3, ok: 1, failed: 1, refused: 1 });
      const rows = byHour ? [{ connection: IMAGE, hour, ...its }] : [{ consumer: SCRIPT, day, ...its }, { consumer: LONG, day, ...its }];
      const last = { from: range.from, to: range.to, calls: 6, days: [{ day, calls: 6, within_last_24h: 6, before: 0 }] };
      return route.fulfill({ json: { ...range, by: [], rows, totals: its, last_24h: byHour ? undefined : last, notes: [IMAGE] } });
    });
    const calls = [
      event({ id: 5, connection: IMAGE, provider: SCRIPT, consumer: SCRIPT, method: IMAGE, endpoint: SCRIPT, status: 429, refused_by: "headroom", policy: IMAGE, costs: [{ policy: SCRIPT, unit: IMAGE, cost: 2 }] }),
      event({ id: 4, connection: TURNED, consumer: LONG, endpoint: `/${LONG}`, status: 429, upstream_status: 402, refused_by: "provider" }),
      event({ id: 3, status: null, outcome: "left" }),
      event({ id: 2, status: 200, outcome: "broken" }),
      event({ id: 1, status: 503 }),
    ];
    await answer(page, "events", { events: calls, next: null });
    await answer(page, "advice", { ...range, advice: [{ kind: SCRIPT, connection: IMAGE, consumer: TURNED, endpoint: LONG, policy: null, calls: 3, saved: 2, text: IMAGE, numbers: {} }] });
    await open(page);
    await page.locator("#calls > tr").nth(4).waitFor();
    await page.locator("#advices > li").waitFor();
    await page.locator("#week-table tbody tr").nth(1).waitFor();
    await page.locator(".plot").first().waitFor();

    // As they are, and as nothing else: the page has no element that its own scripts have not made.
    const texts = await page.locator("bdi.name").allTextContents();
    for (const name of [IMAGE, SCRIPT, LONG]) assert.ok(texts.includes(name), name);
    await soon(async () => assert.equal(await page.locator("body img, body script").count(), 0));
    await soon(async () => assert.equal(await page.locator("bdi.name").first().evaluate((node) => getComputedStyle(node).unicodeBidi), "isolate"));
    await fits(page);
    await soon(async () => assert.deepEqual(await findings(page), []));

    // Whose number it is stands there in words.
    const row = (policy) => page.locator(".meter", { has: page.locator(".policy > .name", { hasText: new RegExp(`^${policy}$`) }) });
    await soon(async () => assert.deepEqual((await page.locator(".meter .source").allTextContents()).sort(), ["Counted by headroom", "Headroom’s estimate", "Provider’s number", "Provider’s number", "Provider’s number", "Provider’s, estimated"]));
    await soon(async () => assert.match(await page.locator(".meter .users").filter({ hasText: "outside headroom" }).textContent(), /outside headroom 30/));
    await soon(async () => assert.match(await page.locator(".meter .users").filter({ hasText: "outside headroom" }).textContent(), /without a name 50/));
    // What nobody knows is not made up.
    await soon(async () => assert.equal(await row("unknown").locator(".left").textContent(), "left: unknown"));
    await soon(async () => assert.equal(await row("unknown").locator(".share").textContent(), "?"));
    await soon(async () => assert.equal(await row("unknown").locator("[role=meter]").count(), 0));
    await soon(async () => assert.equal(await row("none").locator(".share").textContent(), "100%"));
    await soon(async () => assert.equal(await row("soon").locator(".flags").textContent().then((text) => /2 calls waiting.*used up in (10 min|9 min \d+ s), before the reset/.test(text)), true));
    await soon(async () => assert.match(await page.locator(".flag", { hasText: "suspended" }).textContent(), /^suspended by the provider for 1 min( \d+ s)?$/));
    await soon(async () => assert.deepEqual(await page.locator("#calls .status").allTextContents(), ["429 by headroom", "402 → 429 by provider", "caller left", "200, answer broke off", "503"]));
    assert.deepEqual(complaints, []);
    await close();
  }
});
