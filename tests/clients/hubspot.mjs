// @hubspot/api-client: it knows a refusal of headroom's by the words of the search limit, waits a second, and succeeds.

import assert from "node:assert/strict";
import { Client } from "@hubspot/api-client";

const told = [];
console.error = (line) => told.push(line);
const hubspot = (numberOfApiCallRetries) =>
  new Client({ accessToken: "secret", basePath: process.argv[2], numberOfApiCallRetries });
const search = (client) => client.crm.contacts.searchApi.doSearch({ query: "Ada", limit: 1 });

const results = await Promise.allSettled([1, 2, 3].map(() => search(hubspot(0))));
const errors = results.filter((each) => each.status === "rejected").map((each) => each.reason);
assert(errors.length >= 1, results);
for (const error of errors) {
  assert.equal(error.code, 429);
  assert.equal(error.body.errorType, "RATE_LIMIT");
  assert.equal(error.body.policyName, "SECONDLY");
}
const found = await Promise.all([1, 2].map(() => search(hubspot(5))));
assert.deepEqual(found.map((each) => each.total), [1, 1]);
assert.match(told[0], /^Request failed with status code \[429\], will retry \[1\] time in \[1000\] ms$/);

// The short window, by its name: ten seconds are its wait, whatever Retry-After says. They are made short here.
const { setTimeout } = globalThis;
const waits = [];
globalThis.setTimeout = (work, wait, ...rest) => {
  waits.push(wait);
  return setTimeout(work, wait === 10_000 ? 1 : wait, ...rest);
};
const get = (client) => client.crm.contacts.basicApi.getById("1");
assert.equal((await get(hubspot(0))).id, "1");
await assert.rejects(get(hubspot(2)), (error) => error.body.policyName === "TEN_SECONDLY_ROLLING");
assert(waits.includes(10_000), waits);
