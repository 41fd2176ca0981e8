"""requests with urllib3's Retry: a 402 of Toggl comes as a 429 with a Retry-After, and is waited for."""

import sys
import time

import localhost  # noqa: F401
import requests
from urllib3.util import Retry

session = requests.Session()
session.mount("http://", requests.adapters.HTTPAdapter(max_retries=Retry(total=2)))
started = time.monotonic()
answer = session.get(sys.argv[1] + "/api/v9/workspaces/1/projects", auth=("secret", "api_token"))
assert answer.status_code == 200, answer
assert [each.status for each in answer.raw.retries.history] == [429]
assert time.monotonic() - started >= 0.9
assert answer.headers["ratelimit-remaining"] == "29", answer.headers
