// The reference library of Standard Webhooks takes what headroom signed, with either secret, and nothing that was altered.
import { Webhook } from "standardwebhooks";
import assert from "node:assert/strict";

const [secrets, id, timestamp, signature, body] = process.argv.slice(2);
const headers = { "webhook-id": id, "webhook-timestamp": timestamp, "webhook-signature": signature };
for (const secret of secrets.split(" ")) {
  const taken = new Webhook(secret).verify(body, headers);
  assert.equal(taken.type, "quota.threshold");
  assert.throws(() => new Webhook(secret).verify(body + " ", headers));
  assert.throws(() => new Webhook(secret).verify(body, { ...headers, "webhook-id": "msg_other" }));
}
const stranger = "whsec_" + Buffer.alloc(32, 7).toString("base64");
assert.throws(() => new Webhook(stranger).verify(body, headers));
console.log("verified");
