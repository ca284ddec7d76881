//! Certificates for the test origin, good ones and each kind of bad one. One authority a process, so that
//! two origins of a test can both be trusted by one `--ca-cert`.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::sync::{Arc, OnceLock};

/// What a client meets when it opens a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// A certificate for `localhost` and `127.0.0.1`, from the authority in `Origin::ca()`.
    Good,
    /// The same, but from a server that knows TLS 1.2 only.
    Tls12,
    /// The same, but with a hundred more that nobody needs: a handshake message of some 40 kB.
    LongChain,
    /// The same, but it ran out in 2021.
    Expired,
    /// The same, but valid from 2090 on.
    NotYetValid,
    /// For `localhost`, signed by its own key.
    SelfSigned,
    /// For `localhost`, signed by its own key, and an authority by what it says, as `openssl req -x509` makes it.
    SelfSignedAuthority,
    /// The good one, from a server that lets in only who shows a certificate of the same authority.
    ClientCert,
    /// The good one, from a server that speaks HTTP/2 only and says so in ALPN.
    Http2Only,
    /// From the right authority, for `elsewhere.test`.
    WrongHost,
    /// For `localhost`, from an authority that nobody knows.
    UnknownCa,
    /// A server that knows no protocol newer than TLS 1.1: it answers with the alert `protocol_version`.
    TooOld,
    /// Answers the ClientHello with a page of plain HTTP, as a misconfigured port does.
    Garbage,
    /// Accepts the connection and hangs up on the ClientHello.
    HangUp,
    /// Accepts the connection and never says a word.
    Silent,
    /// No TLS at all: plain HTTP.
    Off,
}

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = params(&[], name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Self(CertifiedIssuer::self_signed(params, new_key()).expect("an authority can sign itself"))
    }
}

/// The PEM text of the authority that signs every good certificate of this process.
pub fn ca_pem() -> String {
    known().0.pem()
}

fn known() -> &'static Authority {
    static KNOWN: OnceLock<Authority> = OnceLock::new();
    KNOWN.get_or_init(|| Authority::new("toller test authority"))
}

/// The server's side of the handshake, and the PEM text of its certificate; none for those that never get that far.
pub fn server_config(tls: Tls) -> Option<(Arc<ServerConfig>, String)> {
    let mut params = params(&["localhost", "127.0.0.1"], "toller test origin");
    let key = new_key();
    let signed = |params: &CertificateParams, by: &Authority| params.signed_by(&key, &by.0);
    let cert = match tls {
        Tls::Good | Tls::Tls12 | Tls::LongChain | Tls::ClientCert | Tls::Http2Only => signed(&params, known()),
        Tls::Expired => {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2021, 1, 1);
            signed(&params, known())
        }
        Tls::NotYetValid => {
            params.not_before = date_time_ymd(2090, 1, 1);
            signed(&params, known())
        }
        Tls::WrongHost => {
            let elsewhere = self::params(&["elsewhere.test"], "toller test origin");
            signed(&elsewhere, known())
        }
        Tls::UnknownCa => signed(&params, &Authority::new("an authority that nobody knows")),
        Tls::SelfSigned => params.self_signed(&key),
        Tls::SelfSignedAuthority => {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.self_signed(&key)
        }
        Tls::TooOld | Tls::Garbage | Tls::HangUp | Tls::Silent | Tls::Off => return None,
    };
    let cert = cert.expect("rcgen can sign");
    let pem = cert.pem();
    let cert: CertificateDer<'static> = cert.der().clone();
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let more = if tls == Tls::LongChain { 100 } else { 0 };
    let chain = [cert].into_iter().chain(std::iter::repeat_n(known().0.der().clone(), more)).collect();
    let versions = if tls == Tls::Tls12 { &[&rustls::version::TLS12] } else { rustls::ALL_VERSIONS };
    let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(versions)
        .expect("ring knows TLS 1.2 and 1.3");
    let builder = if tls == Tls::ClientCert {
        let mut roots = RootCertStore::empty();
        roots.add(known().0.der().clone()).expect("the authority is one");
        let provider = Arc::new(default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
        builder.with_client_cert_verifier(verifier.expect("there is a root"))
    } else {
        builder.with_no_client_auth()
    };
    let mut config = builder.with_single_cert(chain, key).expect("the key belongs to the certificate");
    if tls == Tls::Http2Only {
        config.alpn_protocols = vec![b"h2".to_vec()];
    }
    Some((Arc::new(config), pem))
}

/// A client's certificate from the authority of this process, and its key, both PEM.
pub fn client_pem() -> (String, String) {
    let key = new_key();
    let cert = params(&["client.test"], "toller test client").signed_by(&key, &known().0).expect("rcgen can sign");
    (cert.pem(), key.serialize_pem())
}

fn params(names: &[&str], common_name: &str) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|&n| n.to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("the names are plain ASCII");
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = date_time_ymd(2024, 1, 1);
    params.not_after = date_time_ymd(2124, 1, 1);
    params
}

fn new_key() -> KeyPair {
    KeyPair::generate().expect("ring can make a P-256 key")
}
