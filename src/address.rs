//! IP addresses and hosts: which are of the public internet, and which mean the machine itself. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The special-purpose blocks of IPv4 that no provider is in: IANA's registry
/// (<https://www.iana.org/assignments/iana-ipv4-special-registry>) and multicast. Of 192.0.0.0/24 two addresses are
/// reachable; they are of relays, not of providers.
const SPECIAL_V4: [(Ipv4Addr, u32); 16] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
    (Ipv4Addr::BROADCAST, 32),
];

/// The one block of IPv6 that the internet is in (RFC 4291).
const GLOBAL_V6: (Ipv6Addr, u32) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// What of that block no provider is in (<https://www.iana.org/assignments/iana-ipv6-special-registry>): protocol
/// assignments with Teredo, and documentation. 6to4 is looked into.
const SPECIAL_V6: [(Ipv6Addr, u32); 3] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

/// NAT64 (RFC 6052): an IPv4 address in the last 32 bits.
const NAT64: (Ipv6Addr, u32) = (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96);

/// 6to4 (RFC 3056): an IPv4 address behind the first 16 bits.
const SIX_TO_FOUR: (Ipv6Addr, u32) = (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16);

/// Whether an address is of the public internet: not this machine's, not of a private or shared network, not a link's, not
/// many at once, and not set aside for something else. An IPv4 address inside an IPv6 one is looked at as itself, except
/// where nobody sends it for that (`::ffff:0:0/96`).
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) if is_within_v6(address, NAT64) => {
            let [.., high, low] = address.segments();
            is_public_v4(v4_of(high, low))
        }
        IpAddr::V6(address) if is_within_v6(address, SIX_TO_FOUR) => {
            let [_, high, low, ..] = address.segments();
            is_public_v4(v4_of(high, low))
        }
        IpAddr::V6(address) => {
            is_within_v6(address, GLOBAL_V6)
                && !SPECIAL_V6.iter().any(|block| is_within_v6(address, *block))
        }
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let is_within = |&(block, length): &(Ipv4Addr, u32)| {
        let mask = u32::MAX.unbounded_shl(32 - length);
        (address.to_bits() ^ block.to_bits()) & mask == 0
    };
    !SPECIAL_V4.iter().any(is_within)
}

const fn is_within_v6(address: Ipv6Addr, (block, length): (Ipv6Addr, u32)) -> bool {
    let mask = u128::MAX.unbounded_shl(128 - length);
    (address.to_bits() ^ block.to_bits()) & mask == 0
}

/// The IPv4 address of these two groups.
fn v4_of(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from_bits((u32::from(high) << 16) | u32::from(low))
}

/// Whether an address is this machine's own to itself, also inside an IPv6 one.
#[must_use]
pub const fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// The address that a host is, without a name: `127.0.0.1`, `[::1]`.
#[must_use]
pub fn literal(host: &str) -> Option<IpAddr> {
    match host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        Some(inner) => inner.parse().ok().map(IpAddr::V6),
        None => host.parse().ok().map(IpAddr::V4),
    }
}

/// Whether a host, without its port, can only mean the machine itself (RFC 6761, section 6.3): no name server can make it
/// another.
#[must_use]
pub fn is_loopback_host(host: &str) -> bool {
    let name = host.strip_suffix('.').unwrap_or(host);
    let labels = name.rsplit('.').next();
    labels.is_some_and(|label| label.eq_ignore_ascii_case("localhost"))
        || literal(host).is_some_and(is_loopback)
}

/// A host and port without the port.
#[must_use]
pub fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        // What stands in brackets has colons of its own.
        Some((name, port)) if !port.ends_with(']') => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The registries of special-purpose addresses, with the first and the last address of each block, and what stands right
    /// before and behind.
    #[test]
    fn what_is_set_aside_is_not_public() {
        for (first, last) in [
            ("0.0.0.0", "0.255.255.255"),
            ("10.0.0.0", "10.255.255.255"),
            ("100.64.0.0", "100.127.255.255"),
            ("127.0.0.0", "127.255.255.255"),
            ("169.254.0.0", "169.254.255.255"),
            ("172.16.0.0", "172.31.255.255"),
            ("192.0.0.0", "192.0.0.255"),
            ("192.0.2.0", "192.0.2.255"),
            ("192.88.99.0", "192.88.99.255"),
            ("192.168.0.0", "192.168.255.255"),
            ("198.18.0.0", "198.19.255.255"),
            ("198.51.100.0", "198.51.100.255"),
            ("203.0.113.0", "203.0.113.255"),
            ("224.0.0.0", "239.255.255.255"),
            ("240.0.0.0", "255.255.255.255"),
            ("::", "::1"),
            ("::127.0.0.1", "::8.8.8.8"),
            ("::ffff:0:0", "::ffff:255.255.255.255"),
            ("::ffff:8.8.8.8", "::ffff:0:8.8.8.8"),
            ("64:ff9b::", "64:ff9b::0.255.255.255"),
            ("64:ff9b::10.0.0.1", "64:ff9b::169.254.169.254"),
            ("64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff"),
            ("100::", "100::ffff:ffff:ffff:ffff"),
            ("100:0:0:1::", "100:0:0:1:ffff:ffff:ffff:ffff"),
            ("2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("2002::", "2002:ff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("2002:7f00:1::1", "2002:c0a8:101::1"),
            ("2002:a9fe:a9fe::", "2002:a00:1::"),
            ("3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("5f00::", "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("4000::", "::2:0:0:0"),
        ] {
            for text in [first, last] {
                assert!(!is_public(text.parse().unwrap()), "{text}");
            }
        }
        for text in [
            "1.0.0.0",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.0.3.0",
            "192.88.98.255",
            "192.88.100.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "198.51.99.255",
            "198.51.101.0",
            "203.0.112.255",
            "203.0.114.0",
            "223.255.255.255",
            "8.8.8.8",
            "64:ff9b::8.8.8.8",
            "2000::",
            "2001:200::",
            "2001:4860:4860::8888",
            "2001:db7:ffff::",
            "2001:db9::",
            "2002:808:808::1",
            "2003::",
            "2606:4700::1111",
            "3ffe:ffff::",
            "3fff:1000::",
        ] {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn hosts_that_mean_the_machine_itself() {
        for (host, is_own) in [
            ("localhost", true),
            ("LocalHost.", true),
            ("crm.localhost", true),
            ("127.0.0.1", true),
            ("127.255.0.9", true),
            ("[::1]", true),
            ("[::ffff:127.0.0.1]", true),
            ("localhost.example", false),
            ("notlocalhost", false),
            ("127.0.0.1.nip.example", false),
            ("0.0.0.0", false),
            ("[::]", false),
            ("192.168.0.1", false),
            ("2130706433", false),
            ("::1", false),
            ("", false),
        ] {
            assert_eq!(is_loopback_host(host), is_own, "{host}");
        }
    }

    #[test]
    fn ports_are_taken_off() {
        for (host, name) in [
            ("a:80", "a"),
            ("a", "a"),
            ("a:", "a"),
            ("[::1]:80", "[::1]"),
            ("[::1]", "[::1]"),
        ] {
            assert_eq!(without_port(host), name);
        }
    }
}
