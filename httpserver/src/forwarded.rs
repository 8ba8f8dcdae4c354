//! The `Forwarded` field (RFC 7239).

use crate::headers::Headers;
use crate::http1::grammar::{is_token, is_token_byte, trim_ows};

/// What one proxy says of the request it got. Parameters that nobody asks for are left out.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Element {
    pub(crate) for_: Option<Vec<u8>>,
    pub(crate) proto: Option<Vec<u8>>,
}

/// All elements of all such fields, the nearest proxy's last. `None` if there are none, or if anything is malformed: what one
/// party reads otherwise than the next is not to be built upon.
pub(crate) fn elements(headers: &Headers) -> Option<Vec<Element>> {
    let mut elements = Vec::new();
    for field in headers.get_list("forwarded") {
        read_field(field, &mut elements)?;
    }
    (!elements.is_empty()).then_some(elements)
}

fn read_field(field: &[u8], elements: &mut Vec<Element>) -> Option<()> {
    let mut rest = field;
    loop {
        let mut element = Element::default();
        let mut seen = 0;
        loop {
            rest = trim_ows(rest);
            if !matches!(rest, [] | [b',' | b';', ..]) {
                rest = read_pair(rest, &mut element)?;
                seen += 1;
            }
            rest = trim_ows(rest);
            match rest {
                [b';', behind @ ..] => rest = behind,
                _ => break,
            }
        }
        if seen > 0 {
            elements.push(element);
        }
        match rest {
            [] => return Some(()),
            [b',', behind @ ..] => rest = behind,
            _ => return None,
        }
    }
}

/// Reads `name=value`, no blanks around the sign; a value is a token or quoted. A name comes once per element.
fn read_pair<'a>(text: &'a [u8], element: &mut Element) -> Option<&'a [u8]> {
    let sign = memchr::memchr(b'=', text)?;
    let (name, behind) = (&text[..sign], &text[sign + 1..]);
    if !is_token(name) {
        return None;
    }
    let (value, rest) = read_value(behind)?;
    let slot = if name.eq_ignore_ascii_case(b"for") {
        &mut element.for_
    } else if name.eq_ignore_ascii_case(b"proto") {
        &mut element.proto
    } else {
        return Some(rest);
    };
    slot.replace(value).is_none().then_some(rest)
}

fn read_value(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let Some(mut rest) = text.strip_prefix(b"\"") else {
        // Many proxies leave the quotes off that a colon and brackets need; there is only one way to read that.
        let is_bare = |byte: u8| is_token_byte(byte) || b":[]".contains(&byte);
        let end = text.iter().position(|&byte| !is_bare(byte)).unwrap_or(text.len());
        return (end > 0).then(|| (text[..end].to_vec(), &text[end..]));
    };
    let mut value = Vec::new();
    loop {
        rest = match rest {
            [b'"', behind @ ..] => return Some((value, behind)),
            [b'\\', byte, behind @ ..] | [byte, behind @ ..] => {
                value.push(*byte);
                behind
            }
            [] => return None,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(fields: &[&str]) -> Option<Vec<(Option<String>, Option<String>)>> {
        let headers = Headers::from_pairs(fields.iter().map(|field| ("Forwarded", field))).unwrap();
        let text = |value: Option<Vec<u8>>| value.map(|value| String::from_utf8(value).unwrap());
        Some(elements(&headers)?.into_iter().map(|it| (text(it.for_), text(it.proto))).collect())
    }

    #[test]
    fn elements_come_in_order_over_all_fields() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            read(&[
                "For=\"[2001:db8::1]:4711\";proto=http;by=203.0.113.43",
                "for=192.0.2.43, for=\"_a\\\"b\" ; PROTO=https"
            ]),
            Some(vec![
                (some("[2001:db8::1]:4711"), some("http")),
                (some("192.0.2.43"), None),
                (some("_a\"b"), some("https")),
            ])
        );
        assert_eq!(read(&["for=192.0.2.43:80,, ;for=1.1.1.1;"]).unwrap().len(), 2);
    }

    #[test]
    fn what_is_malformed_anywhere_says_nothing() {
        for bad in
            ["", "for", "for=", "for =a", "for=a b", "for=\"a", "for=a;for=b", "for=\"a\"b", "for=a/b", "=a"]
        {
            assert_eq!(read(&["for=1.1.1.1", bad]).filter(|all| all.len() > 1), None, "{bad}");
            assert!(bad.is_empty() || read(&["for=1.1.1.1", bad]).is_none(), "{bad}");
        }
    }
}
