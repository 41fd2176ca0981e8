// Octokit: what headroom refuses by itself is waited for, as long as Retry-After says.

import assert from "node:assert/strict";
import { throttling } from "@octokit/plugin-throttling";
import { Octokit } from "@octokit/rest";

const waited = [];
const wait = (kind) => (seconds, options, octokit, retries) => {
  waited.push(kind);
  assert(seconds >= 1 && seconds <= 3, seconds);
  return retries < 3;
};
const octokit = new (Octokit.plugin(throttling))({
  baseUrl: process.argv[2],
  auth: "secret",
  log: { debug() {}, info() {}, warn() {}, error: console.error },
  throttle: { onRateLimit: wait("primary"), onSecondaryRateLimit: wait("secondary") },
});

// GitHub said that nothing is left, with the answer to the first; headroom answers the second in its place.
const first = await octokit.rest.repos.get({ owner: "acme", repo: "last" });
assert.equal(first.headers["ratelimit-remaining"], "0");
const second = await octokit.rest.repos.get({ owner: "acme", repo: "one" });
assert.equal(second.data.name, "one");
assert.deepEqual(waited, ["secondary"]);
