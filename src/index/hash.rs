//! The hash of ids: a keyed one, as ids come from clients, who must not be able to choose some that collide.
//!
//! Two steps, both with a proof, and a key that is random per wheel and leaves it in no form; and a third one without:
//!
//! 1. *NH* (J. Black, S. Halevi, H. Krawczyk, T. Krovetz, P. Rogaway, *UMAC: Fast and Secure Message Authentication*, CRYPTO 1999)
//!    makes 128 bits of the id: the sum of products of its words, each with a word of the key added, in pairs; the first pair
//!    is its length. Of two different ids these are equal with a chance of about 2^-63.
//! 2. Multiplication and a shift (M. Dietzfelbinger, *Universal Hashing and k-wise Independent Random Variables via Integer
//!    Arithmetic without Primes*, STACS 1996) makes 64 bits of these. Those of two different values are as independent as two
//!    random numbers.
//! 3. Ids that count up differ in one word, and both steps make an arithmetic progression of them. Two of its numbers are independent,
//!    three are not, and for some keys (one in a thousand) so many shared a bucket that it was full. A bijection ends that.
//!
//! So whoever does not know the key cannot do better than with ids chosen at random. And hashes only say where to look: ids
//! are compared byte by byte. (SipHash, which is made for those who see the hashes, takes five times as many instructions.)

use std::hash::BuildHasher;
#[cfg(not(all(test, shuttle)))]
use std::hash::RandomState;

use crate::error::LONGEST_ID;

/// Bytes of a pair of words.
const PAIR: usize = 16;
/// Pairs that are taken together.
const BLOCK: usize = 4;
/// Of the longest id.
const PAIRS: usize = LONGEST_ID / PAIR;
const _: () = assert!(LONGEST_ID.is_multiple_of(PAIR * BLOCK));

/// What makes a number of an id.
pub(crate) trait HashId: Send + Sync + 'static {
    /// A number that is as good as random.
    fn hash(&self, id: &[u8]) -> u64;
}

/// A key.
pub(crate) struct Universal {
    length: [u64; 2],
    summand: u128,
    factors: [u128; 2],
    pairs: Box<[[u64; 2]; PAIRS]>,
}

impl Universal {
    /// A random key.
    pub(crate) fn random() -> Universal {
        // The standard library's hasher has a key of the system's, and SipHash keeps that to itself. Schedules have the same
        // one each time, as they could not be replayed otherwise.
        #[cfg(not(all(test, shuttle)))]
        let system = RandomState::new();
        #[cfg(all(test, shuttle))]
        let system = std::hash::BuildHasherDefault::<std::hash::DefaultHasher>::new();
        let mut numbers = (0u64..).map(|number| system.hash_one(number));
        let mut number = || numbers.next().expect("there is no end of them");
        let mut pair = || [number(), number()];
        let mut wide = || pair().into_iter().fold(0, |wide, number| wide << 64 | u128::from(number));
        Universal {
            summand: wide(),
            factors: [wide(), wide()],
            length: pair(),
            pairs: Box::new(std::array::from_fn(|_| pair())),
        }
    }
}

impl HashId for Universal {
    #[inline(always)]
    fn hash(&self, id: &[u8]) -> u64 {
        let mut sum = product([id.len() as u64, 0], &self.length);
        let (blocks, rest) = id.as_chunks::<{ PAIR * BLOCK }>();
        let (keys, _) = self.pairs.as_chunks::<BLOCK>();
        for (block, keys) in blocks.iter().zip(keys) {
            for (pair, key) in block.as_chunks::<PAIR>().0.iter().zip(keys) {
                sum = sum.wrapping_add(product(words(pair), key));
            }
        }
        if !rest.is_empty() {
            sum = sum.wrapping_add(self.rest(rest, blocks.len() * BLOCK));
        }
        let [low, high] = [sum as u64, (sum >> 64) as u64].map(u128::from);
        let [by_low, by_high] = self.factors;
        let hash = self.summand.wrapping_add(low.wrapping_mul(by_low)).wrapping_add(high.wrapping_mul(by_high));
        scatter((hash >> 64) as u64)
    }
}

/// A bijection after which numbers that grow by the same amount each time are as good as random in every part (the finalizer of
/// SplitMix64 by its better constants: D. Stafford, *Better Bit Mixing*, 2011, Mix13). It changes nothing about which hashes are equal.
#[inline(always)]
fn scatter(mut hash: u64) -> u64 {
    hash = (hash ^ hash >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ hash >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ hash >> 31
}

impl Universal {
    /// The sum of what is less than a block, filled up with zeros.
    #[inline(never)]
    fn rest(&self, rest: &[u8], first: usize) -> u128 {
        let mut sum = 0u128;
        for (part, key) in rest.chunks(PAIR).zip(&self.pairs[first..]) {
            let mut pair = [0; PAIR];
            pair[..part.len()].copy_from_slice(part);
            sum = sum.wrapping_add(product(words(&pair), key));
        }
        sum
    }
}

#[inline]
fn words(pair: &[u8; PAIR]) -> [u64; 2] {
    let both = u128::from_le_bytes(*pair);
    [both as u64, (both >> 64) as u64]
}

#[inline]
fn product(pair: [u64; 2], key: &[u64; 2]) -> u128 {
    u128::from(pair[0].wrapping_add(key[0])) * u128::from(pair[1].wrapping_add(key[1]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids() -> Vec<Vec<u8>> {
        let mut ids: Vec<Vec<u8>> = (1..=LONGEST_ID).map(|length| vec![0; length]).collect();
        for length in [1, 15, 16, 17, 63, 64, 65, 128, LONGEST_ID] {
            for bit in 0..length * 8 {
                let mut id = vec![0; length];
                id[bit / 8] = 1 << (bit % 8);
                ids.push(id);
            }
        }
        ids
    }

    #[test]
    #[cfg_attr(miri, ignore = "arithmetic, and long")]
    fn ids_that_hardly_differ_have_hashes_that_do_in_every_part() {
        let key = Universal::random();
        let ids = ids();
        for part in [0, 16, 32, 48] {
            let mut seen = vec![0u32; 1 << 16];
            ids.iter().for_each(|id| seen[(key.hash(id) >> part & 0xffff) as usize] += 1);
            // About 14,000 of them: a place with twelve would come up once in 10^10 runs.
            assert!(seen.iter().all(|count| *count < 12), "bits {part} and on of {} ids", ids.len());
        }
        let hashes: std::collections::HashSet<u64> = ids.iter().map(|id| key.hash(id)).collect();
        assert_eq!(hashes.len(), ids.len());
    }

    /// How many of 20,000 ids that count up share one of 8,192 parts, at most: those that a table has for them.
    fn fullest(key: &Universal, id: impl Fn(u32) -> Vec<u8>) -> u32 {
        let mut parts = vec![0u32; 8192];
        (0..20_000).for_each(|number| parts[(key.hash(&id(number)) >> 11) as usize % 8192] += 1);
        parts.into_iter().max().unwrap_or(0)
    }

    #[test]
    #[cfg_attr(miri, ignore = "arithmetic, and long")]
    fn ids_that_count_up_spread_under_each_key() {
        let counting = |number: u32| number.to_le_bytes().to_vec();
        // Under this one the first two steps make the id, shifted by 32 bits, of it.
        let mut unlucky = Universal::random();
        (unlucky.length, unlucky.pairs[0]) = ([0; 2], [0, 1]);
        (unlucky.summand, unlucky.factors) = (0, [1 << 96, 0]);
        assert!(fullest(&unlucky, counting) < 24);
        for _ in 0..20 {
            let key = Universal::random();
            // There are 2.4 in each, and room for 24, which come up once in 10^11 runs.
            assert!(fullest(&key, counting) < 24);
            assert!(fullest(&key, |number| format!("host-{number}").into()) < 24);
            assert!(fullest(&key, |number| format!("10.0.{}.{}:8002", number / 256, number % 256).into()) < 24);
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "arithmetic, and long")]
    fn every_wheel_has_a_key_of_its_own_and_every_byte_counts() {
        let (a, b) = (Universal::random(), Universal::random());
        assert_ne!(a.hash(b"host"), b.hash(b"host"));
        let id: Vec<u8> = (0..LONGEST_ID).map(|at| at as u8).collect();
        for at in 0..id.len() {
            let mut other = id.clone();
            other[at] ^= 0x80;
            assert_ne!(a.hash(&id), a.hash(&other), "byte {at}");
        }
    }
}
