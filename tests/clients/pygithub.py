"""PyGithub: two pages, what it follows by itself, a redirection, a write, the numbers, and an exhausted quota."""

import sys
import time

import localhost  # noqa: F401
from github import Auth, Github

github = Github(
    base_url=sys.argv[1],
    auth=Auth.Token("secret"),
    per_page=2,
    seconds_between_requests=None,
    seconds_between_writes=None,
)

# The second page is a `Link`.
repositories = list(github.get_organization("acme").get_repos())
assert [each.name for each in repositories] == ["one", "two", "three"], repositories

# A list leaves this out; the object gets the rest of itself from its `url`.
assert repositories[2].subscribers_count == 42

# `issues` under the `url` of an object, two pages again.
issues = list(repositories[0].get_issues())
assert [each.title for each in issues] == ["first", "second", "third"], issues
assert issues[0].repository.subscribers_count == 42

# 301 to the address by number.
assert github.get_repo("acme/moved").full_name == "acme/one"

assert repositories[0].create_issue("fourth").title == "fourth"

# The native headers, and the page that tells the same.
remaining, limit = github.rate_limiting
assert limit == 5000 and 4000 < remaining < 5000, (remaining, limit)
assert github.get_rate_limit().resources.core.limit == 5000

# A 403 that is an exhausted quota comes as a 429 with a Retry-After, and is waited for.
started = time.monotonic()
assert github.get_repo("acme/limited").name == "limited"
assert time.monotonic() - started >= 0.9
