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

/// The form, and where the target names the host.
///
/// All bytes are those of a target: see `is_target_byte`.
pub(crate) fn classify(
    method: &Method,
    target: &[u8],
) -> Result<(TargetForm, Option<Range<usize>>), RemoteError> {
    let is_good = |good: bool| if good { Ok(()) } else { Err(RemoteError::InvalidTarget) };
    if *method == Method::CONNECT {
        is_good(is_host_and_port(target))?;
        return Ok((TargetForm::Authority, Some(0..target.len())));
    }
    match target {
        [b'/', ..] => Ok((TargetForm::Origin, None)),
        b"*" => is_good(*method == Method::OPTIONS).map(|()| (TargetForm::Asterisk, None)),
        _ => {
            let authority = authority(target).ok_or(RemoteError::InvalidTarget)?;
            is_good(is_authority(&target[authority.clone()]))?;
            Ok((TargetForm::Absolute, Some(authority)))
        }
    }
}

/// Where the path of a target begins; its end if it has none.
pub(crate) fn path_start(form: TargetForm, target: &[u8]) -> usize {
    match form {
        TargetForm::Origin | TargetForm::Asterisk => 0,
        TargetForm::Absolute => authority(target).map_or(target.len(), |authority| authority.end),
        TargetForm::Authority => target.len(),
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
