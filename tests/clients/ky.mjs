// ky, on fetch: a 402 of Toggl comes as a 429 with a Retry-After, and is waited for.

import assert from "node:assert/strict";
import ky from "ky";

const refusals = [];
const started = performance.now();
const answer = await ky.get(`${process.argv[2]}/api/v9/workspaces/1/projects`, {
  headers: { authorization: `Basic ${btoa("secret:api_token")}` },
  hooks: { beforeRetry: [({ error }) => refusals.push(error.response.status)] },
});
assert.equal(answer.status, 200);
assert.deepEqual(refusals, [429]);
assert(performance.now() - started >= 900);
assert.equal(answer.headers.get("ratelimit-remaining"), "29");
