//! Reading `--seeds`: `1..5` is 1 to 5, both ends included; `1,3,5` is a list; the two may be mixed.

use crate::Error;

/// The most seeds of one comparison. Too low: large studies are refused; without it `1..9999999999` fills the memory.
const MAX_SEEDS: usize = 10_000;

/// Reads a list of seeds, in the order given.
///
/// # Errors
/// [`Error::Parse`] for anything but numbers and rising ranges, for a seed named twice, and for too many.
pub fn parse_seeds(text: &str) -> Result<Vec<u64>, Error> {
    let bad = |right| Error::Parse { text: text.to_owned(), what: "seeds", right };
    let number = |part: &str| part.trim().parse::<u64>().map_err(|_| bad("write 1..5 (both included) or 1,3,5"));
    let mut seeds = Vec::new();
    for part in text.split(',') {
        let (first, last) = match part.split_once("..") {
            Some((first, last)) => (number(first)?, number(last.trim_start_matches('='))?),
            None => (number(part)?, number(part)?),
        };
        if first > last {
            return Err(bad("a range goes up, such as 1..5"));
        }
        let room = MAX_SEEDS - seeds.len();
        if last - first >= room as u64 {
            return Err(bad("at most 10000 seeds"));
        }
        seeds.extend(first..=last);
    }
    let mut sorted = seeds.clone();
    sorted.sort_unstable();
    if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(bad("name each seed once"));
    }
    Ok(seeds)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn both_ends_of_a_range_belong_to_it() {
        assert_eq!(parse_seeds("1..5").unwrap(), [1, 2, 3, 4, 5]);
        assert_eq!(parse_seeds("1..=5").unwrap(), [1, 2, 3, 4, 5]);
        assert_eq!(parse_seeds("7").unwrap(), [7]);
        assert_eq!(parse_seeds("1, 3,8..9").unwrap(), [1, 3, 8, 9]);
    }

    #[test]
    fn what_is_no_list_of_seeds_is_refused_with_an_example() {
        for (text, word) in [
            ("", "1..5"),
            ("a", "1..5"),
            ("-1", "1..5"),
            ("5..1", "goes up"),
            ("1,1", "once"),
            ("0..99999999999", "10000"),
        ] {
            let error = parse_seeds(text).unwrap_err();
            assert!(error.is_bad_input() && error.to_string().contains(word), "{text}: {error}");
        }
    }
}
