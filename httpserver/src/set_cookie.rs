//! A cookie that a response sets: written strictly (RFC 6265 §4.1), so that nothing can be slipped in.

use std::fmt;
use std::time::{Duration, SystemTime};

use crate::headers::Headers;
use crate::helpers::format_timestamp;
use crate::http1::grammar::is_token;

/// A cookie to be set: the value of a Set-Cookie field.
///
/// It is checked as a whole when it goes into a response: a name is a token, a value has no blank, quote, comma, semicolon
/// or backslash and no byte beyond ASCII (encode what else you need to say), no attribute has a semicolon or a control
/// character (Tornado since 6.5.5), and the prefixes `__Secure-` and `__Host-` keep what they promise.
///
/// ```
/// use httpserver::{Response, SameSite, SetCookie};
///
/// let cookie = SetCookie::new("session", "31d4d96e407aad42").path("/").secure().http_only().same_site(SameSite::Lax);
/// let response = Response::text("welcome").cookie(&cookie)?;
/// # Ok::<(), httpserver::CookieError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
#[doc(alias = "set_cookie")]
pub struct SetCookie {
    name: String,
    value: String,
    path: Option<String>,
    domain: Option<String>,
    max_age: Option<Duration>,
    expires: Option<SystemTime>,
    same_site: Option<SameSite>,
    is_secure: bool,
    is_http_only: bool,
    is_partitioned: bool,
}

/// With which requests from other sites a cookie comes along.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SameSite {
    /// With none.
    Strict,
    /// With those that follow a link.
    Lax,
    /// With all. Browsers want such a cookie to be `Secure`, and so do we.
    None,
}

/// Why a cookie cannot be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum CookieError {
    /// The name is no token.
    #[error("invalid cookie name")]
    InvalidName,
    /// The value has a byte that no cookie may have.
    #[error("invalid cookie value")]
    InvalidValue,
    /// The path or the domain has a semicolon, a control character, or a character beyond ASCII; or the path has no slash first.
    #[error("invalid cookie attribute")]
    InvalidAttribute,
    /// `__Secure-` and `__Host-`, `SameSite=None` and `Partitioned` need `Secure`.
    #[error("this cookie must be secure")]
    NotSecure,
    /// `__Host-` needs the path `/` and no domain.
    #[error("a cookie of one host has the path / and no domain")]
    NotOfOneHost,
    /// Browsers drop cookies of more than 4096 bytes.
    #[error("cookie too large")]
    TooLarge,
    /// The fields of the response have become too many.
    #[error(transparent)]
    Header(#[from] crate::headers::HeaderError),
}

/// What browsers take at most, name and value together.
const MAX_BYTES: usize = 4096;

impl SetCookie {
    /// A cookie for the host and directory of the request, until the browser is closed.
    #[must_use]
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> SetCookie {
        SetCookie {
            name: name.into(),
            value: value.into(),
            path: None,
            domain: None,
            max_age: None,
            expires: None,
            same_site: None,
            is_secure: false,
            is_http_only: false,
            is_partitioned: false,
        }
    }

    /// Has the browser forget a cookie. Path and domain must be those that it was set with.
    #[must_use]
    #[doc(alias = "clear_cookie")]
    pub fn removal(name: impl Into<String>) -> SetCookie {
        SetCookie::new(name, "").max_age(Duration::ZERO).expires(SystemTime::UNIX_EPOCH)
    }

    /// For this path and what lies below; `/` for all of the site.
    #[must_use]
    pub fn path(mut self, path: impl Into<String>) -> SetCookie {
        self.path = Some(path.into());
        self
    }

    /// For this domain and all below it, instead of the one host.
    #[must_use]
    pub fn domain(mut self, domain: impl Into<String>) -> SetCookie {
        self.domain = Some(domain.into());
        self
    }

    /// For so long, in whole seconds. Goes before [`expires`](Self::expires).
    #[must_use]
    pub fn max_age(mut self, age: Duration) -> SetCookie {
        self.max_age = Some(age);
        self
    }

    /// Until this time.
    #[must_use]
    pub fn expires(mut self, time: SystemTime) -> SetCookie {
        self.expires = Some(time);
        self
    }

    /// Says with which requests from other sites it comes along. Browsers take `Lax` where nothing is said.
    #[must_use]
    pub fn same_site(mut self, same_site: SameSite) -> SetCookie {
        self.same_site = Some(same_site);
        self
    }

    /// Over TLS alone.
    #[must_use]
    pub fn secure(mut self) -> SetCookie {
        self.is_secure = true;
        self
    }

    /// Not for scripts.
    #[must_use]
    pub fn http_only(mut self) -> SetCookie {
        self.is_http_only = true;
        self
    }

    /// Kept apart for each site that embeds this one (CHIPS).
    #[must_use]
    pub fn partitioned(mut self) -> SetCookie {
        self.is_partitioned = true;
        self
    }

    /// The value of the Set-Cookie field.
    ///
    /// # Errors
    ///
    /// [`CookieError`] says what.
    pub fn to_field_value(&self) -> Result<String, CookieError> {
        self.check()?;
        Ok(self.written().to_string())
    }

    /// Adds a Set-Cookie field to these headers.
    ///
    /// # Errors
    ///
    /// As for [`to_field_value`](Self::to_field_value); nothing is added then.
    pub fn add_to(&self, headers: &mut Headers) -> Result<(), CookieError> {
        Ok(headers.add("Set-Cookie", self.to_field_value()?)?)
    }

    fn check(&self) -> Result<(), CookieError> {
        let has_prefix = |prefix: &str| {
            self.name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        };
        let is_of_one_host = has_prefix("__Host-");
        let needs_secure = is_of_one_host
            || has_prefix("__Secure-")
            || self.is_partitioned
            || self.same_site == Some(SameSite::None);
        let is_attribute =
            |text: &String| text.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b';');
        if !is_token(self.name.as_bytes()) {
            Err(CookieError::InvalidName)
        } else if !self.value.bytes().all(is_cookie_octet) {
            Err(CookieError::InvalidValue)
        } else if !self.path.as_ref().is_none_or(|path| is_attribute(path) && path.starts_with('/'))
            || !self.domain.as_ref().is_none_or(|domain| is_attribute(domain) && !domain.is_empty())
        {
            Err(CookieError::InvalidAttribute)
        } else if needs_secure && !self.is_secure {
            Err(CookieError::NotSecure)
        } else if is_of_one_host && (self.path.as_deref() != Some("/") || self.domain.is_some()) {
            Err(CookieError::NotOfOneHost)
        } else if self.name.len() + self.value.len() > MAX_BYTES {
            Err(CookieError::TooLarge)
        } else {
            Ok(())
        }
    }

    fn written(&self) -> impl fmt::Display + '_ {
        struct Written<'a>(&'a SetCookie);
        impl fmt::Display for Written<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let it = self.0;
                write!(f, "{}={}", it.name, it.value)?;
                it.expires.map_or(Ok(()), |time| write!(f, "; Expires={}", format_timestamp(time)))?;
                it.max_age.map_or(Ok(()), |age| write!(f, "; Max-Age={}", age.as_secs()))?;
                it.domain.as_ref().map_or(Ok(()), |domain| write!(f, "; Domain={domain}"))?;
                it.path.as_ref().map_or(Ok(()), |path| write!(f, "; Path={path}"))?;
                it.same_site.map_or(Ok(()), |same_site| write!(f, "; SameSite={same_site:?}"))?;
                let flags = [
                    (it.is_secure, "Secure"),
                    (it.is_http_only, "HttpOnly"),
                    (it.is_partitioned, "Partitioned"),
                ];
                flags.iter().filter(|(is_set, _)| *is_set).try_for_each(|(_, name)| write!(f, "; {name}"))
            }
        }
        Written(self)
    }
}

/// `cookie-octet` of RFC 6265 §4.1.1.
fn is_cookie_octet(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"\",;\\".contains(&byte)
}

/// The name alone: values are often credentials.
impl fmt::Debug for SetCookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SetCookie").field("name", &self.name).finish_non_exhaustive()
    }
}
