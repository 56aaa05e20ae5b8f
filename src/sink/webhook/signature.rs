//! The signature of a request: HMAC-SHA256 over its time and its body, in the form that Stripe made
//! common, so that libraries for that verify it.

use std::fmt::Write as _;

use ring::hmac;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::secret::Secret;

/// The signature of requests: `Waterspout-Signature: t=1700000000,v1=<hex>`. The digits behind
/// `v1=` are HMAC-SHA256, keyed with the secret, over the number behind `t=`, a full stop, and the
/// body as it came. Who verifies compares them in constant time, and refuses a `t` that is some
/// minutes old, so that nobody sends a request once more. In Python:
///
/// `hmac.compare_digest(v1, hmac.new(secret, t + b"." + body, "sha256").hexdigest())`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    /// The secret that the endpoint knows too.
    pub secret: Secret,
    /// The header's name.
    #[serde(default = "header")]
    pub header: String,
}

fn header() -> String {
    "Waterspout-Signature".into()
}

impl Signature {
    /// The header's value for a body that is sent at this time, in seconds since 1970.
    pub fn of(&self, unix_seconds: i64, body: &[u8]) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.secret.reveal().as_bytes());
        let mut signed = hmac::Context::with_key(&key);
        signed.update(format!("{unix_seconds}.").as_bytes());
        signed.update(body);
        let mut value = format!("t={unix_seconds},v1=");
        for byte in signed.sign().as_ref() {
            // Writing to a string can't fail.
            let _ = write!(value, "{byte:02x}");
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_what_python_makes_of_the_same() {
        let signature = Signature { secret: Secret::new("whsec_test"), header: header() };
        // hmac.new(b"whsec_test", b'1700000000.{"a":1}', "sha256").hexdigest()
        let expected =
            "t=1700000000,v1=38877139021993b830af32feea6e18a8da83eb2f6e49ee50bd9e4cf4ca4d3789";
        assert_eq!(signature.of(1_700_000_000, br#"{"a":1}"#), expected);
        assert!(!format!("{signature:?}").contains("whsec"));
    }
}
