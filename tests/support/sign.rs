//! The signature of a request to S3 (AWS, "Signature Version 4 signing process"), without its body:
//! for requests to the server beside the client under test.

use ring::{digest, hmac};
use time::OffsetDateTime;
use time::macros::format_description;

const REGION: &str = "us-east-1";

/// Returns the present time as a request has it: `20151218T000000Z`.
pub(crate) fn date() -> String {
    let format = format_description!("[year][month][day]T[hour][minute][second]Z");
    OffsetDateTime::now_utc().format(format).unwrap()
}

/// Returns the authorization header of a request whose body isn't signed. A query has to be in
/// order, and escaped.
pub(crate) fn authorization(
    method: &str,
    path: &str,
    host: &str,
    date: &str,
    (id, key): (&str, &str),
) -> String {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let parameter =
        |part: &str| if part.contains('=') { part.to_owned() } else { format!("{part}=") };
    let mut query: Vec<_> =
        query.split('&').filter(|part| !part.is_empty()).map(parameter).collect();
    query.sort();
    let (query, signed) = (query.join("&"), "host;x-amz-content-sha256;x-amz-date");
    let request = format!(
        "{method}\n{path}\n{query}\nhost:{host}\nx-amz-content-sha256:UNSIGNED-PAYLOAD\nx-amz-date:{date}\n\n\
         {signed}\nUNSIGNED-PAYLOAD"
    );
    let day = &date[..8];
    let scope = format!("{day}/{REGION}/s3/aws4_request");
    let hash = hex(digest::digest(&digest::SHA256, request.as_bytes()).as_ref());
    let mut secret = format!("AWS4{key}").into_bytes();
    for part in [day, REGION, "s3", "aws4_request"] {
        secret = hmac(&secret, part);
    }
    let signature = hex(&hmac(&secret, &format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{hash}")));
    format!(
        "AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={signed}, Signature={signature}"
    )
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}

/// Returns bytes as two hexadecimal digits each.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Escapes a key for a URL, and keeps these characters as well.
pub(crate) fn escape(key: &str, kept: &str) -> String {
    let good =
        |b: u8| b.is_ascii_alphanumeric() || b"-_.~".contains(&b) || kept.as_bytes().contains(&b);
    key.bytes()
        .map(|b| if good(b) { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}
