//! TLS as a flow's configuration sets it: own authorities, a client's certificate, the name to expect, no check at all.

use std::sync::{Arc, OnceLock};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme};

use super::NetError;

/// How a TLS connection is made. Printed without the key.
#[derive(Clone, Default)]
pub struct TlsOptions {
    /// PEM certificates that are trusted instead of the system's; empty: the system's.
    pub authorities: Vec<u8>,
    /// PEM certificates, own first, and the PEM key they belong to, for servers that ask; both or none.
    pub certificate: Vec<u8>,
    pub key: Vec<u8>,
    /// The name the server's certificate must have, and that it is asked for; `None`: the host's.
    pub server_name: Option<String>,
    /// The protocol to agree on (ALPN).
    pub protocol: Option<String>,
    /// Any certificate will do. Only for hosts that `net.unverified` names.
    pub unverified: bool,
}

impl std::fmt::Debug for TlsOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsOptions")
            .field("server_name", &self.server_name)
            .field("unverified", &self.unverified)
            .finish_non_exhaustive()
    }
}

/// Settings that were read and found usable.
#[derive(Clone, Debug)]
pub struct Tls {
    pub(super) config: Arc<ClientConfig>,
    /// For those who connect here; `None` without a certificate of our own.
    pub(super) listening: Option<Arc<ServerConfig>>,
    pub(super) server_name: Option<ServerName<'static>>,
    pub(super) unverified: bool,
}

impl Tls {
    /// Reads certificates and key. The error says what of them cannot be used.
    pub fn new(options: &TlsOptions) -> Result<Tls, String> {
        let provider = Arc::new(ring::default_provider());
        let server_name = match &options.server_name {
            Some(name) => {
                let parsed = ServerName::try_from(name.clone());
                Some(parsed.map_err(|_| format!("\"{name}\" is no server name; expected a host name or an address"))?)
            }
            None => None,
        };
        let verifier: Arc<dyn ServerCertVerifier> = if options.unverified {
            Arc::new(Anybody(provider.clone()))
        } else {
            let roots = roots(&options.authorities)?;
            let checked = WebPkiServerVerifier::builder_with_provider(roots, provider.clone()).build();
            let checked = checked.map_err(|e| format!("the authorities cannot be used: {e}"))?;
            match &server_name {
                Some(name) => Arc::new(Named { name: name.clone(), checked }),
                None => checked,
            }
        };
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|e| e.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut listening = None;
        let mut config = match (options.certificate.is_empty(), options.key.is_empty()) {
            (true, true) => builder.with_no_client_auth(),
            (false, false) => {
                let (key, certificates) = (key(&options.key)?, certificates(&options.certificate)?);
                let server = ServerConfig::builder_with_provider(provider)
                    .with_safe_default_protocol_versions()
                    .map_err(|e| e.to_string())?
                    .with_no_client_auth()
                    .with_single_cert(certificates.clone(), key.clone_key());
                // What cannot be listened with may do for connecting.
                listening = server.ok();
                let own = builder.with_client_auth_cert(certificates, key);
                own.map_err(|e| format!("certificate and key cannot be used together: {e}"))?
            }
            _ => return Err("a certificate needs its key, and a key its certificate".into()),
        };
        let protocols: Vec<Vec<u8>> = options.protocol.iter().map(|p| p.as_bytes().to_vec()).collect();
        config.alpn_protocols = protocols.clone();
        let listening = listening.map(|mut server| {
            server.alpn_protocols = protocols;
            Arc::new(server)
        });
        Ok(Tls { config: Arc::new(config), listening, server_name, unverified: options.unverified })
    }

    /// Whether one may listen with it: it has a certificate and its key.
    pub fn can_listen(&self) -> bool {
        self.listening.is_some()
    }

    /// Trusts what the system trusts.
    pub(super) fn of_system() -> Result<Tls, NetError> {
        static TLS: OnceLock<Result<Tls, String>> = OnceLock::new();
        let tls = TLS.get_or_init(|| Tls::new(&TlsOptions::default()));
        tls.clone().map_err(|why| NetError::new("ERR_TLS_SETUP", format!("cannot set up TLS: {why}")))
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match read {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err("there is no certificate in it; expected PEM (-----BEGIN CERTIFICATE-----)".into()),
        Err(e) => Err(format!("a certificate cannot be read: {e}; expected PEM (-----BEGIN CERTIFICATE-----)")),
    }
}

fn key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    if String::from_utf8_lossy(pem).contains("ENCRYPTED") {
        return Err(
            "the key is encrypted, which is not supported; decrypt it with `openssl pkey -in KEY -out PLAIN`, \
                    and keep it in an environment variable or a credential"
                .into(),
        );
    }
    // The error of the reader might quote the key.
    PrivateKeyDer::from_pem_slice(pem).map_err(|_| "the key cannot be read; expected a PEM private key".to_string())
}

fn roots(pem: &[u8]) -> Result<Arc<RootCertStore>, String> {
    let mut roots = RootCertStore::empty();
    if pem.is_empty() {
        let (added, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if added == 0 {
            return Err("the system trusts nobody; install the ca-certificates package or set SSL_CERT_FILE".into());
        }
    } else {
        for certificate in certificates(pem)? {
            roots.add(certificate).map_err(|e| format!("an authority's certificate cannot be used: {e}"))?;
        }
    }
    Ok(Arc::new(roots))
}

/// Checks a certificate against another name than that of the host.
#[derive(Debug)]
struct Named {
    name: ServerName<'static>,
    checked: Arc<WebPkiServerVerifier>,
}

impl ServerCertVerifier for Named {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        _host: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.checked.verify_server_cert(own, between, &self.name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.checked.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.checked.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.checked.supported_verify_schemes()
    }
}

/// Takes any certificate; that its holder has the key is still checked.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _own: &CertificateDer<'_>,
        _between: &[CertificateDer<'_>],
        _host: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let schemes = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, schemes)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let schemes = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, schemes)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_used_is_told_without_the_key() {
        let key = b"-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n".to_vec();
        let encrypted =
            b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nc2VjcmV0\n-----END ENCRYPTED PRIVATE KEY-----\n".to_vec();
        let certificate = b"-----BEGIN CERTIFICATE-----\nc2VjcmV0\n-----END CERTIFICATE-----\n".to_vec();
        for (options, problem) in [
            (TlsOptions { authorities: b"x".to_vec(), ..TlsOptions::default() }, "expected PEM"),
            (TlsOptions { key: key.clone(), unverified: true, ..TlsOptions::default() }, "needs its key"),
            (
                TlsOptions { certificate: certificate.clone(), key, unverified: true, ..TlsOptions::default() },
                "cannot be used together",
            ),
            (TlsOptions { certificate, key: encrypted, unverified: true, ..TlsOptions::default() }, "openssl pkey"),
            (TlsOptions { server_name: Some("a b".into()), unverified: true, ..TlsOptions::default() }, "server name"),
        ] {
            let said = Tls::new(&options).unwrap_err();
            assert!(said.contains(problem) && !said.contains("c2VjcmV0"), "{said}");
        }
    }
}
