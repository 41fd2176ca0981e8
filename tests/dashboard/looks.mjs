// Light and dark, narrow and wide: axe finds nothing serious, and nothing is cut off at the side.

import assert from "node:assert/strict";
import { answer, ARGUMENTS, call, event, findings, fits, inBrowser, newPage, open, soon } from "./browser.mjs";

const paths = ARGUMENTS;

await inBrowser(async (browser) => {
  for (const path of paths) await call(path);
  for (const [width, height] of [[360, 740], [1280, 900], [3840, 2160]]) {
    for (const colorScheme of ["light", "dark"]) {
      const { page, complaints, close } = await newPage(browser, { viewport: { width, height }, colorScheme });
      await open(page);
      await page.locator(".connection").first().waitFor();
      await page.locator("#calls > tr").first().waitFor();
      await page.locator("#expand").click();
      await page.locator(".plot .ok").first().waitFor({ state: "attached" });
      for (const summary of await page.locator("summary").all()) await summary.click();
      await fits(page);
      await soon(async () => assert.deepEqual(await findings(page), [], `${width} pixels, ${colorScheme}`));
      await page.locator("#collapse").click();
      await fits(page);
      await soon(async () => assert.deepEqual(await findings(page), [], `${width} pixels, ${colorScheme}, collapsed`));
      assert.deepEqual(complaints, []);
      await close();
    }
  }

  // What a call cost and how long it took is there to be read, with decimals and with several policies.
  for (const width of [800, 1280]) {
    const { page, complaints, close } = await newPage(browser, { viewport: { width, height: 900 }, locale: "en-US" });
    const costs = ["requests-per-second", "requests-per-day", "points"].map((policy) => ({ policy, unit: "requests", cost: 1 }));
    const lengths = [0.0123, 3.918, 9.96, 312.6789, 999.7, 59_999.5, 754_321.5];
    await answer(page, "events", { events: lengths.map((duration_ms, index) => event({ id: index + 1, duration_ms, waited_ms: duration_ms, costs })), next: null });
    await open(page);
    const cells = page.locator("#calls td:is([data-label=Cost], [data-label=Waited], [data-label=Took])");
    await page.locator("#calls td", { hasText: "3.9 ms" }).first().waitFor();
    const texts = await page.locator("#calls td[data-label=Took]").allTextContents();
    for (const text of ["<0.1 ms", "3.9 ms", "10 ms", "313 ms", "1,000 ms", "60 s", "12 min 34 s"]) assert.ok(texts.includes(text), `${text} of ${texts}`);
    const cut = await cells.evaluateAll((all) => all.filter((cell) => cell.scrollWidth > cell.clientWidth).map((cell) => cell.textContent));
    assert.deepEqual(cut, []);
    assert.ok(await cells.count() >= 3 * lengths.length);
    assert.deepEqual(complaints, []);
    await close();
  }

  // Colours follow the system, also while the page is open.
  const { page, close } = await newPage(browser, { colorScheme: "light", reducedMotion: "reduce" });
  await open(page);
  const back = () => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
  const light = await back();
  await page.emulateMedia({ colorScheme: "dark" });
  await soon(async () => assert.notEqual(await back(), light));
  // Who wants no motion gets none.
  const moves = await page.evaluate(() => [...document.querySelectorAll("*")].some((node) => getComputedStyle(node).transitionDuration !== "0s"));
  assert.equal(moves, false);
  await close();
});
