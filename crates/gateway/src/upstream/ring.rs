//! Consistent hashing, point for point as nginx's `hash … consistent` and lua-resty-balancer place it: gateways of several
//! makes, and several nodes of one, send one key to one target. A target that comes or goes moves its own share alone.

/// Points of a target for each unit of its weight.
const POINTS: u64 = 160;
/// Weights of one ring together; larger ones are scaled down, and the ring is as large as this allows (5 MB).
const MOST_WEIGHT: u64 = 4096;

/// Targets around a ring of hashes.
#[derive(Debug)]
pub(super) struct Ring {
    /// Hashes in order, each with the index of its target.
    points: Box<[(u32, u16)]>,
}

impl Ring {
    /// A ring of these hosts, ports and weights, in the order of their indices.
    pub(super) fn new<'a>(targets: impl Iterator<Item = (&'a str, u16, u32)> + Clone) -> Self {
        let total: u64 = targets.clone().map(|(.., weight)| u64::from(weight)).sum();
        let mut points = Vec::new();
        for (index, (host, port, weight)) in (0_u16..).zip(targets) {
            let weight = u64::from(weight);
            let fitted = if total > MOST_WEIGHT { (weight * MOST_WEIGHT / total).max(1) } else { weight };
            let base = Crc32::default().with(host.as_bytes()).with(b"\0").with(port.to_string().as_bytes());
            let mut hash = 0_u32;
            for _ in 0..fitted * POINTS {
                hash = base.with(&hash.to_le_bytes()).value();
                points.push((hash, index));
            }
        }
        points.sort_unstable();
        Self { points: points.into() }
    }

    /// The targets' indices, beginning with the one whose key this is the hash of; a target as often as it has points.
    pub(super) fn from(&self, hash: u32) -> impl Iterator<Item = usize> {
        let first = self.points.partition_point(|(point, _)| *point < hash);
        let (before, behind) = self.points.split_at_checked(first).unwrap_or((&self.points, &[]));
        behind.iter().chain(before).map(|(_, index)| usize::from(*index))
    }
}

/// A CRC-32 (IEEE 802.3) on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Crc32(u32);

impl Default for Crc32 {
    fn default() -> Self {
        Self(u32::MAX)
    }
}

impl Crc32 {
    /// With these further bytes.
    pub(super) fn with(self, bytes: &[u8]) -> Self {
        Self(bytes.iter().fold(self.0, |crc, byte| {
            let index = usize::from(crc.to_le_bytes()[0] ^ byte);
            (crc >> 8) ^ TABLE.get(index).copied().unwrap_or(0)
        }))
    }

    /// That of the bytes so far.
    pub(super) const fn value(self) -> u32 {
        !self.0
    }
}

/// What each byte does to the sum.
static TABLE: [u32; 256] = table();

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        #[allow(clippy::cast_possible_truncation, reason = "it is below 256")]
        let mut crc = index as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
            bit += 1;
        }
        #[allow(clippy::indexing_slicing, reason = "it is below 256, and this runs when it is compiled")]
        {
            table[index] = crc;
        }
        index += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_the_standard() {
        assert_eq!(Crc32::default().with(b"123456789").value(), 0xcbf4_3926);
        assert_eq!(Crc32::default().with(b"1234").with(b"56789").value(), 0xcbf4_3926);
        assert_eq!(Crc32::default().value(), 0);
    }

    fn owners(targets: &[(&str, u16, u32)]) -> Vec<usize> {
        let ring = Ring::new(targets.iter().copied());
        (0..10_000_u32)
            .map(|key| ring.from(Crc32::default().with(&key.to_le_bytes()).value()).next().unwrap())
            .collect()
    }

    #[test]
    fn a_target_that_goes_moves_its_own_share_alone() {
        let all = owners(&[("a", 80, 1), ("b", 80, 1), ("c", 80, 2)]);
        let fewer = owners(&[("a", 80, 1), ("b", 80, 1)]);
        let moved = all.iter().zip(&fewer).filter(|(before, after)| before != after).count();
        let share = all.iter().filter(|owner| **owner == 2).count();
        assert_eq!(moved, share);
        assert!((4_000..6_000).contains(&share), "{share}");
    }

    #[test]
    fn keys_have_the_owners_that_they_have_with_nginx() {
        let ring = Ring::new([("127.0.0.1", 1980, 1), ("127.0.0.1", 1981, 1)].into_iter());
        let owner = |key: &str| ring.from(Crc32::default().with(key.as_bytes()).value()).next().unwrap();
        for (key, index) in
            [("127.0.0.1", 0), ("sun", 1), ("device_id+sun", 0), ("/server_port", 0), ("jack", 1)]
        {
            assert_eq!(owner(key), index, "{key}");
        }
    }

    #[test]
    fn every_target_is_met_on_the_way_round_also_with_absurd_weights() {
        let ring = Ring::new([("a", 80, u32::MAX), ("b", 80, 1), ("c", 80, u32::MAX)].into_iter());
        let mut met: Vec<usize> = ring.from(7).collect();
        assert!(met.len() as u64 <= (MOST_WEIGHT + 3) * POINTS);
        met.sort_unstable();
        met.dedup();
        assert_eq!(met, [0, 1, 2]);
        assert_eq!(Ring::new(std::iter::empty()).from(7).next(), None);
    }
}
