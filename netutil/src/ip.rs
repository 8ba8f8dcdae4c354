//! Whether a text is an IP address.

use std::net::IpAddr;

/// Whether `text` is an IPv4 or IPv6 address and nothing else.
///
/// IPv4 is four decimal numbers without leading zeros; IPv6 is RFC 4291 §2.2, without brackets and without a
/// zone (`%eth0`). Names, blanks, ports, the empty text, and the short, octal and hexadecimal spellings that
/// `inet_aton` takes (`127.1`, `010.0.0.1`, `0x7f.1`) are all refused. The check is this strict because its
/// usual subject is an address that a proxy reports, which ends up in logs and access rules.
///
/// Never resolves, never allocates, and stops at the first wrong byte, so `text` may be hostile and long.
///
/// ```
/// assert!(netutil::is_valid_ip("::ffff:192.0.2.1"));
/// assert!(!netutil::is_valid_ip("192.0.2.1, 198.51.100.7"));
/// ```
#[must_use]
pub fn is_valid_ip(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::is_valid_ip;

    #[track_caller]
    fn assert_refused(texts: &[&str]) {
        for text in texts {
            assert!(!is_valid_ip(text), "{text:?} was accepted");
        }
    }

    #[test]
    fn nu4_1_literals_of_both_families_are_valid() {
        for text in
            ["127.0.0.1", "4.4.4.4", "0.0.0.0", "255.255.255.255", "::1", "2620:0:1cfe:face:b00c::3", "::"]
        {
            assert!(is_valid_ip(text), "{text:?} was refused");
        }
        assert!(is_valid_ip("::ffff:192.0.2.1"));
        assert!(is_valid_ip("2001:DB8::A"));
    }

    #[test]
    fn nu4_1_empty_text_nul_and_long_text_are_not_valid() {
        assert_refused(&["", "\0", "127.0.0.1\0", "\x00127.0.0.1", &"x".repeat(100), &"1".repeat(100_000)]);
    }

    #[test]
    fn nu4_2_names_blanks_trailing_junk_and_brackets_are_not_valid() {
        assert_refused(&[
            "www.google.com",
            "localhost",
            "4.4.4.4<",
            " 127.0.0.1",
            "127.0.0.1 ",
            " ",
            "\n",
            "127.0.0.1\n",
        ]);
        assert_refused(&[
            "[::1]",
            "127.0.0.1:80",
            "[::1]:80",
            "10.0.0.0/8",
            "1.2.3.4,5.6.7.8",
            "::1::",
            "1:2:3:4:5:6:7:8:9",
        ]);
    }

    #[test]
    fn nu4_3_inet_aton_spellings_and_zones_are_not_valid() {
        assert_refused(&[
            "127.1",
            "1.2.3",
            "0x7f.1",
            "0x7f.0.0.1",
            "2130706433",
            "010.0.0.1",
            "1.2.3.04",
            "256.0.0.1",
        ]);
        assert_refused(&[
            "fe80::1%lo",
            "fe80::1%1",
            "1.2.3.4.5",
            "+1.2.3.4",
            "-1.2.3.4",
            "1.2.3.",
            "１.2.3.4",
        ]);
    }
}
