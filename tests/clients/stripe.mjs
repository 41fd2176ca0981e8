// stripe-node: a refusal of headroom's is its rate-limit error, at once and without another try, whatever it may retry.

import assert from "node:assert/strict";
import Stripe from "stripe";

const stripe = (maxNetworkRetries) =>
  new Stripe("sk_test_secret", {
    host: "127.0.0.1",
    port: process.argv[2],
    protocol: "http",
    maxNetworkRetries,
    telemetry: false,
  });
const update = (client) => client.paymentIntents.update("pi_1", { description: "Ada" });

assert.equal((await update(stripe(0))).id, "pi_1");
for (const retries of [0, 3, undefined]) {
  await assert.rejects(update(stripe(retries)), (error) => {
    assert(error instanceof Stripe.errors.StripeRateLimitError, error);
    assert.equal(error.type, "StripeRateLimitError");
    assert.equal(error.statusCode, 429);
    assert.equal(error.code, "rate_limit");
    assert.match(error.message, /^headroom did not send this call: your own quota `payment-intent` of 1 is used up/);
    const wait = Number(error.headers["retry-after"]);
    assert(Number.isInteger(wait) && wait > 3000 && wait <= 3600, error.headers["retry-after"]);
    return true;
  });
}
// Another object has a quota of its own.
assert.equal((await stripe(0).customers.retrieve("cus_1")).object, "payment_intent");
