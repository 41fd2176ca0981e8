// Octokit: two pages, addresses from bodies, a redirection, a write, the numbers, and both kinds of exhaustion.

import assert from "node:assert/strict";
import { throttling } from "@octokit/plugin-throttling";
import { Octokit } from "@octokit/rest";

const waited = [];
const wait = (kind) => (seconds, options, octokit, retries) => {
  waited.push(kind);
  return retries < 1;
};
const octokit = new (Octokit.plugin(throttling))({
  baseUrl: process.argv[2],
  auth: "secret",
  log: { debug() {}, info() {}, warn() {}, error: console.error },
  throttle: { onRateLimit: wait("primary"), onSecondaryRateLimit: wait("secondary") },
});

// The second page is a `Link`.
const repositories = await octokit.paginate(octokit.rest.repos.listForOrg, { org: "acme", per_page: 2 });
assert.deepEqual(repositories.map((each) => each.name), ["one", "two", "three"]);

// The `url` of an object, and a template.
const { data, headers } = await octokit.request(`GET ${repositories[2].url}`);
assert.equal(data.subscribers_count, 42);
const issues = await octokit.paginate(`GET ${repositories[0].issues_url}`, { per_page: 2 });
assert.deepEqual(issues.map((each) => each.title), ["first", "second", "third"]);

// The native numbers and the standard ones say the same.
assert.equal(headers["x-ratelimit-limit"], "5000");
assert.equal(headers["ratelimit-limit"], "5000;w=3600");
assert.equal(headers["ratelimit-remaining"], headers["x-ratelimit-remaining"]);

// 301 to the address by number.
const moved = await octokit.rest.repos.get({ owner: "acme", repo: "moved" });
assert.equal(moved.data.full_name, "acme/one");

const created = await octokit.rest.issues.create({ owner: "acme", repo: "one", title: "fourth" });
assert.equal(created.data.title, "fourth");

// A 403 that is an exhausted quota comes as a 429, with the fields and the words by which Octokit knows the two kinds.
const started = performance.now();
for (const repo of ["limited", "busy"]) {
  const answer = await octokit.rest.repos.get({ owner: "acme", repo });
  assert.equal(answer.data.name, repo);
}
assert.deepEqual(waited, ["primary", "secondary"]);
assert(performance.now() - started >= 1900);
