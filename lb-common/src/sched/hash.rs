//! The hashes by which sh, dh and mh place clients and real servers, bit for bit those of a 64-bit kernel.

/// SipHash keys of mh for where a real server's permutation begins, and for clients.
pub const MH_FIRST: [u64; 2] = [2_654_435_761; 2];
/// SipHash keys of mh for the stride of a real server's permutation.
pub const MH_SECOND: [u64; 2] = [2_654_446_892; 2];

/// The kernel's `hsiphash` of one 32-bit word: SipHash-1-3, its result cut to 32 bits.
#[inline(always)]
pub const fn mh_hash(key: [u64; 2], word: u32) -> u32 {
    let mut v = [
        0x736f_6d65_7073_6575 ^ key[0],
        0x646f_7261_6e64_6f6d ^ key[1],
        0x6c79_6765_6e65_7261 ^ key[0],
        0x7465_6462_7974_6573 ^ key[1],
    ];
    // Four bytes make one block: their number in the highest byte, then the bytes.
    let block = 4 << 56 | word as u64;
    v[3] ^= block;
    v = sip_round(v);
    v[0] ^= block;
    v[2] ^= 0xff;
    v = sip_round(sip_round(sip_round(v)));
    (v[0] ^ v[1] ^ v[2] ^ v[3]) as u32
}

#[inline(always)]
const fn sip_round([mut a, mut b, mut c, mut d]: [u64; 4]) -> [u64; 4] {
    a = a.wrapping_add(b);
    b = b.rotate_left(13) ^ a;
    a = a.rotate_left(32);
    c = c.wrapping_add(d);
    d = d.rotate_left(16) ^ c;
    a = a.wrapping_add(d);
    d = d.rotate_left(21) ^ a;
    c = c.wrapping_add(b);
    b = b.rotate_left(17) ^ c;
    c = c.rotate_left(32);
    [a, b, c, d]
}

/// The bucket of sh and dh: the top eight bits of a multiplicative hash.
#[inline(always)]
pub const fn bucket(word: u32) -> u32 {
    word.wrapping_mul(0x61C8_8647) >> 24
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::hash::Hasher;

    #[test]
    fn the_hash_is_siphash_1_3_cut_to_32_bits() {
        for word in [0_u32, 1, 0xC633_6402, u32::MAX] {
            // The standard library's hasher is SipHash-1-3 with zero keys.
            let mut reference = std::hash::DefaultHasher::new();
            reference.write(&word.to_le_bytes());
            assert_eq!(mh_hash([0, 0], word), reference.finish() as u32);
        }
    }
}
