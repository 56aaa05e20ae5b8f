//! Addresses of warehouses: `postgres://user:password@host:5432/database?sslmode=verify-full`, or
//! `host=… user=…`, in the forms of libpq.
//!
//! This module reads `sslmode` and its files, since the client supports only half of the modes. The
//! client reads everything else.

use std::path::PathBuf;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

use crate::error::{Error, Result};
use crate::secret::Secret;

/// The application name that the server's list of sessions shows.
const APPLICATION: &str = "waterspout";

/// The time for each of a server's addresses to accept a connection. A longer time only delays the
/// next attempt.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// The idle time after which the kernel probes the other side.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);

/// The interval and the number of unanswered probes after which the connection is closed.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(5);
const KEEPALIVE_RETRIES: u32 = 3;

/// The longest time that sent bytes may stay without an acknowledgement.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(30);

/// The encryption of a connection, as libpq defines the modes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsMode {
    /// Never encrypted.
    Disable,
    /// Encrypted only if the server refuses a plain connection.
    Allow,
    /// Encrypted if the server supports it, without a check of its certificate.
    Prefer,
    /// Always encrypted; the certificate is checked only if a file with authorities is set.
    Require,
    /// Always encrypted, with a certificate from a trusted authority.
    VerifyCa,
    /// Always encrypted, with a certificate from a trusted authority for the host's name.
    VerifyFull,
}

/// The source of the trusted authorities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authorities {
    /// The machine's own authorities.
    System,
    /// A file with certificates in PEM.
    File(PathBuf),
}

/// A parsed address.
#[derive(Clone)]
pub struct WarehouseAddress {
    /// Everything but the encryption.
    pub config: Config,
    /// The encryption.
    pub tls: TlsMode,
    /// The authorities that certificates must come from.
    pub authorities: Option<Authorities>,
}

impl WarehouseAddress {
    /// Parses an address.
    ///
    /// # Errors
    /// If the address is invalid. The error never repeats the address, which may hold a password.
    pub fn parse(url: &Secret) -> Result<Self> {
        let mut options = TlsOptions::default();
        let text = options.take_from(url.reveal().trim()).map_err(bad)?;
        let mut config: Config = text
            .parse()
            .map_err(|cause: tokio_postgres::Error| bad(printable_cause(&cause, url)))?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(bad("no host: expected \"postgres://user@host:5432/database\"".into()));
        }
        set_patience(&mut config);
        let (tls, authorities) = options.understood()?;
        config.ssl_mode(match tls {
            TlsMode::Disable | TlsMode::Allow => SslMode::Disable,
            TlsMode::Prefer => SslMode::Prefer,
            TlsMode::Require | TlsMode::VerifyCa | TlsMode::VerifyFull => SslMode::Require,
        });
        Ok(Self { config, tls, authorities })
    }

    /// Returns the servers and the database, for people: no user and no password.
    pub fn name(&self) -> String {
        let mut hosts = Vec::new();
        for (number, host) in self.config.get_hosts().iter().enumerate() {
            let ports = self.config.get_ports();
            let port = ports.get(number).or(ports.first()).copied().unwrap_or(5432);
            hosts.push(match host {
                Host::Tcp(name) => format!("{name}:{port}"),
                Host::Unix(folder) => format!("{}:{port}", folder.display()),
            });
        }
        if hosts.is_empty() {
            hosts.extend(self.config.get_hostaddrs().iter().map(ToString::to_string));
        }
        let database = self.config.get_dbname().or(self.config.get_user()).unwrap_or_default();
        format!("{}/{database}", hosts.join(","))
    }
}

fn bad(what: String) -> Error {
    Error::fatal(format!("bad address of the warehouse: {what}"))
}

/// Returns the cause without any part of the address.
fn printable_cause(cause: &tokio_postgres::Error, url: &Secret) -> String {
    let text = Error::fatal("").because(cause.to_string()).chain();
    let source = std::error::Error::source(cause).map(ToString::to_string).unwrap_or_default();
    let text = format!("{} {source}", text.trim_start_matches(": "));
    if url
        .reveal()
        .split(['/', ':', '@', '?', '&', '=', ' '])
        .any(|part| part.len() > 3 && source.contains(part))
    {
        return "expected \"postgres://user:password@host:5432/database\"".into();
    }
    text.trim().into()
}

/// Sets the longest silence of a server, unless the address sets it.
fn set_patience(config: &mut Config) {
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(CONNECT_MAX);
    }
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(UNACKNOWLEDGED_MAX);
    }
    if config.get_keepalives_interval().is_none() {
        config.keepalives_interval(KEEPALIVE_EVERY);
    }
    if config.get_keepalives_retries().is_none() {
        config.keepalives_retries(KEEPALIVE_RETRIES);
    }
    if config.get_keepalives() && config.get_keepalives_idle() > KEEPALIVE_IDLE {
        config.keepalives_idle(KEEPALIVE_IDLE);
    }
    if config.get_application_name().is_none() {
        config.application_name(APPLICATION);
    }
    // Of several servers, use the one that accepts writes: the others are standby copies.
    if config.get_target_session_attrs() == TargetSessionAttrs::Any && config.get_hosts().len() > 1
    {
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
    }
}

/// The options that the client doesn't support.
#[derive(Default)]
struct TlsOptions {
    mode: Option<String>,
    root: Option<String>,
}

impl TlsOptions {
    /// Removes the options from an address, and returns the rest.
    fn take_from(&mut self, text: &str) -> Result<String, String> {
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return self.take_from_url(text);
        }
        if text.contains("://") {
            return Err("expected it to begin with postgres:// or postgresql://".into());
        }
        self.take_from_words(text)
    }

    fn take_from_url(&mut self, text: &str) -> Result<String, String> {
        let Some((address, query)) = text.split_once('?') else { return Ok(text.into()) };
        let mut kept = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if !self.take(name, || percent_decoded(value))? {
                kept.push(pair);
            }
        }
        Ok(if kept.is_empty() { address.into() } else { format!("{address}?{}", kept.join("&")) })
    }

    /// Reads the form `host=… sslmode=…`, in which a value may stand in single quotes.
    fn take_from_words(&mut self, text: &str) -> Result<String, String> {
        let mut rest = text.trim_start();
        let mut kept = String::new();
        while let Some((name, behind)) = rest.split_once('=') {
            let behind = behind.trim_start();
            let length = value_length(behind);
            let written = &behind[..length];
            let value = || {
                let inner = written.strip_prefix('\'').and_then(|text| text.strip_suffix('\''));
                Ok(inner.unwrap_or(written).replace("\\'", "'").replace("\\\\", "\\"))
            };
            if !self.take(name.trim(), value)? {
                kept.push_str(&format!("{}={written} ", name.trim()));
            }
            rest = behind[length..].trim_start();
        }
        kept.push_str(rest);
        Ok(kept)
    }

    /// Returns true if the option is one of these.
    fn take(
        &mut self,
        name: &str,
        value: impl FnOnce() -> Result<String, String>,
    ) -> Result<bool, String> {
        match name {
            "sslmode" => self.mode = Some(value()?),
            "sslrootcert" => self.root = Some(value()?),
            "sslcert" | "sslkey" | "sslcrl" => {
                return Err(format!("\"{name}\" isn't supported: leave it out"));
            }
            // These options have no effect on a client with TLS 1.2 and 1.3.
            "sslcompression" | "sslsni" | "gssencmode" => {}
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn understood(self) -> Result<(TlsMode, Option<Authorities>)> {
        let system = self.root.as_deref() == Some("system");
        let mode = match self.mode.as_deref() {
            None if system => TlsMode::VerifyFull,
            None => TlsMode::Prefer,
            Some("disable") => TlsMode::Disable,
            Some("allow") => TlsMode::Allow,
            Some("prefer") => TlsMode::Prefer,
            Some("require") => TlsMode::Require,
            Some("verify-ca") => TlsMode::VerifyCa,
            Some("verify-full") => TlsMode::VerifyFull,
            Some(other) => {
                return Err(bad(format!(
                    "unknown sslmode \"{other}\": expected disable, allow, prefer, require, \
                        verify-ca or verify-full"
                )));
            }
        };
        if system {
            if mode != TlsMode::VerifyFull {
                return Err(bad("sslrootcert=system needs sslmode=verify-full".into()));
            }
            return Ok((mode, Some(Authorities::System)));
        }
        let given = self.root.filter(|path| !path.is_empty()).map(PathBuf::from);
        let file = given.or_else(|| default_root().filter(|path| path.exists()));
        let checks = matches!(mode, TlsMode::VerifyCa | TlsMode::VerifyFull);
        if checks && file.is_none() {
            return Err(bad(
                "sslmode=verify-ca and verify-full need authorities: add sslrootcert=FILE, or \
                 sslrootcert=system for those of this machine"
                    .into(),
            ));
        }
        Ok((mode, file.map(Authorities::File)))
    }
}

/// Returns the path where libpq looks for the authorities.
fn default_root() -> Option<PathBuf> {
    Some(PathBuf::from(std::env::var_os("HOME")?).join(".postgresql/root.crt"))
}

/// Returns the length in bytes of the value at the beginning of a text.
fn value_length(text: &str) -> usize {
    let is_quoted = text.starts_with('\'');
    let mut escaped = false;
    for (at, char) in text.char_indices() {
        match char {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '\'' if is_quoted && at > 0 => return at + 1,
            _ if !is_quoted && char.is_whitespace() => return at,
            _ => {}
        }
    }
    text.len()
}

fn percent_decoded(text: &str) -> Result<String, String> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = behind.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let decoded = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(decoded.ok_or("a % that two hexadecimal digits don't follow")?);
        rest = &behind[2..];
    }
    String::from_utf8(bytes).map_err(|_| "an option that isn't UTF-8".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<WarehouseAddress> {
        WarehouseAddress::parse(&Secret::new(url))
    }

    #[test]
    fn addresses_of_both_forms_are_understood_and_named_without_their_secrets() {
        for (url, name, tls) in [
            ("postgres://u:pw@h:6432/d", "h:6432/d", TlsMode::Prefer),
            ("postgresql://u@h/d?sslmode=require", "h:5432/d", TlsMode::Require),
            ("postgres://u:pw@a,b:7/d?sslmode=disable", "a:5432,b:7/d", TlsMode::Disable),
            (
                "postgresql://postgres:@/postgres?host=/tmp/pg",
                "/tmp/pg:5432/postgres",
                TlsMode::Prefer,
            ),
            ("host=h user=u password='p w' dbname=d sslmode=allow", "h:5432/d", TlsMode::Allow),
            ("host=h sslmode='verify-ca' sslrootcert='/a b' user=u", "h:5432/u", TlsMode::VerifyCa),
        ] {
            let address = parse(url).unwrap();
            assert_eq!((address.name().as_str(), address.tls), (name, tls), "{url}");
        }
        let address = parse("postgres://h/d?sslrootcert=/a%20b&sslmode=verify-full").unwrap();
        assert_eq!(address.authorities, Some(Authorities::File("/a b".into())));
        let address = parse("postgres://h/d?sslrootcert=system").unwrap();
        assert_eq!(address.authorities, Some(Authorities::System));
        assert_eq!(address.tls, TlsMode::VerifyFull);
    }

    #[test]
    fn a_bad_address_is_refused_without_its_password() {
        for (url, why) in [
            ("", "no host"),
            ("postgres:///d", "no host"),
            ("mysql://u:hunter2@h/d", "postgres://"),
            ("postgres://u:hunter2@h:port/d", "expected \"postgres://"),
            ("postgres://u:hunter2@h/d?sslmode=hunter2x", "unknown sslmode"),
            ("postgres://u:hunter2@h/d?sslmode=verify-full&sslrootcert=", "sslrootcert=FILE"),
            ("postgres://u:hunter2@h/d?sslrootcert=%zz", "hexadecimal"),
            ("postgres://u:hunter2@h/d?sslcert=a", "sslcert"),
            ("postgres://u:hunter2@h/d?sslmode=require&sslrootcert=system", "verify-full"),
        ] {
            let text = parse(url).err().unwrap_or_else(|| panic!("{url} is taken")).chain();
            assert!(text.contains(why), "{url}: {text}");
            assert!(!text.contains("hunter2@") && !text.contains("u:hunter2"), "{text}");
        }
    }
}
