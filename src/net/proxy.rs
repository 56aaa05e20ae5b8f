//! The proxy that leads outside, for connections that the HTTP client doesn't make. The proxy is
//! found by the same rules (`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`), and tunnelled by
//! `CONNECT` (RFC 9110, 9.3.6).

use hyper_util::client::proxy::matcher::Matcher;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The longest answer to `CONNECT`, in bytes.
const ANSWER_BYTES_MAX: usize = 16 << 10;

/// A proxy.
pub struct Proxy {
    /// True if the proxy is reached over TLS.
    pub secure: bool,
    /// The proxy's name or address.
    pub host: String,
    /// The proxy's port.
    pub port: u16,
    authorization: Option<String>,
}

/// Returns the proxy for a host, if the environment names one.
///
/// # Errors
/// If the environment names a proxy of an unsupported kind.
pub fn proxy_of(secure: bool, host: &str, port: u16) -> Result<Option<Proxy>, String> {
    proxy_in(&Matcher::from_env(), secure, host, port)
}

fn proxy_in(
    matcher: &Matcher,
    secure: bool,
    host: &str,
    port: u16,
) -> Result<Option<Proxy>, String> {
    let scheme = if secure { "https" } else { "http" };
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let address = format!("{scheme}://{host}:{port}/").parse();
    let Ok(address) = address else { return Ok(None) };
    let Some(found) = matcher.intercept(&address) else { return Ok(None) };
    let secure = match found.uri().scheme_str() {
        Some("http") | None => false,
        Some("https") => true,
        Some(other) => {
            return Err(format!(
                "a proxy of the kind \"{other}\" isn't supported: name one with http:// or https://"
            ));
        }
    };
    let authorization = found.basic_auth().and_then(|value| value.to_str().ok()).map(str::to_owned);
    let host = found.uri().host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let port = found.uri().port_u16().unwrap_or(if secure { 443 } else { 80 });
    Ok(Some(Proxy { secure, host, port, authorization }))
}

impl Proxy {
    /// Asks the proxy for a tunnel to a host. Afterwards the stream is connected to this host.
    ///
    /// # Errors
    /// If the proxy refuses, or the connection ends.
    pub async fn tunnel(
        &self,
        io: &mut (impl AsyncRead + AsyncWrite + Unpin),
        host: &str,
        port: u16,
    ) -> Result<(), String> {
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let mut request = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n");
        if let Some(authorization) = &self.authorization {
            request += &format!("Proxy-Authorization: {authorization}\r\n");
        }
        request += "\r\n";
        io.write_all(request.as_bytes())
            .await
            .map_err(|error| format!("lost the connection to the proxy: {error}"))?;
        io.flush().await.map_err(|error| format!("lost the connection to the proxy: {error}"))?;
        // The answer is read byte by byte, since the bytes behind its empty line belong to the
        // tunnel.
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            match io.read_u8().await {
                Ok(byte) if answer.len() < ANSWER_BYTES_MAX => answer.push(byte),
                Ok(_) => return Err("the answer of the proxy has no end".into()),
                Err(error) => return Err(format!("lost the connection to the proxy: {error}")),
            }
        }
        let status = answer
            .split(|byte| *byte == b' ')
            .nth(1)
            .and_then(|text| std::str::from_utf8(text).ok());
        match status.and_then(|text| text.trim().parse::<u16>().ok()) {
            Some(200..=299) => Ok(()),
            Some(407) => {
                Err("the proxy wants a user and a password: name them in its address".into())
            }
            Some(status) => {
                Err(format!("the proxy refused a tunnel to {host}:{port} with status {status}"))
            }
            None => Err("the proxy answered with something else than HTTP".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matcher() -> Matcher {
        Matcher::builder()
            .http("http://u:p@plain:3128")
            .https("https://tls")
            .no("inside,.local")
            .build()
    }

    #[test]
    fn the_scheme_chooses_the_proxy_and_some_hosts_need_none() {
        let found = proxy_in(&matcher(), false, "a.example", 80).unwrap().unwrap();
        assert_eq!((found.secure, &*found.host, found.port), (false, "plain", 3128));
        assert_eq!(found.authorization.as_deref(), Some("Basic dTpw"));
        let found = proxy_in(&matcher(), true, "a.example", 443).unwrap().unwrap();
        assert_eq!((found.secure, &*found.host, found.port), (true, "tls", 443));
        assert!(proxy_in(&matcher(), true, "inside", 443).unwrap().is_none());
        assert!(proxy_in(&matcher(), true, "x.local", 443).unwrap().is_none());
        let socks = Matcher::builder().all("socks5://s:1080").build();
        assert!(
            proxy_in(&socks, true, "a", 443).err().unwrap().contains("\"socks5\" isn't supported")
        );
    }

    proptest::proptest! {
        #[test]
        fn no_proxy_and_no_host_makes_the_search_panic(
            proxy in "(https?|socks5h?|ftp)?(:|//|@|[a-z0-9.]|\\[|\\]|%|é| ){0,20}",
            no in ".{0,12}",
            host in "([a-z0-9.:\\[\\]%]{0,12}|.{0,8})",
            port in proptest::prelude::any::<u16>(),
        ) {
            let matcher = Matcher::builder().all(proxy).no(no).build();
            let _ = (proxy_in(&matcher, false, &host, port), proxy_in(&matcher, true, &host, port));
        }
    }

    async fn tunnel(answer: &[u8]) -> (Result<(), String>, String) {
        let (mut ours, mut theirs) = tokio::io::duplex(64 << 10);
        theirs.write_all(answer).await.unwrap();
        let proxy = proxy_in(&matcher(), false, "a.example", 80).unwrap().unwrap();
        let opened = proxy.tunnel(&mut ours, "a.example", 80).await;
        drop(ours);
        let mut sent = String::new();
        theirs.read_to_string(&mut sent).await.unwrap();
        (opened, sent)
    }

    #[test]
    fn a_tunnel_is_open_or_says_why_not() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (opened, sent) = tunnel(b"HTTP/1.1 200 OK\r\nVia: x\r\n\r\n").await;
            assert_eq!(opened, Ok(()));
            let head = "CONNECT a.example:80 HTTP/1.1\r\nHost: a.example:80\r\n";
            assert_eq!(sent, format!("{head}Proxy-Authorization: Basic dTpw\r\n\r\n"));
            let fails = async |answer: &[u8]| tunnel(answer).await.0.unwrap_err();
            assert!(fails(b"HTTP/1.1 407 No\r\n\r\n").await.contains("wants a user"));
            assert!(fails(b"HTTP/1.1 503 No\r\n\r\n").await.contains("with status 503"));
            assert!(fails(b"gibberish\r\n\r\n").await.contains("something else than HTTP"));
            assert!(fails(&[b'a'; 32 << 10]).await.contains("has no end"));
        });
    }
}
