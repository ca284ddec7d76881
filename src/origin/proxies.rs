//! Through whom to go: the proxies, and who is exempt from them.
//!
//! As curl has it: `http` is relayed by a proxy that is told the whole URL, `https` goes through a tunnel that it opens with
//! CONNECT, and `NO_PROXY` names hosts, domains, networks and ports to which one goes straight. ureq would open a
//! tunnel for `http` too, which tinyproxy and Squid refuse by default.

use std::fmt;
use std::io;
use std::net::IpAddr;

use ureq::Proxy;
use ureq::http::Uri;

use crate::error::{Error, Result};

use super::url::place;

/// The URL of a proxy, and what says so: an option, or a variable of the environment.
#[derive(Debug, Clone)]
pub struct ProxyUrl {
    /// `--proxy`, or the variable's name.
    pub by: &'static str,
    /// As it was written.
    pub url: String,
}

/// What the command line and the environment say about proxies.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    /// For `https` URLs: `--proxy`, else `HTTPS_PROXY`, else `ALL_PROXY`.
    pub https: Option<ProxyUrl>,
    /// For `http` URLs: `--proxy`, else `HTTP_PROXY`, else `ALL_PROXY`.
    pub http: Option<ProxyUrl>,
    /// `NO_PROXY`, obeyed in every case.
    pub exempt: Option<String>,
}

/// The way to each host.
#[derive(Debug, Default)]
pub struct Routes {
    https: Option<Proxy>,
    http: Option<Proxy>,
    exempt: Vec<Exempt>,
}

impl Routes {
    /// Takes what was said.
    ///
    /// # Errors
    /// A URL that is none, or a kind of proxy that toller does not speak.
    pub fn new(proxies: &Proxies) -> Result<Self> {
        let words = proxies.exempt.as_deref().unwrap_or_default().split([',', ' ', '\t']);
        // An empty one says that there is none.
        let named = |said: &Option<ProxyUrl>| said.as_ref().filter(|said| !said.url.is_empty()).map(proxy).transpose();
        Ok(Self {
            https: named(&proxies.https)?,
            http: named(&proxies.http)?,
            exempt: words.filter_map(Exempt::new).collect(),
        })
    }

    /// The proxy for `https`, exemptions aside.
    pub fn https(&self) -> Option<&Proxy> {
        self.https.as_ref()
    }

    /// The proxy that opens a tunnel to this URL's host.
    pub fn tunnel(&self, uri: &Uri) -> Option<&Proxy> {
        self.https.as_ref().filter(|_| uri.scheme_str() == Some("https") && !self.is_exempt(uri))
    }

    /// The proxy that is told this URL and answers for its host.
    pub fn relay(&self, uri: &Uri) -> Option<&Proxy> {
        // To the proxy for https one goes straight.
        let other = |proxy: &Proxy| proxy.uri() == uri;
        let plain = uri.scheme_str() == Some("http") && !self.https.as_ref().is_some_and(other);
        self.http.as_ref().filter(|_| plain && !self.is_exempt(uri))
    }

    /// The URL of the proxy for https, to which ureq opens a connection of its own.
    pub fn is_proxy(&self, uri: &Uri) -> bool {
        self.https.as_ref().is_some_and(|proxy| proxy.uri() == uri)
    }

    fn is_exempt(&self, uri: &Uri) -> bool {
        let (host, port) = place(uri);
        let host = host.trim_matches(['[', ']']).trim_end_matches('.').to_ascii_lowercase();
        self.exempt.iter().any(|exempt| exempt.covers(&host, port))
    }
}

/// Turns one proxy URL into ureq's form.
fn proxy(said: &ProxyUrl) -> Result<Proxy> {
    // The URL may hold a password, so that no message may repeat it.
    let error = |cause: &str| {
        let error = if said.by.starts_with("--") {
            Error::usage(said.by, cause)
        } else {
            Error::new("proxy", format!("the URL in {}", said.by), cause)
        };
        error.with_way_out("give http://HOST:PORT or https://HOST:PORT")
    };
    let parsed = Proxy::new(&said.url).map_err(|cause| error(&cause.to_string()))?;
    if !matches!(parsed.protocol(), ureq::ProxyProtocol::Http | ureq::ProxyProtocol::Https) {
        return Err(error("only http and https proxies are spoken"));
    }
    // ureq takes the usual port in the place of one that is none.
    let place = parsed.uri().authority().map_or("", |authority| authority.as_str());
    let place = place.rsplit_once('@').map_or(place, |(_, place)| place);
    match place.rsplit_once(':') {
        Some((_, port)) if !port.is_empty() && !port.ends_with(']') && port.parse::<u16>().is_err() => {
            Err(error("its port is no number from 0 to 65535"))
        }
        _ => Ok(parsed),
    }
}

/// A handshake that failed with a proxy, and not with the server of an image.
#[derive(Debug)]
pub struct ProxyRefused {
    /// The proxy's name.
    pub host: String,
    /// What was wrong.
    pub cause: io::Error,
}

impl fmt::Display for ProxyRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "proxy {}: {}", self.host, self.cause)
    }
}

impl std::error::Error for ProxyRefused {}

/// One entry of `NO_PROXY`.
#[derive(Debug, PartialEq, Eq)]
struct Exempt {
    whom: Whom,
    port: Option<u16>,
}

#[derive(Debug, PartialEq, Eq)]
enum Whom {
    Everybody,
    /// A host, and as a domain all hosts in it.
    Domain(String),
    /// Addresses of which so many bits agree.
    Network(IpAddr, u32),
}

impl Exempt {
    fn new(word: &str) -> Option<Self> {
        let word = word.trim().to_ascii_lowercase();
        let (name, port) = match word.rsplit_once(':') {
            // An IPv6 address has colons of its own, unless it stands in brackets.
            Some((name, port)) if !name.contains(':') || name.ends_with(']') => (name, Some(port.parse().ok()?)),
            _ => (word.as_str(), None),
        };
        let name = name.trim_matches(['[', ']']);
        let (address, bits) = match name.split_once('/') {
            Some((address, bits)) => (address.trim_matches(['[', ']']), Some(bits.parse::<u32>().ok()?)),
            None => (name, None),
        };
        let whom = match address.parse::<IpAddr>() {
            Ok(address) => {
                let all = if address.is_ipv4() { 32 } else { 128 };
                Whom::Network(address, bits.unwrap_or(all).min(all))
            }
            Err(_) if name == "*" => Whom::Everybody,
            Err(_) => Whom::Domain(name.trim_start_matches("*.").trim_matches('.').to_owned()),
        };
        (whom != Whom::Domain(String::new())).then_some(Self { whom, port })
    }

    fn covers(&self, host: &str, port: u16) -> bool {
        let whom = match &self.whom {
            Whom::Everybody => true,
            Whom::Domain(domain) => {
                host.strip_suffix(domain.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            }
            Whom::Network(network, bits) => host.parse().is_ok_and(|address| agree(*network, address, *bits)),
        };
        whom && self.port.is_none_or(|own| own == port)
    }
}

fn agree(one: IpAddr, other: IpAddr, bits: u32) -> bool {
    match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => (one.to_bits() ^ other.to_bits()).leading_zeros() >= bits,
        (IpAddr::V6(one), IpAddr::V6(other)) => (one.to_bits() ^ other.to_bits()).leading_zeros() >= bits,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ExitCode;

    fn routes(exempt: &str) -> Routes {
        let url = Some(ProxyUrl { by: "--proxy", url: "http://me:p%40ss@proxy.test:3128".into() });
        Routes::new(&Proxies { https: url.clone(), http: url, exempt: Some(exempt.into()) }).expect("a good proxy")
    }

    fn uri(url: &str) -> Uri {
        url.parse().expect("a URL")
    }

    #[test]
    fn a_proxy_keeps_its_password_and_its_own_way() {
        let routes = routes("");
        let proxy = routes.tunnel(&uri("https://a.test/x")).expect("a proxy");
        assert_eq!((proxy.host(), proxy.port()), ("proxy.test", 3128));
        assert_eq!((proxy.username(), proxy.password()), (Some("me"), Some("p@ss")));
        assert!(routes.relay(&uri("http://a.test/x")).is_some() && routes.relay(&uri("https://a.test/x")).is_none());
        assert!(routes.relay(proxy.uri()).is_none() && routes.is_proxy(proxy.uri()));
    }

    #[test]
    fn hosts_domains_networks_and_ports_are_exempt_as_curl_has_it() {
        for (exempt, url, straight) in [
            ("a.test, .b.test", "https://a.test/x", true),
            ("a.test, .b.test", "https://c.a.test/x", true),
            ("a.test .b.test", "https://b.test/x", true),
            ("*.b.test", "https://c.b.test/x", true),
            ("a.test", "https://other.test/x", false),
            ("a.test", "https://aa.test/x", false),
            ("a.test.", "https://A.TEST./x", true),
            ("*", "https://a.test/x", true),
            ("a.*", "https://a.test/x", false),
            ("10.0.0.0/8", "https://10.1.2.3/x", true),
            ("10.0.0.0/8", "https://11.1.2.3/x", false),
            ("192.168.1.129/25", "https://192.168.1.200/x", true),
            ("192.168.1.129/25", "https://192.168.1.100/x", false),
            ("0.0.0.0/0", "https://8.8.8.8/x", true),
            ("0.0.0.0/0", "https://[::1]/x", false),
            ("fd00::/8", "https://[fd12::1]/x", true),
            ("[fd00::]/8", "https://[fd12::1]/x", true),
            ("::1", "https://[::1]:8443/x", true),
            ("[::1]:443", "https://[::1]:8443/x", false),
            ("[::1]:8443", "https://[::1]:8443/x", true),
            ("127.0.0.1:8443", "https://127.0.0.1:8443/x", true),
            ("127.0.0.1", "https://127.0.0.1:8443/x", true),
            ("a.test:8443", "https://a.test/x", false),
            ("a.test:443", "https://a.test/x", true),
            (",, .", "https://a.test/x", false),
        ] {
            let routes = routes(exempt);
            assert_eq!(routes.tunnel(&uri(url)).is_none(), straight, "{exempt:?} and {url}");
            if !exempt.contains(":443") {
                let plain = uri(&url.replace("https", "http"));
                assert_eq!(routes.relay(&plain).is_none(), straight, "{exempt:?} and {plain}");
            }
        }
    }

    #[test]
    fn a_bad_proxy_is_refused_by_the_name_of_who_said_so_without_repeating_its_password() {
        for url in [
            "socks5://me:secret@h:1",
            "http://",
            "ftp://me:secret@h",
            "http://me:secret@h:99999",
            "me:secret@h:65536",
            "http://me:secret@h:abc",
            "https://me:secret@[::1]:999999",
        ] {
            for (by, code) in [("--proxy", ExitCode::Usage), ("ALL_PROXY", ExitCode::Failed)] {
                let error = proxy(&ProxyUrl { by, url: url.into() }).expect_err(url);
                let words = error.to_string();
                assert!(!words.contains("secret") && words.contains(by) && error.code() == code, "{error}");
            }
        }
        for url in ["h", "h:65535", "http://h:", "http://me:99999@h", "http://[::1]", "http://[::1]:3128"] {
            assert!(proxy(&ProxyUrl { by: "--proxy", url: url.into() }).is_ok(), "{url}");
        }
    }
}
