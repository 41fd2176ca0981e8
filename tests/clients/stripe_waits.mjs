// stripe-node before a connection that holds calls: it notices nothing.

import assert from "node:assert/strict";
import Stripe from "stripe";

const stripe = new Stripe("sk_test_secret", { host: "127.0.0.1", port: process.argv[2], protocol: "http" });
const started = performance.now();
const customers = await Promise.all([1, 2, 3].map((number) => stripe.customers.retrieve(`cus_${number}`)));
assert.deepEqual(customers.map((each) => each.id), ["pi_1", "pi_1", "pi_1"]);
assert(performance.now() - started >= 1900);
