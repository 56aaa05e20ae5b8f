//! Addresses to listen at, networks that may connect, and rates, as a topology file writes them.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize, Serializer};

use crate::units::ByteSize;

/// An address to listen at: `"127.0.0.1:9999"`, `"[::1]:9999"` or `"localhost:9999"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenAddress(pub SocketAddr);

/// A network: `"10.0.0.0/8"`, `"fd00::/8"`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    /// The number of leading bits that all addresses of the network share.
    prefix: u8,
}

/// Bytes per second: `"10MB/s"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRate(pub ByteSize);

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let local = text.strip_prefix("localhost:").and_then(|port| port.parse().ok());
        let local = local.map(|port| SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port));
        local.or_else(|| text.parse().ok()).map(Self).ok_or_else(|| {
            format!(
                "bad address \"{text}\": expected an IP address and a port, such as \
                 \"127.0.0.1:9999\""
            )
        })
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Network {
    /// Returns true if the network has this address. An IPv4 address in IPv6 form counts as IPv4.
    pub fn has(&self, address: IpAddr) -> bool {
        let bits_differ = match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                (own.to_bits() ^ other.to_bits()).leading_zeros()
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                (own.to_bits() ^ other.to_bits()).leading_zeros()
            }
            _ => return false,
        };
        bits_differ >= self.prefix.into()
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || {
            format!(
                "bad network \"{text}\": expected an IP address and the length of its prefix, such \
                 as \"10.0.0.0/8\""
            )
        };
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| bad())?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            Some(prefix) => prefix.parse().ok().filter(|prefix| *prefix <= bits).ok_or_else(bad)?,
            None => bits,
        };
        Ok(Self { address, prefix })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl FromStr for ByteRate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bytes: Option<ByteSize> = text.strip_suffix("/s").and_then(|size| size.parse().ok());
        match bytes {
            Some(bytes) if bytes.0 > 0 => Ok(Self(bytes)),
            _ => Err(format!("bad rate \"{text}\": expected a size and /s, such as \"10MB/s\"")),
        }
    }
}

impl fmt::Display for ByteRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", self.0)
    }
}

/// Implements serde and the schema by `FromStr` and `Display`, since these types are text in files.
macro_rules! as_text {
    ($type:ident, $what:literal) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "description": $what })
            }
        }
    };
}

as_text!(ListenAddress, "an IP address and a port, such as \"127.0.0.1:9999\"");
as_text!(Network, "a network, such as \"10.0.0.0/8\"");
as_text!(ByteRate, "bytes per second, such as \"10MB/s\"");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_networks_and_rates_read_back() {
        for (text, printed) in [
            ("localhost:9999", "127.0.0.1:9999"),
            ("127.0.0.1:0", "127.0.0.1:0"),
            ("[::1]:80", "[::1]:80"),
        ] {
            assert_eq!(text.parse::<ListenAddress>().unwrap().to_string(), printed);
        }
        for text in ["9999", "example.org:9999", "127.0.0.1", "127.0.0.1:99999", "localhost:x"] {
            let error = text.parse::<ListenAddress>().unwrap_err();
            assert!(error.starts_with(&format!("bad address \"{text}\"")), "{error}");
        }
        assert_eq!("10MB/s".parse::<ByteRate>().unwrap().to_string(), "10MB/s");
        for text in ["10MB", "0B/s", "fast", "/s", "10MB/m"] {
            assert!(text.parse::<ByteRate>().is_err(), "{text}");
        }
        for text in ["10.0.0.0/33", "10.0.0/8", "fd00::/129", "", "/8", "10.0.0.0/-1"] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_network_has_the_addresses_of_its_prefix() {
        let has = |network: &str, address: &str| {
            network.parse::<Network>().unwrap().has(address.parse().unwrap())
        };
        assert!(has("10.0.0.0/8", "10.255.1.2") && !has("10.0.0.0/8", "11.0.0.1"));
        assert!(has("10.0.0.0/8", "::ffff:10.1.2.3"));
        assert!(has("192.168.1.7", "192.168.1.7") && !has("192.168.1.7", "192.168.1.6"));
        assert!(has("0.0.0.0/0", "1.2.3.4") && !has("0.0.0.0/0", "::1"));
        assert!(has("fd00::/8", "fdff::1") && !has("fd00::/8", "fe00::1"));
        assert!(has("::/0", "fe80::1"));
    }
}
