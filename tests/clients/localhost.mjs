// Importing this makes names under `localhost` loopback (RFC 6761); the C library of Debian leaves that to its add-ons.

import dns from "node:dns";

const { lookup } = dns;
dns.lookup = (host, ...rest) => lookup(host.endsWith(".localhost") ? "127.0.0.1" : host, ...rest);
