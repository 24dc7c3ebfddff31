//! CRC-32C (Castagnoli), eight bytes at a time: the checksum of iSCSI, ext4 and Btrfs.

/// The polynomial 0x1EDC6F41, bits reversed.
const POLYNOMIAL: u32 = 0x82F6_3B78;

/// `TABLES[k][b]` is what byte `b` adds when `k` more bytes follow it.
static TABLES: [[u32; 256]; 8] = tables();

const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc >> 1) ^ (POLYNOMIAL & (crc & 1).wrapping_neg());
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    // Each further table is the one before, moved on by a byte of zeros.
    let mut n = 256;
    while n < 8 * 256 {
        let before = tables[n / 256 - 1][n % 256];
        tables[n / 256][n % 256] = (before >> 8) ^ tables[0][(before & 0xff) as usize];
        n += 1;
    }
    tables
}

/// The checksum of what `crc` is the checksum of, followed by `bytes`; 0 is the checksum of nothing.
pub(super) fn extend(crc: u32, bytes: &[u8]) -> u32 {
    let mut crc = !crc;
    let (eights, rest) = bytes.as_chunks::<8>();
    for eight in eights {
        let word = u64::from_le_bytes(*eight) ^ u64::from(crc);
        let [b0, b1, b2, b3, b4, b5, b6, b7] = word.to_le_bytes().map(usize::from);
        crc = TABLES[7][b0]
            ^ TABLES[6][b1]
            ^ TABLES[5][b2]
            ^ TABLES[4][b3]
            ^ TABLES[3][b4]
            ^ TABLES[2][b5]
            ^ TABLES[1][b6]
            ^ TABLES[0][b7];
    }
    for byte in rest {
        crc = (crc >> 8) ^ TABLES[0][usize::from(crc as u8 ^ byte)];
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_checksum_of_rfc_3720() {
        assert_eq!(extend(0, b""), 0);
        assert_eq!(extend(0, b"123456789"), 0xe306_9283);
        assert_eq!(extend(0, &[0; 32]), 0x8a91_36aa);
        assert_eq!(extend(0, &[0xff; 32]), 0x62a8_ab43);
        let rising: Vec<u8> = (0..32).collect();
        assert_eq!(extend(0, &rising), 0x46dd_794e);
    }

    #[test]
    fn it_may_be_taken_in_parts() {
        let bytes: Vec<u8> = (0..100u8).map(|n| n.wrapping_mul(37)).collect();
        for cut in 0..bytes.len() {
            let (head, tail) = bytes.split_at(cut);
            assert_eq!(extend(extend(0, head), tail), extend(0, &bytes));
        }
    }
}
