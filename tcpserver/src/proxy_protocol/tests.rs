use super::*;

const MOST: usize = 4096;

fn parse(input: &[u8]) -> Result<Option<(ProxyHeader, usize)>, ProxyError> {
    ProxyHeader::parse(input, MOST)
}

/// A header of version 2: command, family and protocol, addresses and TLVs.
fn binary(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let length = u16::try_from(block.len()).expect("a short block");
    [v2::SIGNATURE, &[0x20 | command, family], &length.to_be_bytes(), block].concat()
}

fn tlv(kind: u8, value: &[u8]) -> Vec<u8> {
    [&[kind][..], &(value.len() as u16).to_be_bytes(), value].concat()
}

/// IPv4, from 192.0.2.1:4660 to 198.51.100.7:443.
const INET: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 7, 0x12, 0x34, 1, 187];

fn with_tlvs(tlvs: &[Vec<u8>]) -> Vec<u8> {
    binary(1, 0x11, &[&INET[..], &tlvs.concat()].concat())
}

/// The header with its checksum set right, which begins `from_end` bytes before its end.
fn summed(mut header: Vec<u8>, from_end: usize) -> Vec<u8> {
    let at = header.len() - from_end;
    header[at..at + 4].fill(0);
    let sum = crc32c::crc32c([&header[..]]).to_be_bytes();
    header[at..at + 4].copy_from_slice(&sum);
    header
}

/// One of each kind that is good.
fn good_headers() -> Vec<Vec<u8>> {
    let ssl = [&[7, 0, 0, 0, 0][..], &tlv(kind::SSL_VERSION, b"TLSv1.3"), &tlv(kind::SSL_CN, b"me")].concat();
    let all = [
        tlv(kind::ALPN, b"h2"),
        tlv(kind::AUTHORITY, b"example.net"),
        tlv(kind::SSL, &ssl),
        tlv(0xea, b"\x01vpce-1"),
        tlv(kind::NOOP, b""),
        tlv(kind::UNIQUE_ID, &[0xab; 16]),
        tlv(kind::CRC32C, &[0; 4]),
    ];
    vec![
        b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n".to_vec(),
        b"PROXY TCP6 2001:db8::1 ::ffff:192.0.2.1 0 1\r\n".to_vec(),
        b"PROXY UNKNOWN\r\n".to_vec(),
        b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n".to_vec(),
        binary(0, 0, b""),
        binary(0, 0xff, b"whatever it is"),
        binary(1, 0, b""),
        binary(1, 0x00, &tlv(kind::NOOP, b"xyz")),
        binary(1, 0x12, &INET),
        binary(1, 0x21, &[7; 36]),
        binary(1, 0x31, &[b'/'; 216]),
        summed(with_tlvs(&all), 4),
    ]
}

#[track_caller]
fn assert_malformed(input: &[u8]) {
    let parsed = parse(input);
    assert!(matches!(parsed, Err(ProxyError::Malformed(_))), "{input:?} gives {parsed:?}");
}

#[track_caller]
fn whole(input: &[u8]) -> ProxyHeader {
    let (header, used) = parse(input).expect("a good header").expect("a whole one");
    assert_eq!(used, input.len());
    header
}

fn words(peer: Option<&PeerAddr>) -> Option<String> {
    peer.map(ToString::to_string)
}

#[test]
fn a_line_names_source_and_destination() {
    let header = whole(b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n");
    assert_eq!(words(header.source()).as_deref(), Some("192.0.2.1:56324"));
    assert_eq!(words(header.destination()).as_deref(), Some("198.51.100.7:443"));
    assert!(!header.is_local());
    assert_eq!(header.tlvs().count(), 0);

    let header = whole(b"PROXY TCP6 2001:db8::1 ::1 0 65535\r\n");
    assert_eq!(words(header.source()).as_deref(), Some("[2001:db8::1]:0"));
    assert_eq!(words(header.destination()).as_deref(), Some("[::1]:65535"));
}

#[test]
fn an_unknown_line_names_nobody_whatever_else_it_says() {
    for line in [&b"PROXY UNKNOWN\r\n"[..], b"PROXY UNKNOWN  \xff nobody knows\r\n"] {
        assert_eq!(whole(line), ProxyHeader::default());
    }
}

#[test]
fn a_line_is_refused_that_is_not_as_plain_as_it_should_be() {
    for line in [
        "PROXY \r\n",
        "PROXY  TCP4 192.0.2.1 198.51.100.7 1 2\r\n",
        "PROXY tcp4 192.0.2.1 198.51.100.7 1 2\r\n",
        "PROXY UNKNOWNS\r\n",
        "PROXY UDP4 192.0.2.1 198.51.100.7 1 2\r\n",
        "PROXY TCP4\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 1\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 1 2 3\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 1 2 \r\n",
        "PROXY TCP4 192.0.2.1  198.51.100.7 1 2\r\n",
        "PROXY TCP4 192.0.2.01 198.51.100.7 1 2\r\n",
        "PROXY TCP4 ::1 ::1 1 2\r\n",
        "PROXY TCP6 192.0.2.1 198.51.100.7 1 2\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 01 2\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 +1 2\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 65536 2\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 1 2\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 1 2\r\r\n",
        "PROXY TCP4 192.0.2.1\t198.51.100.7 1 2\r\n",
    ] {
        assert_malformed(line.as_bytes());
    }
}

#[test]
fn a_line_has_107_bytes_at_most() {
    let line = |length: usize| {
        let mut line = b"PROXY UNKNOWN ".to_vec();
        line.resize(length - 2, b'x');
        [&line[..], b"\r\n"].concat()
    };
    assert!(matches!(parse(&line(107)), Ok(Some((_, 107)))));
    assert_eq!(parse(&line(108)), Err(ProxyError::TooLong { max_bytes: 107 }));
    assert_eq!(parse(&line(1000)[..106]), Ok(None));
    assert_eq!(parse(&line(1000)[..107]), Err(ProxyError::TooLong { max_bytes: 107 }));
    assert_eq!(ProxyHeader::parse(&line(50), 49), Err(ProxyError::TooLong { max_bytes: 49 }));
}

#[test]
fn a_binary_header_names_source_and_destination() {
    let header = whole(&binary(1, 0x11, &INET));
    assert_eq!(words(header.source()).as_deref(), Some("192.0.2.1:4660"));
    assert_eq!(words(header.destination()).as_deref(), Some("198.51.100.7:443"));

    let [source, destination] = ["2001:db8::1", "2001:db8::7"].map(str::parse::<std::net::Ipv6Addr>);
    let ips = [source.expect("an address").octets(), destination.expect("an address").octets()].concat();
    let header = whole(&binary(1, 0x21, &[&ips[..], &[0xff, 0xff, 0, 80]].concat()));
    assert_eq!(words(header.source()).as_deref(), Some("[2001:db8::1]:65535"));
    assert_eq!(words(header.destination()).as_deref(), Some("[2001:db8::7]:80"));
}

#[cfg(unix)]
#[test]
fn a_binary_header_names_unix_sockets_by_their_path_if_they_have_one() {
    let padded = |path: &[u8]| {
        let mut padded = path.to_vec();
        padded.resize(108, 0);
        padded
    };
    let header = whole(&binary(1, 0x31, &[padded(b"/run/client"), padded(b"\0abstract")].concat()));
    assert_eq!(words(header.source()).as_deref(), Some("unix:/run/client"));
    assert_eq!(header.destination(), Some(&PeerAddr::Unix(None)));
    assert_eq!(words(whole(&binary(1, 0x31, &[b'/'; 216])).source()).map(|it| it.len()), Some(108 + 5));
}

#[test]
fn a_proxy_that_speaks_for_itself_or_does_not_say_names_nobody() {
    let local = whole(&binary(0, 0x11, &INET));
    assert!(local.is_local() && local.source().is_none());
    let unspecified = whole(&binary(1, 0x00, &tlv(kind::AUTHORITY, b"example.net")));
    assert!(!unspecified.is_local() && unspecified.source().is_none());
    assert_eq!(unspecified.authority(), Some("example.net"));
}

#[test]
fn what_a_proxy_says_beside_can_be_asked_for() {
    let header = whole(&good_headers().pop().expect("some"));
    assert_eq!(header.alpn(), Some(&b"h2"[..]));
    assert_eq!(header.authority(), Some("example.net"));
    assert_eq!(header.unique_id(), Some(&[0xab; 16][..]));
    assert_eq!(header.tlvs().value(0xea), Some(&b"\x01vpce-1"[..]));
    assert_eq!(header.tlvs().value(0xeb), None);
    let kinds: Vec<u8> = header.tlvs().map(|tlv| tlv.kind).collect();
    assert_eq!(kinds, [1, 2, 0x20, 0xea, 4, 5, 3]);
    let ssl = header.ssl().expect("it came by TLS");
    assert!(ssl.is_tls() && ssl.has_certificate() && ssl.is_verified());
    assert_eq!((ssl.version(), ssl.common_name(), ssl.cipher()), (Some("TLSv1.3"), Some("me"), None));
}

#[test]
fn who_shows_no_certificate_is_not_verified() {
    let ssl = |client, verify| whole(&with_tlvs(&[tlv(kind::SSL, &[client, 0, 0, 0, verify])]));
    let is_verified = |header: &ProxyHeader| header.ssl().expect("it is there").is_verified();
    assert!(!is_verified(&ssl(1, 0)));
    assert!(!is_verified(&ssl(3, 1)));
    assert!(is_verified(&ssl(3, 0)));
    assert!(is_verified(&ssl(5, 0)));
    assert!(!ssl(0, 0).ssl().expect("it is there").is_tls());
}

#[test]
fn a_binary_header_is_refused_that_says_what_nobody_knows() {
    let with_byte = |at: usize, byte: u8| {
        let mut header = binary(1, 0x11, &INET);
        header[at] = byte;
        header
    };
    for (at, byte) in [(12, 0x11), (12, 0x31), (12, 0x22), (12, 0x2f), (13, 0x13), (13, 0x41), (13, 0xff)] {
        assert_malformed(&with_byte(at, byte));
    }
    assert_malformed(&binary(1, 0x11, &INET[..11]));
    assert_malformed(&binary(1, 0x21, &[0; 35]));
    assert_malformed(&binary(1, 0x31, &[0; 215]));
}

#[test]
fn a_binary_header_is_refused_whose_tlvs_do_not_fill_their_place() {
    let alpn = tlv(kind::ALPN, b"h2");
    for cut in 1..alpn.len() {
        assert_malformed(&with_tlvs(&[alpn.clone(), alpn[..cut].to_vec()]));
    }
    assert_malformed(&with_tlvs(&[tlv(kind::SSL, &[1, 0, 0, 0])]));
    assert_malformed(&with_tlvs(&[tlv(kind::SSL, &[1, 0, 0, 0, 0, kind::SSL_CN, 0, 5, b'm'])]));
}

#[test]
fn a_checksum_is_right_where_there_is_one() {
    let sum = tlv(kind::CRC32C, &[0; 4]);
    let good = summed(with_tlvs(&[sum.clone(), tlv(kind::ALPN, b"h2")]), 9);
    assert_eq!(whole(&good).alpn(), Some(&b"h2"[..]));
    let kind_of_sum = good.len() - 12; // changed, it is none any more
    for at in (v2::SIGNATURE.len() + 4..good.len()).filter(|&at| at != kind_of_sum) {
        let mut bad = good.clone();
        bad[at] ^= 1;
        assert!(parse(&bad).is_err(), "a wrong byte {at} goes unnoticed");
    }
    let mut bad = good.clone();
    *bad.last_mut().expect("it has bytes") ^= 1;
    assert_eq!(parse(&bad), Err(ProxyError::WrongChecksum));
    assert_malformed(&with_tlvs(&[sum.clone(), sum]));
    assert_malformed(&with_tlvs(&[tlv(kind::CRC32C, &[0; 3])]));
}

#[test]
fn a_header_beyond_the_limit_is_refused_as_soon_as_it_shows() {
    let long = binary(1, 0x11, &[0; 1000]);
    assert_eq!(ProxyHeader::parse(&long[..15], 1015), Ok(None));
    assert_eq!(ProxyHeader::parse(&long[..16], 1015), Err(ProxyError::TooLong { max_bytes: 1015 }));
    assert_eq!(ProxyHeader::parse(&long[..16], 1016), Ok(None));
}

/// Whole, cut anywhere, and with something behind it.
#[test]
fn every_beginning_of_a_header_asks_for_more_and_what_follows_is_left_alone() {
    for header in good_headers() {
        let expected = whole(&header);
        for cut in 0..header.len() {
            assert_eq!(parse(&header[..cut]), Ok(None), "{cut} bytes of {header:?}");
        }
        let more = [&header[..], b"PROXY UNKNOWN\r\n"].concat();
        assert_eq!(parse(&more), Ok(Some((expected, header.len()))));
    }
}

#[test]
fn what_begins_with_something_else_is_no_header_from_its_first_wrong_byte_on() {
    for signature in [v1::SIGNATURE, v2::SIGNATURE] {
        for wrong in 0..signature.len() {
            let mut input = signature[..=wrong].to_vec();
            input[wrong] ^= 0x80;
            assert_eq!(parse(&input), Err(ProxyError::Absent), "{input:?}");
        }
    }
}

/// Half of them are noise, half are good headers with a few bytes changed, cut or put in.
#[test]
fn a_hundred_thousand_random_inputs_neither_panic_nor_pass_the_limit() {
    let random = Random(std::cell::Cell::new(1));
    let good = good_headers();
    let mut accepted = 0;
    for round in 0..100_000_u32 {
        let mut input = if round % 2 == 0 {
            (0..random.below(300)).map(|_| random.below(256) as u8).collect()
        } else {
            good[random.below(good.len())].clone()
        };
        for _ in 0..random.below(4) {
            let at = random.below(input.len().max(1));
            match random.below(3) {
                0 => input.truncate(at),
                1 => input.insert(at.min(input.len()), random.below(256) as u8),
                _ => input.iter_mut().skip(at).take(1).for_each(|byte| *byte = random.below(256) as u8),
            }
        }
        let max_bytes = random.below(300);
        match ProxyHeader::parse(&input, max_bytes) {
            Ok(Some((header, used))) => {
                assert!(used <= input.len() && used <= max_bytes);
                assert_eq!(ProxyHeader::parse(&input[..used], max_bytes), Ok(Some((header.clone(), used))));
                assert!(header.tlvs().map(|tlv| tlv.value.len() + 3).sum::<usize>() <= used);
                let _ = (header.ssl().map(|ssl| ssl.tlvs().count()), header.authority());
                accepted += 1;
            }
            // Who asks for more has not had enough already.
            Ok(None) => assert!(input.len() < max_bytes.max(16), "{input:?} within {max_bytes}"),
            Err(_) => {}
        }
    }
    assert!(accepted > 10_000, "{accepted} is too few to tell");
}

/// SplitMix64, from a fixed seed.
struct Random(std::cell::Cell<u64>);

impl Random {
    fn below(&self, end: usize) -> usize {
        let state = self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.set(state);
        let mut bits = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((bits ^ (bits >> 31)) % end as u64) as usize
    }
}
