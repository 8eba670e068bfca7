//! Consistent hashing, slot for slot as Kong's balancer places it: a wheel of as many slots as configured, on which each
//! target has some in proportion to its weight. Kong's nodes and ours send one key to one target, and a target that comes
//! or goes moves little more than its own share.

/// Slots of a target on average, where the wheel has room for twice as many.
const POINTS: u64 = 160;
/// Slots of the smallest wheel.
const FEWEST: usize = 1000;

/// Targets around a wheel.
#[derive(Debug)]
pub(super) struct Slots {
    /// Index of the target that has a slot; [`FREE`]: none.
    wheel: Box<[u16]>,
}

const FREE: u16 = u16::MAX;

impl Slots {
    /// A wheel of this size with these hosts, ports and weights, in the order of their indices.
    pub(super) fn new<'a>(size: u32, targets: impl Iterator<Item = (&'a str, u16, u32)>) -> Self {
        let size = usize::try_from(size).unwrap_or(FEWEST).max(FEWEST);
        let mut sorted: Vec<_> = (0_u16..FREE).zip(targets).collect();
        sorted.sort_by(|(_, (host, port, _)), (_, (other, other_port, _))| {
            host.cmp(other).then(port.cmp(other_port))
        });
        let total: u64 = sorted.iter().map(|(_, (.., weight))| u64::from(*weight)).sum();
        let number = u64::try_from(sorted.len()).unwrap_or(0);
        let room = u64::try_from(size).unwrap_or(0) / 2;
        let points = room.checked_div(number).unwrap_or(0).clamp(1, POINTS);
        let mut wheel = vec![FREE; size];
        let mut free = size;
        for (index, (host, port, weight)) in sorted {
            let weight = u64::from(weight);
            let share = (weight * number * points).checked_div(total).unwrap_or(0);
            let mut wanted = if weight > 0 { share.max(1) } else { 0 };
            let mut attempt = 0_u64;
            // A slot that is taken is tried again under the next name; on a crowded wheel that ends.
            while wanted > 0 && free > 0 && attempt < u64::try_from(size).unwrap_or(0) {
                attempt += 1;
                let place = slot(hash(format!("{host}::{port} {attempt}").as_bytes()), size);
                if let Some(place) = wheel.get_mut(place).filter(|place| **place == FREE) {
                    *place = index;
                    wanted -= 1;
                    free -= 1;
                }
            }
        }
        Self { wheel: wheel.into() }
    }

    /// The targets' indices, beginning with the one whose key this is the hash of; a target as often as it has slots.
    pub(super) fn from(&self, hash: u32) -> impl Iterator<Item = usize> {
        let first = slot(hash, self.wheel.len()) + 1;
        let (before, behind) = self.wheel.split_at_checked(first).unwrap_or((&self.wheel, &[]));
        let backwards = before.iter().rev().chain(behind.iter().rev());
        backwards.filter(|index| **index != FREE).map(|index| usize::from(*index))
    }
}

fn slot(hash: u32, size: usize) -> usize {
    usize::try_from(hash).unwrap_or(0).checked_rem(size).unwrap_or(0)
}

const PRIMES: [u32; 5] = [0x9e37_79b1, 0x85eb_ca77, 0xc2b2_ae3d, 0x27d4_eb2f, 0x1656_67b1];

/// xxHash of 32 bits with seed 0, by which Kong places keys and targets.
pub fn hash(bytes: &[u8]) -> u32 {
    let [first, second, third, fourth, fifth] = PRIMES;
    let word = |bytes: &[u8]| bytes.try_into().map(u32::from_le_bytes).unwrap_or(0);
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let mut stripes = bytes.chunks_exact(16);
    let mut sum = if bytes.len() >= 16 {
        let mut lanes = [first.wrapping_add(second), second, 0, 0_u32.wrapping_sub(first)];
        for stripe in &mut stripes {
            for (lane, bytes) in lanes.iter_mut().zip(stripe.chunks_exact(4)) {
                let mixed = lane.wrapping_add(word(bytes).wrapping_mul(second));
                *lane = mixed.rotate_left(13).wrapping_mul(first);
            }
        }
        let turned = lanes.iter().zip([1, 7, 12, 18]).map(|(lane, by)| lane.rotate_left(by));
        turned.fold(0, u32::wrapping_add)
    } else {
        fifth
    };
    sum = sum.wrapping_add(length);
    let mut words = stripes.remainder().chunks_exact(4);
    for bytes in &mut words {
        sum = sum.wrapping_add(word(bytes).wrapping_mul(third)).rotate_left(17).wrapping_mul(fourth);
    }
    for byte in words.remainder() {
        sum = sum.wrapping_add(u32::from(*byte).wrapping_mul(fifth)).rotate_left(11).wrapping_mul(first);
    }
    sum = (sum ^ sum >> 15).wrapping_mul(second);
    sum = (sum ^ sum >> 13).wrapping_mul(third);
    sum ^ sum >> 16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_the_specification() {
        assert_eq!(hash(b""), 0x02cc_5d05);
        assert_eq!(hash(b"a"), 0x550d_7456);
        assert_eq!(hash(b"abc"), 0x32d1_53ff);
        assert_eq!(hash(b"Nobody inspects the spammish repetition"), 0xe229_3b2f);
    }

    fn owners(targets: &[(&str, u16, u32)]) -> Vec<usize> {
        let slots = Slots::new(10_000, targets.iter().copied());
        (0..10_000_u32).map(|key| slots.from(hash(&key.to_le_bytes())).next().unwrap()).collect()
    }

    #[test]
    fn targets_have_their_share_and_one_that_goes_moves_little_else() {
        let all = owners(&[("a", 80, 1), ("b", 80, 1), ("c", 80, 2)]);
        let count = |owner: usize| all.iter().filter(|own| **own == owner).count();
        assert!((3_800..6_200).contains(&count(2)), "{}", count(2));
        assert!((1_500..3_500).contains(&count(0)), "{}", count(0));
        let fewer = owners(&[("a", 80, 1), ("b", 80, 1)]);
        let moved = all.iter().zip(&fewer).filter(|(before, after)| **before != 2 && before != after).count();
        assert!(moved < 1_000, "{moved}");
        // The order in which they are written means nothing.
        let turned = owners(&[("c", 80, 2), ("b", 80, 1), ("a", 80, 1)]);
        assert!(all.iter().zip(&turned).all(|(one, other)| *one == 2 - *other));
    }

    #[test]
    fn every_target_is_met_on_the_way_round_also_on_a_small_wheel() {
        let names: Vec<String> = (0..300).map(|number| format!("10.0.0.{number}")).collect();
        let targets: Vec<(&str, u16, u32)> = names.iter().map(|name| (name.as_str(), 1, 1)).collect();
        let slots = Slots::new(10, targets.iter().copied());
        assert_eq!(slots.wheel.len(), FEWEST);
        let met = |slots: &Slots| {
            let mut met: Vec<usize> = slots.from(u32::MAX).collect();
            met.sort_unstable();
            met.dedup();
            met
        };
        assert_eq!(met(&slots).len(), 300);
        let two = Slots::new(1000, [("a", 1, 1), ("b", 1, u32::MAX), ("c", 1, 0)].into_iter());
        assert_eq!(met(&two), [0, 1]);
        assert_eq!(Slots::new(10_000, std::iter::empty()).from(7).next(), None);
    }
}
