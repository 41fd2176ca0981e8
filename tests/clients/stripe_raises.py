"""stripe-python: a refusal of headroom's is its rate-limit error, at once and without another try."""

import sys

import stripe


def update(retries):
    client = stripe.StripeClient(
        "sk_test_secret",
        base_addresses={"api": sys.argv[1]},
        max_network_retries=retries,
    )
    return client.v1.payment_intents.update("pi_1", {"description": "Ada"})


assert update(0).id == "pi_1"
for retries in (0, 3):
    try:
        update(retries)
        raise AssertionError("it was not refused")
    except stripe.RateLimitError as error:
        assert error.http_status == 429, error
        assert error.error.code == "rate_limit", error
        assert error.user_message.startswith(
            "headroom did not send this call: your own quota `payment-intent` of 1 is used up"
        ), error.user_message
        assert 3000 < int(error.headers["retry-after"]) <= 3600, error.headers
