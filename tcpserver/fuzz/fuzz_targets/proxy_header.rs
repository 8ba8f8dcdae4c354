//! A PROXY header means the same however it arrives, and whatever is asked of it. Run: `cargo +nightly fuzz run proxy_header`
#![no_main]

use libfuzzer_sys::fuzz_target;
use tcpserver::{ProxyHeader, Tlvs};

const MAX_BYTES: usize = 512;

fuzz_target!(|input: &[u8]| {
    let whole = ProxyHeader::parse(input, MAX_BYTES);
    for len in 0..input.len().min(MAX_BYTES) {
        match (ProxyHeader::parse(&input[..len], MAX_BYTES), &whole) {
            (Ok(None), _) => {} // too little to say
            (first, whole) => {
                assert_eq!(&first, whole, "what {len} bytes say holds with more of them");
                break;
            }
        }
    }
    let Ok(Some((header, used))) = whole else {
        assert!(whole.is_err() || input.len() < MAX_BYTES, "a header has an end");
        return;
    };
    assert!(used <= input.len().min(MAX_BYTES));
    let _ = (header.source(), header.destination(), header.is_local());
    let _ = (header.authority(), header.alpn(), header.unique_id());
    look(header.tlvs());
    if let Some(ssl) = header.ssl() {
        let _ = (ssl.is_tls(), ssl.has_certificate(), ssl.is_verified());
        let _ = (ssl.version(), ssl.cipher(), ssl.common_name());
        look(ssl.tlvs());
    }
});

/// Goes through what is attached: it was found sound when the header was read, so nothing of it is left over.
fn look(tlvs: Tlvs<'_>) {
    for tlv in tlvs.clone() {
        assert!(tlvs.clone().value(tlv.kind).is_some());
    }
}
