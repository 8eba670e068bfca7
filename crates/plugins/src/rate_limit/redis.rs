//! Counters that several nodes share, in Redis. One script judges all limits of a request at once, and counts it only
//! where none of them stops it.

use rp::session::{RedisScripts, StorageError};

use super::counter::{Span, Spent};

/// For each limit two keys, the window and the one before it, and four numbers: the limit, how long the window's key
/// lives, how many millionths of the window before it still count, and how long the window lasts yet.
const SCRIPT: &str = "\
local used, room = {}, 1
for i = 1, #KEYS / 2 do
  local limit, weight = tonumber(ARGV[4 * i - 3]), tonumber(ARGV[4 * i - 1])
  local before = 0
  if weight > 0 then
    before = math.ceil(tonumber(redis.call('GET', KEYS[2 * i]) or '0') * weight / 1000000)
  end
  used[i] = before + tonumber(redis.call('GET', KEYS[2 * i - 1]) or '0')
  if used[i] >= limit then room = 0 end
end
local out = {room}
for i = 1, #KEYS / 2 do
  local key, life, left = KEYS[2 * i - 1], tonumber(ARGV[4 * i - 2]), tonumber(ARGV[4 * i])
  if room == 1 then
    used[i] = used[i] + 1
    redis.call('INCR', key)
  end
  local lives = redis.call('PTTL', key)
  if lives == -1 then
    redis.call('PEXPIRE', key, life)
    lives = life
  end
  if left < 0 then
    left = lives > 0 and lives or life
  end
  out[2 * i], out[2 * i + 1] = used[i], left
end
return out";

/// One limit of a request.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) key: String,
    pub(super) span: Span,
    pub(super) limit: u64,
}

/// Counts the request at all of its limits, or at none.
pub(super) async fn spend(
    redis: &RedisScripts,
    asked: &[Asked],
    now: i64,
) -> Result<Vec<Spent>, StorageError> {
    let (mut keys, mut numbers) = (Vec::new(), Vec::new());
    for Asked { key, span, limit } in asked {
        let limit = i64::try_from(*limit).unwrap_or(i64::MAX);
        match span {
            Span::FromFirst(length) => {
                keys.extend([format!(":{key}"), format!(":{key}")]);
                numbers.extend([limit, *length, 0, -1]);
            }
            Span::Between(start, end) => {
                let left = (end - now).max(1);
                keys.extend([format!(":{key}:{start}"), format!(":{key}:{start}")]);
                numbers.extend([limit, left, 0, left]);
            }
            Span::Sliding(length) => {
                let length = (*length).max(1);
                let (round, left) = (now.div_euclid(length), length - now.rem_euclid(length));
                keys.extend([format!(":{key}:{round}"), format!(":{key}:{}", round - 1)]);
                let weight = i128::from(left) * 1_000_000 / i128::from(length);
                numbers.extend([limit, length * 2, i64::try_from(weight).unwrap_or(0), left]);
            }
        }
    }
    let answer = redis.run(SCRIPT, &keys, &numbers).await?;
    let (room, rest) = answer.split_first().ok_or(StorageError)?;
    let spent: Vec<Spent> = rest
        .chunks_exact(2)
        .zip(asked)
        .filter_map(|(pair, asked)| match pair {
            [used, reset] => {
                let used = u64::try_from(*used).unwrap_or(u64::MAX);
                Some(Spent { allowed: *room == 1 || used < asked.limit, used, reset: *reset })
            }
            _ => None,
        })
        .collect();
    if spent.len() == asked.len() { Ok(spent) } else { Err(StorageError) }
}
