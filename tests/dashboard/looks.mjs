// Light and dark, narrow and wide: axe finds nothing serious, and nothing is cut off at the side.

import assert from "node:assert/strict";
import { ARGUMENTS, call, findings, fits, inBrowser, newPage, open, soon } from "./browser.mjs";

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
