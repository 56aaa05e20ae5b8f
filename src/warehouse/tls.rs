//! Encrypted connections to a warehouse, by rustls, with certificates checked as `sslmode` says.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};

use super::address::{Authorities, TlsMode, WarehouseAddress};
use crate::error::{Error, Result};

/// Creates the encryption of connections.
#[derive(Clone)]
pub(crate) struct WarehouseTls(Arc<ClientConfig>);

impl WarehouseTls {
    /// Creates the encryption that an address asks for.
    ///
    /// # Errors
    /// If the file with the authorities can't be read, or has no certificate.
    pub(crate) fn of(address: &WarehouseAddress) -> Result<Self> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|cause| Error::fatal("can't set up TLS").because(cause))?;
        let config = match &address.authorities {
            Some(Authorities::System) => builder
                .with_platform_verifier()
                .map_err(|cause| {
                    Error::fatal("can't read this machine's authorities").because(cause)
                })?
                .with_no_client_auth(),
            other => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(verifier(
                    address.tls,
                    other.as_ref(),
                    provider,
                )?))
                .with_no_client_auth(),
        };
        Ok(Self(Arc::new(config)))
    }
}

fn verifier(
    mode: TlsMode,
    authorities: Option<&Authorities>,
    provider: Arc<CryptoProvider>,
) -> Result<Verifier> {
    let checks_name = mode == TlsMode::VerifyFull;
    // As in libpq, `require` checks the authority if a file with authorities exists.
    let checks = matches!(mode, TlsMode::Require | TlsMode::VerifyCa | TlsMode::VerifyFull);
    let Some(Authorities::File(path)) = authorities.filter(|_| checks) else {
        return Ok(Verifier { trusted: None, checks_name, provider });
    };
    let shown = path.display();
    let bad = |cause: String| {
        Error::fatal(format!("can't read the authorities in \"{shown}\" (sslrootcert)"))
            .because(cause)
    };
    let mut certificates = Vec::new();
    for certificate in
        CertificateDer::pem_file_iter(path).map_err(|cause| bad(cause.to_string()))?
    {
        certificates.push(certificate.map_err(|cause| bad(cause.to_string()))?);
    }
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(certificates.iter().cloned());
    if added == 0 {
        return Err(bad("expected certificates in PEM, found none".into()));
    }
    let chains =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()
            .map_err(|cause| bad(cause.to_string()))?;
    Ok(Verifier { trusted: Some(Trusted { certificates, chains }), checks_name, provider })
}

#[derive(Debug)]
struct Trusted {
    certificates: Vec<CertificateDer<'static>>,
    chains: Arc<WebPkiServerVerifier>,
}

/// Checks a server's certificate as strictly as `sslmode` says.
#[derive(Debug)]
struct Verifier {
    /// None if any certificate is accepted.
    trusted: Option<Trusted>,
    checks_name: bool,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(trusted) = &self.trusted else { return Ok(ServerCertVerified::assertion()) };
        // A certificate that is itself in the file needs no other authority.
        if trusted.certificates.iter().any(|known| known == certificate) {
            if self.checks_name {
                verify_server_name(&ParsedCertificate::try_from(certificate)?, server)?;
            }
            return Ok(ServerCertVerified::assertion());
        }
        let verified =
            trusted.chains.verify_server_cert(certificate, intermediates, server, ocsp, now);
        match verified {
            // The chain is verified before the name.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.checks_name => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Encrypts one connection.
pub(crate) struct WarehouseTlsConnect {
    config: Arc<ClientConfig>,
    /// None for a host without a name for a certificate, such as a Unix socket.
    server: Option<ServerName<'static>>,
}

/// An encrypted connection.
pub(crate) struct WarehouseTlsStream<S>(tokio_rustls::client::TlsStream<S>);

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> MakeTlsConnect<S> for WarehouseTls {
    type Stream = WarehouseTlsStream<S>;
    type TlsConnect = WarehouseTlsConnect;
    type Error = io::Error;

    fn make_tls_connect(&mut self, host: &str) -> io::Result<Self::TlsConnect> {
        // This function is also called for connections without TLS.
        let server = ServerName::try_from(host.to_owned()).ok();
        Ok(WarehouseTlsConnect { config: Arc::clone(&self.0), server })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> TlsConnect<S> for WarehouseTlsConnect {
    type Stream = WarehouseTlsStream<S>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Stream>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        Box::pin(async move {
            let Some(server) = self.server else {
                return Err(io::Error::other("TLS needs the name or the address of a host"));
            };
            let connector = tokio_rustls::TlsConnector::from(self.config);
            connector.connect(server, stream).await.map(WarehouseTlsStream)
        })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream for WarehouseTlsStream<S> {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for WarehouseTlsStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WarehouseTlsStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
