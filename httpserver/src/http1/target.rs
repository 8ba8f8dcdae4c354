//! What is asked for: the four forms of a request target (RFC 9112 §3.2).

use std::ops::Range;

use http::Method;

use super::error::RemoteError;
use super::host::{is_authority, is_host_and_port};

/// The form of a request target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TargetForm {
    /// `/path?query`: what nearly all requests have.
    #[default]
    Origin,
    /// `http://host/path?query`: what proxies are asked. Its host goes before the Host field.
    Absolute,
    /// `host:port`, with CONNECT only.
    Authority,
    /// `*`, with OPTIONS only.
    Asterisk,
}

/// What a target consists of.
pub(crate) struct Parts {
    pub(crate) form: TargetForm,
    /// Where it names the host; empty where it does not.
    pub(crate) authority: Range<usize>,
    /// Its path, empty in some forms. A query begins behind its end.
    pub(crate) path: Range<usize>,
}

impl Parts {
    /// All bytes are those of a target: see `is_target_byte`. The first question mark is at `path_end`, which is else the end.
    pub(crate) fn of(method: &Method, target: &[u8], path_end: usize) -> Result<Parts, RemoteError> {
        let is_good = |good: bool| if good { Ok(()) } else { Err(RemoteError::InvalidTarget) };
        let len = target.len();
        if *method == Method::CONNECT {
            is_good(is_host_and_port(target))?;
            return Ok(Parts { form: TargetForm::Authority, authority: 0..len, path: len..len });
        }
        match target {
            [b'/', ..] => Ok(Parts { form: TargetForm::Origin, authority: 0..0, path: 0..path_end }),
            b"*" => {
                is_good(*method == Method::OPTIONS)?;
                Ok(Parts { form: TargetForm::Asterisk, authority: 0..0, path: 0..len })
            }
            _ => {
                let authority = authority(target).ok_or(RemoteError::InvalidTarget)?;
                is_good(is_authority(&target[authority.clone()]))?;
                let path = authority.end..path_end;
                Ok(Parts { form: TargetForm::Absolute, authority, path })
            }
        }
    }
}

fn authority(target: &[u8]) -> Option<Range<usize>> {
    let scheme = memchr::memchr(b':', target)?;
    let is_scheme = target[0].is_ascii_alphabetic()
        && target[..scheme].iter().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte));
    let rest = target[scheme + 1..].strip_prefix(b"//").filter(|_| is_scheme)?;
    let start = target.len() - rest.len();
    let len = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    Some(start..start + len)
}
