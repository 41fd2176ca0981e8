// Without a mouse: everything that can be operated is reached by Tab, shows that it is, and works.

import assert from "node:assert/strict";
import { ARGUMENTS, call, inBrowser, newPage, open, soon } from "./browser.mjs";

await inBrowser(async (browser) => {
  for (const path of ARGUMENTS) await call(path);
  const { page, complaints } = await newPage(browser);
  await open(page);
  await page.locator(".connection .meter").first().waitFor();
  await page.locator("#calls > tr").first().waitFor();
  await page.locator("#week-table td").first().waitFor();

  // The first Tab leads to the way past the top of the page.
  await page.keyboard.press("Tab");
  await soon(async () => assert.equal(await page.evaluate(() => document.activeElement.className), "skip"));
  await soon(async () => assert.ok((await page.locator(".skip").boundingBox()).y >= 0, "it is seen when it has the focus"));
  await page.keyboard.press("Enter");
  await soon(async () => assert.equal(await page.evaluate(() => document.activeElement.id), "main"));

  // From the beginning to the end, and nothing is left out.
  const reached = await page.evaluate(() => {
    const reachable = "a[href], button, input, select, summary, [tabindex='0']";
    window.wanted = [...document.querySelectorAll(reachable)].filter((node) => node.checkVisibility({ visibilityProperty: true, contentVisibilityAuto: false }));
    document.activeElement.blur();
    return window.wanted.length;
  });
  assert.ok(reached > 15, `${reached} elements`);
  await page.evaluate(() => { window.visited = new Set(); getSelection().removeAllRanges(); });
  await page.locator(".skip").focus();
  // What is drawn meanwhile takes steps, too.
  let isLeft = true;
  for (let step = 0; isLeft && step < 3 * reached; step += 1) {
    isLeft = await page.evaluate(() => {
      const node = document.activeElement;
      window.visited.add(node);
      const { outlineStyle, outlineWidth } = getComputedStyle(node);
      if (node !== document.body && (outlineStyle === "none" || parseFloat(outlineWidth) < 1)) throw new Error(`no focus is seen on ${node.outerHTML.slice(0, 120)}`);
      return window.wanted.some((one) => one.isConnected && !window.visited.has(one));
    });
    await page.keyboard.press("Tab");
  }
  const missed = await page.evaluate(() => window.wanted.filter((node) => node.isConnected && !window.visited.has(node)).map((node) => node.outerHTML.slice(0, 120)));
  assert.deepEqual(missed, []);

  // A connection closes and opens; a section does too, and stays as it is in the next page.
  const toggle = page.locator(".connection .toggle").first();
  const body = page.locator(".connection .body").first();
  await soon(async () => assert.equal(await body.isVisible(), true));
  await toggle.focus();
  await page.keyboard.press("Enter");
  await soon(async () => assert.deepEqual([await body.isVisible(), await toggle.getAttribute("aria-expanded")], [false, "false"]));
  await page.keyboard.press("Space");
  await soon(async () => assert.deepEqual([await body.isVisible(), await toggle.getAttribute("aria-expanded")], [true, "true"]));
  await page.locator("#advice h2 button").focus();
  await page.keyboard.press("Enter");
  await page.reload();
  await soon(async () => assert.equal(await page.locator("#advice .content").isVisible(), false));

  // The numbers of a plot, without pointing at its bars.
  const plot = page.locator(".plot summary").first();
  const row = page.locator(".plot tbody th[scope=row]").first();
  await soon(async () => {
    // The page that is still being built may take away what was in focus.
    await plot.focus();
    if (!(await plot.evaluate((node) => node.parentElement.open))) await page.keyboard.press("Enter");
    assert.equal(await row.isVisible(), true);
  });

  // The filter has a key; Escape empties it.
  await page.keyboard.press("/");
  await soon(async () => assert.equal(await page.evaluate(() => document.activeElement.id), "filter"));
  await page.keyboard.type("nothing/like that");
  await page.locator("#no-match").waitFor();
  await page.keyboard.press("Escape");
  await soon(async () => assert.equal(await page.locator("#filter").inputValue(), ""));
  await page.locator("#no-match").waitFor({ state: "hidden" });

  // Events hold still for a reader.
  await page.locator("#pause").focus();
  await page.keyboard.press("Enter");
  const before = await page.locator("#calls > tr").count();
  await call(ARGUMENTS[0]);
  await page.locator("#pause", { hasText: "Resume (1 new)" }).waitFor();
  await soon(async () => assert.equal(await page.locator("#calls > tr").count(), before));
  await page.keyboard.press("Enter");
  await page.waitForFunction((count) => document.querySelectorAll("#calls > tr").length === count, before + 1);
  assert.deepEqual(complaints, []);
});
