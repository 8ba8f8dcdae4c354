//! A media type with its parameters, and the parameters of Content-Disposition: one grammar, read in one pass.

use crate::http1::grammar::{is_token_byte, trim_ows};

/// What stands before the first `;`, trimmed.
pub(crate) fn essence(value: &[u8]) -> &[u8] {
    let end = memchr::memchr(b';', value).unwrap_or(value.len());
    trim_ows(&value[..end])
}

/// The parameters behind the first `;`, each `(name, value)`; an error ends them. Linear: no byte is looked at twice
/// (CVE-2025-67726).
pub(crate) fn parameters(value: &[u8]) -> Parameters<'_> {
    let start = memchr::memchr(b';', value).unwrap_or(value.len());
    Parameters { rest: &value[start..] }
}

/// The value of the one parameter of this name. An error if there are two, or if any parameter is malformed.
pub(crate) fn parameter(value: &[u8], name: &[u8]) -> Result<Option<Vec<u8>>, Malformed> {
    let mut found = None;
    for parameter in parameters(value) {
        let (given, value) = parameter?;
        if given.eq_ignore_ascii_case(name) && found.replace(value).is_some() {
            return Err(Malformed);
        }
    }
    Ok(found)
}

/// A parameter that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

pub(crate) struct Parameters<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Parameters<'a> {
    type Item = Result<(&'a [u8], Vec<u8>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            self.rest = trim_ows(self.rest.strip_prefix(b";")?);
            if !matches!(self.rest, [] | [b';', ..]) {
                break; // an empty parameter is none
            }
        }
        let parameter = self.read().ok_or(Malformed);
        if parameter.is_err() {
            self.rest = &[];
        }
        Some(parameter)
    }
}

impl<'a> Parameters<'a> {
    fn read(&mut self) -> Option<(&'a [u8], Vec<u8>)> {
        let text = self.rest;
        let end = text.iter().position(|&byte| !is_token_byte(byte)).filter(|&end| end > 0)?;
        let behind = trim_ows(&text[end..]).strip_prefix(b"=")?;
        let value = self.read_value(trim_ows(behind))?;
        Some((&text[..end], value))
    }

    /// Reads a value, and the blanks up to the next `;`. Unquoted it goes up to that: browsers do not quote what they should.
    fn read_value(&mut self, text: &'a [u8]) -> Option<Vec<u8>> {
        let Some(mut rest) = text.strip_prefix(b"\"") else {
            let end = memchr::memchr(b';', text).unwrap_or(text.len());
            let value = trim_ows(&text[..end]);
            self.rest = &text[end..];
            return (!value.is_empty() && !value.contains(&b'"')).then(|| value.to_vec());
        };
        let mut value = Vec::new();
        loop {
            rest = match rest {
                [b'"', behind @ ..] => {
                    self.rest = trim_ows(behind);
                    return matches!(self.rest, [] | [b';', ..]).then_some(value);
                }
                // Only what has to be escaped: some clients send `C:\dir\file` as it is.
                [b'\\', byte @ (b'"' | b'\\'), behind @ ..] | [byte, behind @ ..] => {
                    value.push(*byte);
                    behind
                }
                [] => return None,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(value: &str) -> Option<Vec<(String, String)>> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        parameters(value.as_bytes())
            .map(|it| it.map(|(name, value)| (text(name), text(&value))).ok())
            .collect()
    }

    #[test]
    fn hu33_values_are_bare_or_quoted_with_two_escapes() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(essence(b" Text/Plain ; a=b"), b"Text/Plain");
        assert_eq!(
            all(r#"form-data; a=b ;; c = "d;\"e\\ \f	g" ; h="";"#),
            Some(vec![pair("a", "b"), pair("c", "d;\"e\\ \\f\tg"), pair("h", "")])
        );
        assert_eq!(all("x"), Some(vec![]));
        for bad in
            ["x; a", "x; =b", "x; a=", "x; a=\"b", "x; a=\"b\"c", "x; a=b\"c\"", "x; a b=c", "x; a=\"b\\"]
        {
            assert_eq!(all(bad), None, "{bad}");
        }
        assert_eq!(parameter(b"x; a=1; A=2", b"a"), Err(Malformed));
        assert_eq!(parameter(b"x; A=1; b=2", b"a"), Ok(Some(b"1".to_vec())));
    }
}
