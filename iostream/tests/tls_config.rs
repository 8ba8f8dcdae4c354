//! How TLS is configured: what is read from files, what is refused when, and how a running server changes it.

mod support;
#[path = "support/tls.rs"]
#[allow(dead_code, reason = "each test file uses its part")]
mod wire;

use std::path::{Path, PathBuf};

use iostream::tls::{
    Pem, TlsAcceptor, TlsClientConfig, TlsConfigError, TlsError, TlsServerConfig, TlsVersion,
};
use support::run;
use wire::{Authority, NAME, Wire, handshake, tls_error};

/// A folder of its own for one test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("iostream-tls-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

fn works(server: TlsServerConfig, client: &TlsClientConfig) {
    run(async {
        let (server, client) = handshake(&Wire::default(), &TlsAcceptor::new(server), client, NAME).await;
        server.unwrap();
        client.unwrap();
    });
}

#[test]
fn nu6_1_what_is_wrong_is_said_when_the_configuration_is_built() {
    let folder = Folder::new("wrong");
    let (authority, nowhere) = (Authority::new(), Path::new("/nonexistent/file.pem"));
    let (issued, other) = (authority.issue(NAME), authority.issue(NAME));
    let (chain, key) = (|| Pem::text(&issued.chain), || Pem::text(&issued.key));
    let empty = folder.file("empty.pem", "");
    let build =
        |chain: Pem, key: Pem| TlsServerConfig::builder().certificate(chain, key).build().unwrap_err();

    assert!(matches!(TlsServerConfig::builder().build(), Err(TlsConfigError::MissingCertificate)));
    assert!(matches!(build(Pem::file(nowhere), key()), TlsConfigError::Read { path, .. } if path == nowhere));
    assert!(
        matches!(build(chain(), Pem::file(nowhere)), TlsConfigError::Read { path, .. } if path == nowhere)
    );
    assert!(
        matches!(build(Pem::file(&empty), key()), TlsConfigError::NoCertificate(place) if place.contains("empty.pem"))
    );
    assert!(matches!(build(chain(), Pem::file(&empty)), TlsConfigError::NoPrivateKey(_)));
    assert!(matches!(build(chain(), chain()), TlsConfigError::NoPrivateKey(_)));
    assert!(matches!(build(chain(), Pem::text(&other.key)), TlsConfigError::KeyMismatch));
    let damaged = issued.chain.replace("-----END CERTIFICATE-----", "");
    assert!(matches!(build(Pem::text(damaged), key()), TlsConfigError::BadPem { .. }));
    let nonsense = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(matches!(build(Pem::text(nonsense), key()), TlsConfigError::Unusable(_)));

    let server = || issued.server();
    let unknown = server().ciphers(["TLS_NULL_WITH_NULL_NULL"]).build().unwrap_err();
    assert!(matches!(unknown, TlsConfigError::UnknownCipher(name) if name == "TLS_NULL_WITH_NULL_NULL"));
    assert!(matches!(server().versions([]).build(), Err(TlsConfigError::NoVersion)));
    let old = server().versions([TlsVersion::Tls12]).ciphers(["TLS13_AES_128_GCM_SHA256"]).build();
    assert!(matches!(old, Err(TlsConfigError::NoVersion)));
    assert!(matches!(server().ciphers::<&str>([]).build(), Err(TlsConfigError::NoVersion)));
    for name in [String::new(), "x".repeat(256)] {
        assert!(matches!(server().alpn([name]).build(), Err(TlsConfigError::BadProtocolName)));
    }

    let trusting = |issuers: Pem| TlsClientConfig::builder().trust(issuers).build().unwrap_err();
    assert!(matches!(trusting(Pem::file(nowhere)), TlsConfigError::Read { .. }));
    assert!(matches!(trusting(Pem::text(nonsense)), TlsConfigError::BadRoot { .. }));
    let nobody = server().require_client_certificates(Pem::file(&empty)).build();
    assert!(matches!(nobody, Err(TlsConfigError::NoCertificate(_))));
}

#[test]
fn nu6_1_versions_and_cipher_suites_can_be_chosen() {
    let authority = Authority::new();
    let cipher = "TLS13_CHACHA20_POLY1305_SHA256";
    let server = authority.issue(NAME).server().ciphers([cipher]).build().unwrap();
    run(async {
        let client = authority.client().build().unwrap();
        let (server, client) = handshake(&Wire::default(), &server.into(), &client, NAME).await;
        assert_eq!(server.unwrap().tls_info().unwrap().cipher(), cipher);
        assert_eq!(client.unwrap().tls_info().unwrap().version(), TlsVersion::Tls13);
    });
}

#[test]
fn nu6_2_chain_and_key_may_share_a_file() {
    let folder = Folder::new("combined");
    let authority = Authority::new();
    let issued = authority.issue(NAME);
    let client = authority.client().build().unwrap();
    for text in
        [[&issued.chain[..], &issued.key].concat(), [&issued.key[..], "# a remark\n", &issued.chain].concat()]
    {
        let both = folder.file("both.pem", &text);
        works(TlsServerConfig::from_pem_files(&both, &both).unwrap(), &client);
    }
    let (chain, key) = (folder.file("chain.pem", &issued.chain), folder.file("key.pem", &issued.key));
    works(TlsServerConfig::from_pem_files(chain, key).unwrap(), &client);
}

#[test]
fn nu6_2_no_certificate_check_means_no_name_check_either() {
    let anything = TlsClientConfig::builder().danger_accept_any_certificate().build().unwrap();
    let server = Authority::new().issue("somebody-else.test").server().build().unwrap();
    works(server, &anything);
}

#[test]
fn nu6_3_the_name_that_is_asked_for_is_sent() {
    let authority = Authority::new();
    let (server, client) =
        (authority.issue(NAME).server().build().unwrap(), authority.client().build().unwrap());
    run(async {
        let (server, _client) = handshake(&Wire::default(), &server.into(), &client, NAME).await;
        assert_eq!(server.unwrap().tls_info().unwrap().server_name(), Some(NAME));
        let (stream, script) = support::stream();
        for name in ["", "two words", "a..b", "-", "[::1]"] {
            let refused = stream.start_tls_client(&client, name).await;
            assert_eq!(tls_error(refused), TlsError::InvalidServerName, "{name}");
        }
        assert!(!stream.is_closed() && script.received().is_empty());
    });
}

#[test]
fn nu6_4_a_client_trusts_only_whom_it_is_told_to_or_else_the_system() {
    let authority = Authority::new();
    let server = TlsAcceptor::new(authority.issue(NAME).server().build().unwrap());
    // Some machines trust nobody; then there is nothing to build.
    match TlsClientConfig::builder().build() {
        Ok(client) => run(async {
            let (_, client) = handshake(&Wire::default(), &server, &client, NAME).await;
            assert_eq!(tls_error(client), TlsError::UnknownIssuer);
        }),
        Err(error) => assert!(matches!(error, TlsConfigError::NoSystemRoots(_)), "{error}"),
    }
}

#[test]
fn nu6_5_a_replaced_configuration_is_for_later_handshakes_on_all_clones() {
    let authority = Authority::new();
    let (old, new) = (authority.issue(NAME), authority.issue(NAME));
    let client = authority.client().build().unwrap();
    let acceptor = TlsAcceptor::new(old.server().build().unwrap());
    let shown = |stream: &iostream::IoStream| -> Vec<u8> {
        stream.tls_info().unwrap().peer_certificates().next().unwrap().to_vec()
    };
    run(async {
        let (server, before) = handshake(&Wire::default(), &acceptor, &client, NAME).await;
        let (server, before) = (server.unwrap(), before.unwrap());

        // One handshake is under way while the certificate changes.
        let (at_server, at_client) = Wire::default().streams();
        let mut under_way = std::pin::pin!(at_server.start_tls_server(&acceptor));
        assert!(support::poll_once(under_way.as_mut()).await.is_none());

        let elsewhere = acceptor.clone();
        let replacement = new.server().build().unwrap();
        std::thread::spawn(move || elsewhere.replace(replacement)).join().unwrap();

        let fresh = authority.client().build().unwrap(); // which has no session to resume
        let connecting = ioloop::IoLoop::current().spawn({
            let fresh = fresh.clone();
            async move { at_client.start_tls_client(&fresh, NAME).await.map(|()| at_client) }
        });
        under_way.await.unwrap();
        let meanwhile = connecting.await.unwrap().unwrap();
        let (_server, after) = handshake(&Wire::default(), &acceptor, &client, NAME).await;

        assert_eq!(shown(&meanwhile), shown(&before));
        assert_ne!(shown(&after.unwrap()), shown(&before), "not even a session is resumed");
        server.write("still here").await.unwrap();
        assert_eq!(before.read_bytes(10).await.unwrap(), "still here");
    });
}

#[test]
fn nu6_5_acceptors_and_configurations_go_to_other_threads() {
    fn check<T: Send + Sync + Clone + 'static>() {}
    check::<TlsAcceptor>();
    check::<TlsServerConfig>();
    check::<TlsClientConfig>();
    check::<TlsError>();
}

#[test]
fn a_key_is_never_shown() {
    let issued = Authority::new().issue(NAME);
    let shown = format!("{:?} {:?}", issued.server(), Pem::text(&issued.key));
    assert!(!shown.contains("PRIVATE") && !shown.contains("BEGIN"), "{shown}");
}
