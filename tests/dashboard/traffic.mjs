// The page opens empty, without a complaint, and shows the calls that go through headroom within a second.

import assert from "node:assert/strict";
import { ARGUMENTS, BASE, PATIENCE, call, inBrowser, newPage, open, soon } from "./browser.mjs";

const [connection, limit] = [ARGUMENTS[0], Number(ARGUMENTS[1])];
const CALLS = 5;

await inBrowser(async (browser) => {
  const { page, complaints } = await newPage(browser, { locale: "en-US" });
  await open(page);
  await page.locator("#start").waitFor();
  await soon(async () => assert.match(await page.locator("#example").textContent(), new RegExp(`^curl -i ${BASE}/\\w+/`)));
  await soon(async () => assert.equal(await page.locator(".connection").count(), 0));

  const took = [];
  for (let number = 1; number <= CALLS; number += 1) {
    // Meters are read once a second at the most.
    await page.waitForTimeout(1100);
    assert.equal(await call(`/${connection}/things/${1000 + number}`), 200);
    const answered = performance.now();
    await page.waitForFunction(([count, left]) => {
      const events = document.querySelectorAll("#calls > tr").length;
      const meter = document.querySelector(".meter .left")?.textContent;
      return events === count && meter === left;
    }, [number, `${limit - number} left`], { polling: 20, timeout: PATIENCE });
    took.push(performance.now() - answered);
  }
  // The machine of a test may be busy at one moment, not at each.
  took.sort((a, b) => a - b);
  assert.ok(took[Math.floor(CALLS / 2)] < 1000, `shown after ${took.map(Math.round)} ms`);

  // The same calls in all other places.
  await soon(async () => assert.equal(await page.locator("#start").isVisible(), false));
  await page.locator("#summary dd", { hasText: /^5$/ }).waitFor();
  await page.locator(".plot figcaption", { hasText: "Last 24 hours, 5 calls: 5 answered" }).waitFor();
  await soon(async () => assert.match(await page.locator(".plot path.ok").getAttribute("d"), /^M/));
  await page.locator("#week-table tfoot td", { hasText: /^5$/ }).last().waitFor();
  await soon(async () => assert.equal(await page.locator("#week-table thead th").count(), 9, "a consumer, seven dates, a total"));
  await page.locator("#overlap tfoot td", { hasText: /^5$/ }).waitFor();
  const row = page.locator("#calls > tr").first();
  await soon(async () => assert.deepEqual(await row.locator("td").allTextContents().then((cells) => [cells[1], cells[3], cells[4]]), [connection, "GET /things/*", "200"]));
  await soon(async () => assert.match(await row.locator("time").getAttribute("title"), / UTC\)$/));
  await soon(async () => assert.match(await page.locator(".meter .source").first().textContent(), /headroom|Provider/i));

  // A quota that runs low is told at the top of the page.
  for (let number = CALLS; number < limit * 0.8; number += 1) await call(`/${connection}/things/${2000 + number}`);
  await page.locator(".notice", { hasText: `${connection} hourly has passed 80%: 80% used, 20 requests left` }).waitFor();
  await page.locator(".meter[data-level=near]").waitFor();
  assert.deepEqual(complaints, []);
});
