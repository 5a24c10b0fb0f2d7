//! The "pathological" setting: a few classes per peer (arXiv:1602.05629, section 3), and IID as
//! its limit of all classes.

use super::numpy_rng::NumpyRng;
use super::{PartitionError, parameter};

/// Deals each class in order to the first peers that still have a class slot free.
///
/// With `rng`, all takers but the last get a random amount of at least a tenth of a fair share; without, equal
/// amounts. The last one gets the rest.
pub(super) fn deal(
    by_class: &[Vec<u32>],
    classes_per_peer: usize,
    peers: usize,
    least: usize,
    mut rng: Option<&mut NumpyRng>,
) -> Result<Vec<Vec<u32>>, PartitionError> {
    let classes = by_class.len();
    if !(1..=classes).contains(&classes_per_peer) {
        let expected = format!("the data set has {classes} classes, so 1 to {classes} are possible");
        return Err(parameter("the number of classes per peer", classes_per_peer, expected));
    }
    // In this order of operations: the reference's rounding decides the next integer.
    let most_takers = (peers as f64 / classes as f64 * classes_per_peer as f64).ceil() as usize;
    let mut slots = vec![classes_per_peer; peers];
    let mut shares = vec![Vec::new(); peers];
    for (class, members) in by_class.iter().enumerate() {
        let takers: Vec<usize> = (0..peers).filter(|&p| slots[p] > 0).take(most_takers).collect();
        let Some((&last, others)) = takers.split_last() else {
            // With few peers all slots are taken before all classes are dealt; the reference divides by zero here.
            continue;
        };
        let fair = members.len() as f64 / takers.len() as f64;
        let amounts = match rng.as_deref_mut() {
            None => vec![fair as u32; others.len()],
            Some(_) if others.is_empty() => Vec::new(),
            Some(rng) => {
                let low = (fair / 10.0).max(least as f64 / classes as f64) as u32;
                if low >= fair as u32 {
                    let (images, takers) = (members.len(), takers.len());
                    return Err(PartitionError::ClassTooSmall { class, images, takers, least: low });
                }
                rng.randint(low, fair as u32, others.len())
            }
        };
        let mut rest = members.as_slice();
        for (&peer, amount) in others.iter().zip(amounts) {
            let (mine, after) = rest.split_at((amount as usize).min(rest.len()));
            shares[peer].extend_from_slice(mine);
            slots[peer] -= 1;
            rest = after;
        }
        shares[last].extend_from_slice(rest);
        slots[last] -= 1;
    }
    Ok(shares)
}
