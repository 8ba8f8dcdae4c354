//! What a header of version 2 says beside addresses: values with a kind and a length.

/// The kinds that the specification names. Others are as good: 0xE0 to 0xEF are for whoever wants them, and 0xEA, for one, is
/// what Amazon's balancers write.
pub mod kind {
    /// The protocol that TLS has agreed on (ALPN).
    pub const ALPN: u8 = 0x01;
    /// The host name that the client asked for (SNI).
    pub const AUTHORITY: u8 = 0x02;
    /// The checksum, which has been checked.
    pub const CRC32C: u8 = 0x03;
    /// Padding.
    pub const NOOP: u8 = 0x04;
    /// A name for the connection that the proxy made up.
    pub const UNIQUE_ID: u8 = 0x05;
    /// What is known of the client's TLS: a [`ProxySsl`](crate::ProxySsl).
    pub const SSL: u8 = 0x20;
    /// Within SSL: its version.
    pub const SSL_VERSION: u8 = 0x21;
    /// Within SSL: the common name of the client's certificate.
    pub const SSL_CN: u8 = 0x22;
    /// Within SSL: the cipher.
    pub const SSL_CIPHER: u8 = 0x23;
    /// The name of the network namespace.
    pub const NETNS: u8 = 0x30;
}

/// One value, as it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tlv<'a> {
    /// What it is about: one of [`tlv_kind`](crate::tlv_kind), or another.
    pub kind: u8,
    /// What it says.
    pub value: &'a [u8],
}

/// The values of a header, or of one of its values, in the order in which they came.
#[derive(Debug, Clone)]
pub struct Tlvs<'a>(pub(super) &'a [u8]);

impl<'a> Tlvs<'a> {
    /// The value of the first of that kind.
    #[must_use]
    pub fn value(mut self, kind: u8) -> Option<&'a [u8]> {
        self.find(|tlv| tlv.kind == kind).map(|tlv| tlv.value)
    }

    /// Whether the last one ends where they all do.
    pub(super) fn are_whole(mut self) -> bool {
        self.by_ref().for_each(drop);
        self.0.is_empty()
    }
}

impl<'a> Iterator for Tlvs<'a> {
    type Item = Tlv<'a>;

    fn next(&mut self) -> Option<Tlv<'a>> {
        let (&[kind, high, low], rest) = self.0.split_first_chunk()?;
        let (value, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([high, low])))?;
        self.0 = rest;
        Some(Tlv { kind, value })
    }
}

/// What the proxy knows of the client's TLS, which it has ended.
#[derive(Debug, Clone, Copy)]
#[doc(alias = "PP2_TYPE_SSL")]
pub struct ProxySsl<'a> {
    client: u8,
    verify: u32,
    tlvs: &'a [u8],
}

impl<'a> ProxySsl<'a> {
    pub(super) fn of(value: &'a [u8]) -> Option<ProxySsl<'a>> {
        let (&[client, a, b, c, d], tlvs) = value.split_first_chunk()?;
        Some(ProxySsl { client, verify: u32::from_be_bytes([a, b, c, d]), tlvs })
    }

    /// Whether the client has come by TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.client & 0x01 != 0
    }

    /// Whether the client has shown a certificate on this connection, or in the TLS session that it resumes.
    #[must_use]
    pub fn has_certificate(&self) -> bool {
        self.client & 0x06 != 0
    }

    /// Whether the client has shown a certificate and the proxy has found it good.
    #[must_use]
    pub fn is_verified(&self) -> bool {
        self.has_certificate() && self.verify == 0
    }

    /// The version of TLS, as the proxy words it.
    #[must_use]
    pub fn version(&self) -> Option<&'a str> {
        self.text(kind::SSL_VERSION)
    }

    /// The cipher, as the proxy words it.
    #[must_use]
    pub fn cipher(&self) -> Option<&'a str> {
        self.text(kind::SSL_CIPHER)
    }

    /// The common name of the client's certificate.
    #[must_use]
    pub fn common_name(&self) -> Option<&'a str> {
        self.text(kind::SSL_CN)
    }

    /// All that was said.
    #[must_use]
    pub fn tlvs(&self) -> Tlvs<'a> {
        Tlvs(self.tlvs)
    }

    fn text(&self, kind: u8) -> Option<&'a str> {
        self.tlvs().value(kind).and_then(|value| str::from_utf8(value).ok())
    }
}
