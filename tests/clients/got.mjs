// got, on node:http: a 402 of Toggl comes as a 429 with a Retry-After, and is waited for.

import assert from "node:assert/strict";
import got from "got";

const refusals = [];
const started = performance.now();
const answer = await got(`${process.argv[2]}/api/v9/workspaces/1/projects`, {
  username: "secret",
  password: "api_token",
  hooks: { beforeRetry: [(error) => refusals.push(error.response.statusCode)] },
});
assert.equal(answer.statusCode, 200);
assert.deepEqual(refusals, [429]);
assert(performance.now() - started >= 900);
assert.equal(answer.headers["ratelimit-remaining"], "29");
