//! A generator's images brought to the size of the members' own.

use crate::data::ImageShape;

/// What a target pixel is the weighted mean of, along one axis: the first source pixel and the weights from there on.
type Taps = (usize, Vec<f32>);

/// True if [`fit`] can turn images of one shape into the other: channels must be equal, or 1 on one side and 3 on the other.
pub(super) const fn fits(from: ImageShape, to: ImageShape) -> bool {
    from.len() > 0
        && to.len() > 0
        && (from.channels == to.channels || matches!((from.channels, to.channels), (1, 3) | (3, 1)))
}

/// Resizes until the target is covered, crops to its centre, and turns grey into colour or colour into grey (by the mean).
/// Equal shapes leave the pixels as they are.
pub(super) fn fit(images: Vec<f32>, from: ImageShape, to: ImageShape) -> Vec<f32> {
    if from == to {
        return images;
    }
    let scale = (to.height as f32 / from.height as f32).max(to.width as f32 / from.width as f32);
    let (rows, columns) = (taps(from.height, to.height, scale), taps(from.width, to.width, scale));
    let mut out = Vec::with_capacity(images.len() / from.len() * to.len());
    for image in images.chunks_exact(from.len()) {
        let planes: Vec<Vec<f32>> =
            image.chunks_exact(from.height * from.width).map(|p| resample(p, from.width, &rows, &columns)).collect();
        match (planes.len(), to.channels) {
            (1, n) => (0..n).for_each(|_| out.extend(&planes[0])),
            (n, 1) => out.extend((0..to.len()).map(|i| planes.iter().map(|p| p[i]).sum::<f32>() / n as f32)),
            _ => planes.iter().for_each(|p| out.extend(p)),
        }
    }
    out
}

fn resample(plane: &[f32], width: usize, rows: &[Taps], columns: &[Taps]) -> Vec<f32> {
    let mut out = Vec::with_capacity(rows.len() * columns.len());
    for (top, down) in rows {
        for (left, right) in columns {
            let line = |y: usize| right.iter().zip(&plane[y * width + left..]).map(|(w, v)| w * v).sum::<f32>();
            out.push(down.iter().enumerate().map(|(i, w)| w * line(top + i)).sum());
        }
    }
    out
}

/// A triangle as wide as a pixel of the coarser grid: linear interpolation upwards, averaging downwards.
fn taps(from: usize, to: usize, scale: f32) -> Vec<Taps> {
    let support = (1.0 / scale).max(1.0);
    let tap = |i: usize| {
        let centre = (i as f32 + 0.5 - to as f32 / 2.0) / scale + from as f32 / 2.0 - 0.5;
        let first = ((centre - support).ceil().max(0.0) as usize).min(from - 1);
        let last = ((centre + support).floor().max(0.0) as usize).min(from - 1);
        let weight = |j: usize| (1.0 - (j as f32 - centre).abs() / support).max(0.0);
        let weights: Vec<f32> = (first..=last).map(weight).collect();
        let sum: f32 = weights.iter().sum();
        // Beyond the edge lies the edge's pixel.
        let even = vec![1.0 / weights.len() as f32; weights.len()];
        (first, if sum > 0.0 { weights.into_iter().map(|w| w / sum).collect() } else { even })
    };
    (0..to).map(tap).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn shape(channels: usize, height: usize, width: usize) -> ImageShape {
        ImageShape { channels, height, width }
    }

    #[test]
    fn halving_averages_and_doubling_interpolates() {
        let found = fit(vec![0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0], shape(1, 2, 4), shape(1, 1, 2));
        // A triangle two pixels to each side: 3/8 + 1/8 of what lies beyond the middle, and the border counts less.
        assert!(found[0] < 0.2 && found[1] > 0.8 && (found[0] + found[1] - 1.0).abs() < 1e-6, "{found:?}");
        let found = fit(vec![0.0, 1.0], shape(1, 1, 2), shape(1, 2, 4));
        assert_eq!(found, [0.0, 0.25, 0.75, 1.0, 0.0, 0.25, 0.75, 1.0]);
    }

    #[test]
    fn a_longer_side_is_cropped_to_its_centre() {
        let found = fit((0..6).map(|x| x as f32).collect(), shape(1, 1, 6), shape(1, 1, 2));
        assert_eq!(found, [2.0, 3.0]);
    }

    #[test]
    fn grey_and_colour_go_into_each_other() {
        assert_eq!(fit(vec![0.25], shape(1, 1, 1), shape(3, 1, 1)), [0.25; 3]);
        assert_eq!(fit(vec![0.0, 0.5, 1.0], shape(3, 1, 1), shape(1, 1, 1)), [0.5]);
        assert!(!fits(shape(2, 4, 4), shape(3, 4, 4)) && fits(shape(2, 4, 4), shape(2, 8, 8)));
    }
}
