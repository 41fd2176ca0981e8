// @notionhq/client: it knows a refusal of headroom's by its code, waits as long as Retry-After says, and succeeds.

import assert from "node:assert/strict";
import { APIErrorCode, Client, LogLevel } from "@notionhq/client";

const waits = [];
const logger = (_level, message, extra) => {
  if (message === "retrying request") waits.push(extra.delayMs);
};
const notion = (retry) =>
  new Client({ auth: "secret", baseUrl: process.argv[2], logLevel: LogLevel.DEBUG, logger, retry });

// Without its own retries the error is the one that Notion's users look for.
const results = await Promise.allSettled([1, 2, 3].map(() => notion(false).users.me({})));
const errors = results.filter((each) => each.status === "rejected").map((each) => each.reason);
assert(errors.length >= 1, results);
for (const error of errors) {
  assert.equal(error.code, APIErrorCode.RateLimited);
  assert.equal(error.status, 429);
  assert.match(error.message, /headroom/);
}
// With them, a write is waited for as well: it was not sent, so it can be sent again.
const [page, user] = await Promise.all([
  notion().pages.create({ parent: { page_id: "1".repeat(32) }, properties: {} }),
  notion().users.me({}),
]);
assert.equal(page.object, "page");
assert.equal(user.name, "Ada");
assert(waits.length >= 1, waits);
assert(waits.every((wait) => wait === 1000), waits);
