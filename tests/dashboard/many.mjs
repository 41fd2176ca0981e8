// Two hundred connections, one of them nearly used up: all are there, sorted and filtered, and a change touches what has changed.

import assert from "node:assert/strict";
import { ARGUMENTS, PATIENCE, call, fits, inBrowser, newPage, open, soon } from "./browser.mjs";

const [count, busiest] = [Number(ARGUMENTS[0]), ARGUMENTS[1]];
const name = (index) => `c${String(index).padStart(3, "0")}`;

await inBrowser(async (browser) => {
  for (let index = 0; index < count; index += 1) await call(`/${name(index)}/`);
  for (let more = 0; more < 8; more += 1) await call(`/${busiest}/`);
  const { page, complaints } = await newPage(browser);
  await open(page);
  const connections = page.locator(".connection");
  await page.waitForFunction((wanted) => document.querySelectorAll(".connection").length === wanted, count, { timeout: PATIENCE });

  // The nearest to its end comes first; with so many, each is one line.
  const isFirst = (wanted) => page.waitForFunction((first) => document.querySelector(".connection .name").textContent === first, wanted);
  await isFirst(busiest);
  await soon(async () => assert.equal(await page.locator(".connection .body:visible").count(), 0));
  // The page draws what was asked for with its next frame.
  await page.selectOption("#sort", "name");
  await isFirst(name(0));
  await fits(page);

  // The filter: fewer, told to those who do not see it, and all again.
  await page.locator("#filter").fill("c01");
  await page.waitForFunction(() => document.querySelectorAll(".connection").length === 10);
  await page.locator("#announcer", { hasText: "10 of 200 connections" }).waitFor({ state: "attached" });
  await page.locator("#filter").fill("nothing is called that");
  await page.locator("#no-match").waitFor();
  await page.locator("#filter").fill("");
  await page.waitForFunction((wanted) => document.querySelectorAll(".connection").length === wanted, count);

  // A change touches what has changed: the element of a connection stays the same one.
  await page.evaluate(() => { document.querySelector(".connection").kept = true; });
  const left = await connections.first().locator(".brief .left").textContent();
  await call(`/${name(0)}/`);
  await page.waitForFunction((before) => document.querySelector(".connection .brief .left").textContent !== before, left);
  await soon(async () => assert.equal(await page.evaluate(() => document.querySelector(".connection").kept), true));

  // What is opened stays open, also in the next page.
  await connections.nth(3).locator("h3 button").click();
  await page.reload();
  await connections.nth(3).locator(".body .meter").waitFor();
  await soon(async () => assert.equal(await page.locator(".connection .body:visible").count(), 1));
  assert.deepEqual(complaints, []);
});
