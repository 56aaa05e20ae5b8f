//! TLS of the server, with the certificate and the key that it is given.

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::options::TlsFiles;
use crate::error::{Error, Result};

/// Reads the configuration of a listener with TLS.
///
/// # Errors
/// If a file can't be read, isn't PEM, or the two don't belong together.
pub(crate) fn server_config(files: &TlsFiles) -> Result<ServerConfig> {
    let TlsFiles { certificate, key } = files;
    let bad = |what: &str, path: &std::path::Path| {
        Error::fatal(format!("can't use \"{}\" as {what}: expected PEM", path.display()))
    };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>)
        .map_err(|error| bad("a certificate", certificate).because(error))?;
    let private = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| bad("a private key", key).because(error))?;
    // There may be one already: then it is this one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    ServerConfig::builder().with_no_client_auth().with_single_cert(chain, private).map_err(
        |error| {
            let (certificate, key) = (certificate.display(), key.display());
            Error::fatal(format!("\"{certificate}\" and \"{key}\" don't make TLS")).because(error)
        },
    )
}
