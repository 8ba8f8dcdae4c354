//! CRC-32C (Castagnoli, RFC 3720 §B.4), a byte at a time: headers are short, and most have none.

/// The sum of all parts, one after the other.
pub(super) fn crc32c<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u32 {
    let step = |sum: u32, &byte: &u8| (sum >> 8) ^ TABLE[usize::from(sum as u8 ^ byte)];
    !parts.into_iter().flatten().fold(!0, step)
}

const TABLE: [u32; 256] = table();

const fn table() -> [u32; 256] {
    /// The polynomial, its bits in reverse.
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    let mut table = [0; 256];
    let mut index = 0;
    while index < table.len() {
        let mut sum = index as u32;
        let mut bit = 0;
        while bit < 8 {
            sum = (sum >> 1) ^ (POLYNOMIAL * (sum & 1));
            bit += 1;
        }
        table[index] = sum;
        index += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sums_of_rfc_3720_come_out() {
        let ascending: Vec<u8> = (0..32).collect();
        assert_eq!(crc32c([&b"123456789"[..]]), 0xe306_9283);
        assert_eq!(crc32c([&[0; 32][..]]), 0x8a91_36aa);
        assert_eq!(crc32c([&[0xff; 32][..]]), 0x62a8_ab43);
        assert_eq!(crc32c([&ascending[..9], &ascending[9..]]), 0x46dd_794e);
        assert_eq!(crc32c([]), 0);
    }
}
