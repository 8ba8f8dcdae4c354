//! What a handshake checks: whose certificate is taken, and whose is not.

mod support;
#[path = "support/tls.rs"]
#[allow(dead_code, reason = "each test file uses its part")]
mod wire;

use ioloop::IoLoop;
use iostream::CloseReason;
use iostream::tls::{Pem, TlsAcceptor, TlsClientConfig, TlsError, TlsServerConfig};
use support::{poll_once, run};
use wire::{Authority, NAME, VERSIONS, Wire, alert, handshake, refusal, sides, sides_for, tls_error};

#[test]
fn io47_a_certificate_for_another_name_is_refused_and_the_server_hears_of_it() {
    for version in VERSIONS {
        let (acceptor, client) = sides_for(version);
        let (at_client, at_server) = refusal(&acceptor, &client, "another.test");
        assert_eq!(at_client, TlsError::WrongName);
        assert_eq!(alert(&at_server), 42, "bad_certificate");
    }
}

#[test]
fn io47_an_expired_certificate_is_refused_and_so_is_one_from_the_future() {
    let authority = Authority::new();
    let expired = authority.issue_with(NAME, |params| {
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(2001, 1, 1);
    });
    let early = authority.issue_with(NAME, |params| params.not_before = rcgen::date_time_ymd(3000, 1, 1));
    let client = authority.client().build().unwrap();
    for (issued, expected, code) in
        [(expired, TlsError::CertificateExpired, 45), (early, TlsError::CertificateNotYetValid, 45)]
    {
        let acceptor = TlsAcceptor::new(issued.server().build().unwrap());
        let (at_client, at_server) = refusal(&acceptor, &client, NAME);
        assert_eq!(at_client, expected);
        assert_eq!(alert(&at_server), code, "certificate_expired");
    }
}

#[test]
fn io47_a_certificate_from_a_stranger_is_refused_and_so_is_a_self_signed_one() {
    let client = Authority::new().client().build().unwrap();
    let stranger = Authority::new().issue(NAME).server().build().unwrap();
    let own = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
    let (chain, key) = (Pem::text(own.cert.pem()), Pem::text(own.signing_key.serialize_pem()));
    let own = TlsServerConfig::builder().certificate(chain, key).build().unwrap();
    for config in [stranger, own] {
        let (at_client, at_server) = refusal(&TlsAcceptor::new(config), &client, NAME);
        assert_eq!(at_client, TlsError::UnknownIssuer);
        assert_eq!(alert(&at_server), 48, "unknown_ca");
    }
}

#[test]
fn io47_no_application_byte_passes_before_the_server_is_known() {
    run(async {
        let (acceptor, config) = sides();
        let wire = Wire::default();
        let (server, client) = wire.streams();
        let serving =
            IoLoop::current().spawn(async move { server.start_tls_server(&acceptor).await.map(|()| server) });
        let secret = client.clone();
        let mut connecting = std::pin::pin!(client.start_tls_client(&config, "another.test"));
        assert!(poll_once(connecting.as_mut()).await.is_none());
        let written = secret.write("password");
        assert_eq!(tls_error(connecting.await), TlsError::WrongName);
        assert!(matches!(client.close_reason(), Some(CloseReason::Tls(TlsError::WrongName))));
        assert_eq!(tls_error(written.await), TlsError::WrongName);
        assert_eq!(alert(&tls_error(serving.await.unwrap())), 42);
    });
}

#[test]
fn io47_an_address_may_be_the_name() {
    let authority = Authority::new();
    let client = authority.client().build().unwrap();
    for (address, other) in [("127.0.0.1", "127.0.0.2"), ("::1", "::2")] {
        let acceptor = TlsAcceptor::new(authority.issue(address).server().build().unwrap());
        run(async {
            let (server, client) = handshake(&Wire::default(), &acceptor, &client, address).await;
            client.unwrap();
            assert_eq!(server.unwrap().tls_info().unwrap().server_name(), None, "an address is not sent");
        });
        assert_eq!(refusal(&acceptor, &client, other).0, TlsError::WrongName);
    }
}

#[test]
fn io47_only_a_client_that_says_danger_takes_anything() {
    let client = TlsClientConfig::builder().danger_accept_any_certificate().build().unwrap();
    for version in VERSIONS {
        let expired = Authority::new()
            .issue_with("whoever.test", |params| params.not_after = rcgen::date_time_ymd(2001, 1, 1));
        let acceptor = TlsAcceptor::new(expired.server().versions([version]).build().unwrap());
        run(async {
            let (server, client) = handshake(&Wire::default(), &acceptor, &client, NAME).await;
            server.unwrap();
            assert_eq!(client.unwrap().tls_info().unwrap().peer_certificates().len(), 1);
        });
    }
}

#[test]
fn io54_clients_show_certificates_where_they_are_asked_to() {
    let authority = Authority::new();
    let (server, client) = (authority.issue(NAME), authority.issue("client.test"));
    let issuers = || Pem::text(&authority.pem);
    let named =
        || authority.client().certificate(Pem::text(&client.chain), Pem::text(&client.key)).build().unwrap();
    let nameless = || authority.client().build().unwrap();
    for version in VERSIONS {
        let server = || server.server().versions([version]);
        let never = TlsAcceptor::new(server().build().unwrap());
        let required = TlsAcceptor::new(server().require_client_certificates(issuers()).build().unwrap());
        let optional = TlsAcceptor::new(server().accept_client_certificates(issuers()).build().unwrap());
        for (acceptor, config, shown) in [
            (&never, named(), 0),
            (&required, named(), 1),
            (&optional, named(), 1),
            (&optional, nameless(), 0),
        ] {
            run(async {
                let (server, client) = handshake(&Wire::default(), acceptor, &config, NAME).await;
                client.unwrap();
                assert_eq!(server.unwrap().tls_info().unwrap().peer_certificates().len(), shown);
            });
        }
        run(async {
            let (server, client) = handshake(&Wire::default(), &required, &nameless(), NAME).await;
            assert_eq!(tls_error(server), TlsError::NoCertificate);
            let told = match client {
                Ok(stream) => tls_error(stream.read_partial(1).await),
                Err(error) => tls_error::<()>(Err(error)),
            };
            assert_eq!(alert(&told), 116, "certificate_required");
        });
        let foreign = Authority::new().issue("stranger.test");
        let stranger = authority
            .client()
            .certificate(Pem::text(&foreign.chain), Pem::text(&foreign.key))
            .build()
            .unwrap();
        for acceptor in [&required, &optional] {
            run(async {
                let (server, _) = handshake(&Wire::default(), acceptor, &stranger, NAME).await;
                assert_eq!(tls_error(server), TlsError::UnknownIssuer);
            });
        }
    }
}
