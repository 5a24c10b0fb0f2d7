//! Ranges of IP addresses: for lists, and to tell whether connections come from one place.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;

/// An address, or a range such as `203.0.113.0/24` or `2001:db8::/32`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subnet {
    base: IpAddr,
    prefix: u8,
}

/// Bits of an address that one customer of a provider shares.
const PLACE_V4: u8 = 24;
const PLACE_V6: u8 = 48;

impl Subnet {
    /// The range of this prefix length around an address; a longer prefix than the address has bits is the address alone.
    #[must_use]
    pub fn around(addr: IpAddr, prefix: u8) -> Self {
        match addr.to_canonical() {
            IpAddr::V4(ip) => {
                let prefix = prefix.min(32);
                let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
                Self { base: Ipv4Addr::from_bits(ip.to_bits() & mask).into(), prefix }
            }
            IpAddr::V6(ip) => {
                let prefix = prefix.min(128);
                let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
                Self { base: Ipv6Addr::from_bits(ip.to_bits() & mask).into(), prefix }
            }
        }
    }

    /// Whether an address is in it.
    #[must_use]
    pub fn contains(&self, addr: IpAddr) -> bool {
        let addr = addr.to_canonical();
        addr.is_ipv4() == self.base.is_ipv4() && Self::around(addr, self.prefix) == *self
    }

    /// From where a connection comes, for counting: the /24 or /48 of a public address. Within a private network each host counts
    /// for itself, since its neighbours may be as honest as it is; nobody on this machine is counted.
    pub(crate) fn place(addr: IpAddr) -> Option<Self> {
        match addr.to_canonical() {
            ip if ip.is_loopback() || ip.is_unspecified() => None,
            ip if is_private(ip) => Some(Self::around(ip, 128)),
            ip if ip.is_ipv4() => Some(Self::around(ip, PLACE_V4)),
            ip => Some(Self::around(ip, PLACE_V6)),
        }
    }
}

/// Addresses of local networks, those behind a provider's NAT among them.
pub(crate) fn is_private(addr: IpAddr) -> bool {
    match addr.to_canonical() {
        IpAddr::V4(ip) => {
            let shared = ip.octets()[0] == 100 && ip.octets()[1] & 0b1100_0000 == 64;
            ip.is_private() || ip.is_link_local() || shared
        }
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

/// The address on the other side of a connection, if it is one of its own and not a relay's.
pub(crate) fn ip_of(addr: &Multiaddr) -> Option<IpAddr> {
    if addr.iter().any(|part| part == Protocol::P2pCircuit) {
        return None;
    }
    addr.iter().find_map(|part| match part {
        Protocol::Ip4(ip) => Some(ip.into()),
        Protocol::Ip6(ip) => Some(ip.into()),
        _ => None,
    })
}

impl FromStr for Subnet {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (addr, prefix) = match text.split_once('/') {
            None => (text, None),
            Some((addr, prefix)) => (addr, Some(prefix)),
        };
        let addr: IpAddr = addr.parse().map_err(|_| format!("{addr:?} is no IP address"))?;
        let most = if addr.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => most,
            Some(text) => text
                .parse()
                .ok()
                .filter(|prefix| (1..=most).contains(prefix))
                .ok_or_else(|| format!("/{text}: expected a number from 1 to {most}"))?,
        };
        let subnet = Self::around(addr, prefix);
        if subnet.base != addr.to_canonical() {
            return Err(format!("{text}: bits are set behind the prefix; expected {subnet}"));
        }
        Ok(subnet)
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

impl fmt::Debug for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_range_contains_what_shares_its_prefix() {
        let range: Subnet = "203.0.113.0/24".parse().unwrap();
        assert!(range.contains(ip("203.0.113.255")) && range.contains(ip("::ffff:203.0.113.1")));
        assert!(!range.contains(ip("203.0.114.0")) && !range.contains(ip("::1")));
        let range: Subnet = "2001:db8::/32".parse().unwrap();
        assert!(range.contains(ip("2001:db8:ffff::1")) && !range.contains(ip("2001:db9::")));
        let one: Subnet = "192.0.2.7".parse().unwrap();
        assert!(one.contains(ip("192.0.2.7")) && !one.contains(ip("192.0.2.8")));
        assert!("0.0.0.0/1".parse::<Subnet>().unwrap().contains(ip("127.0.0.1")));
    }

    #[test]
    fn what_is_no_range_is_refused_with_what_would_be_right() {
        for (text, said) in [
            ("203.0.113.7/24", "expected 203.0.113.0/24"),
            ("203.0.113.0/33", "from 1 to 32"),
            ("203.0.113.0/0", "from 1 to 32"),
            ("203.0.113", "no IP address"),
            ("::/x", "from 1 to 128"),
        ] {
            let error = text.parse::<Subnet>().unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    #[test]
    fn public_addresses_are_counted_together_and_this_machine_is_not() {
        assert_eq!(Subnet::place(ip("203.0.113.7")), Subnet::place(ip("203.0.113.8")));
        assert_eq!(Subnet::place(ip("2001:db8:1:2::3")), Subnet::place(ip("2001:db8:1:ffff::4")));
        assert_ne!(Subnet::place(ip("2001:db8:1::")), Subnet::place(ip("2001:db8:2::")));
        for (a, b) in [("192.168.1.1", "192.168.1.2"), ("10.0.0.1", "10.0.0.2"), ("100.64.0.1", "100.64.0.2")] {
            assert_ne!(Subnet::place(ip(a)), Subnet::place(ip(b)), "neighbours in a local network");
            assert_eq!(Subnet::place(ip(a)), Subnet::place(ip(a)));
        }
        assert_ne!(Subnet::place(ip("fd00::1")), Subnet::place(ip("fd00::2")));
        for here in ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(Subnet::place(ip(here)), None);
        }
    }
}
