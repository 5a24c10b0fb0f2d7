//! `NumPy`'s legacy generator (`numpy.random.seed`, `RandomState`), draw for draw.
//!
//! The partitions that published federated-learning figures rest on were drawn with it. `NumPy` froze this stream in
//! version 1.17 (NEP 19), so
//! an implementation here gives the same partitions as the reference tools, without Python. Golden vectors from
//! `NumPy` itself are in
//! `numpy_rng_golden.json`, made by `scripts/partition_oracle.py`.
//!
//! Floating-point functions (`ln`, `powf`) come from the platform's mathematics library, as `NumPy`'s do: where that
//! library rounds
//! differently, a draw may differ in its last bit, and a partition built on it by one sample.

/// Words of Mersenne Twister state (Matsumoto and Nishimura 1998).
const N: usize = 624;
const M: usize = 397;

/// The Mersenne Twister with `NumPy`'s legacy distributions on top.
#[derive(Clone)]
pub(crate) struct NumpyRng {
    key: [u32; N],
    pos: usize,
    /// The polar method makes normal values in pairs; the second waits here.
    gauss: Option<f64>,
}

impl NumpyRng {
    /// `numpy.random.seed(seed)` for seeds that `NumPy` takes (below 2^32); above, what `numpy.random.seed([low,
    /// high])` does with the two halves.
    pub(crate) fn seed(seed: u64) -> Self {
        match u32::try_from(seed) {
            Ok(seed) => Self::from_word(seed),
            Err(_) => Self::from_words(&[seed as u32, (seed >> 32) as u32]),
        }
    }

    /// `init_genrand` of the reference implementation.
    fn from_word(seed: u32) -> Self {
        let mut key = [0; N];
        let mut word = seed;
        for (i, slot) in (1u32..).zip(key.iter_mut()) {
            *slot = word;
            word = 1_812_433_253u32.wrapping_mul(word ^ (word >> 30)).wrapping_add(i);
        }
        Self { key, pos: N, gauss: None }
    }

    /// `init_by_array` of the reference implementation.
    fn from_words(words: &[u32]) -> Self {
        let mut rng = Self::from_word(19_650_218);
        let key = &mut rng.key;
        let (mut i, mut j) = (1, 0);
        for _ in 0..N.max(words.len()) {
            let mixed = (key[i - 1] ^ (key[i - 1] >> 30)).wrapping_mul(1_664_525);
            key[i] = (key[i] ^ mixed).wrapping_add(words[j]).wrapping_add(j as u32);
            i += 1;
            j = (j + 1) % words.len();
            if i == N {
                key[0] = key[N - 1];
                i = 1;
            }
        }
        for _ in 1..N {
            let mixed = (key[i - 1] ^ (key[i - 1] >> 30)).wrapping_mul(1_566_083_941);
            key[i] = (key[i] ^ mixed).wrapping_sub(i as u32);
            i += 1;
            if i == N {
                key[0] = key[N - 1];
                i = 1;
            }
        }
        key[0] = 0x8000_0000;
        rng
    }

    fn refill(&mut self) {
        for i in 0..N {
            let y = (self.key[i] & 0x8000_0000) | (self.key[(i + 1) % N] & 0x7fff_ffff);
            let twist = if y & 1 == 1 { 0x9908_b0df } else { 0 };
            self.key[i] = self.key[(i + M) % N] ^ (y >> 1) ^ twist;
        }
        self.pos = 0;
    }

    /// 32 uniform bits.
    pub(crate) fn u32(&mut self) -> u32 {
        if self.pos == N {
            self.refill();
        }
        let mut y = self.key[self.pos];
        self.pos += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    /// Uniform in [0, 1) with 53 bits: `random_sample()`.
    pub(crate) fn double(&mut self) -> f64 {
        let high = f64::from(self.u32() >> 5);
        let low = f64::from(self.u32() >> 6);
        (high * 67_108_864.0 + low) / 9_007_199_254_740_992.0
    }

    /// Uniform in 0..=max by masking and rejection; draws nothing when `max` is 0.
    pub(crate) fn interval(&mut self, max: u32) -> u32 {
        if max == 0 {
            return 0;
        }
        let mask = u32::MAX >> max.leading_zeros();
        loop {
            let value = self.u32() & mask;
            if value <= max {
                return value;
            }
        }
    }

    /// `shuffle`: Fisher-Yates from the end.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            let j = self.interval(i as u32) as usize;
            items.swap(i, j);
        }
    }

    /// `permutation(n)`.
    pub(crate) fn permutation(&mut self, n: u32) -> Vec<u32> {
        let mut order: Vec<u32> = (0..n).collect();
        self.shuffle(&mut order);
        order
    }

    /// `standard_exponential()`, the legacy method: by inversion.
    pub(crate) fn exponential(&mut self) -> f64 {
        -(1.0 - self.double()).ln()
    }

    /// `standard_normal()`, the legacy method: Marsaglia's polar one.
    pub(crate) fn gauss(&mut self) -> f64 {
        if let Some(value) = self.gauss.take() {
            return value;
        }
        loop {
            let x1 = 2.0 * self.double() - 1.0;
            let x2 = 2.0 * self.double() - 1.0;
            let r2 = x1 * x1 + x2 * x2;
            if r2 < 1.0 && r2 != 0.0 {
                let f = (-2.0 * r2.ln() / r2).sqrt();
                self.gauss = Some(f * x1);
                return f * x2;
            }
        }
    }

    /// `standard_gamma(shape)` for a shape >= 0, the legacy method: Ahrens and Dieter's GS (1974, p. 228) below 1,
    /// Marsaglia and Tsang's (2000) above.
    pub(crate) fn gamma(&mut self, shape: f64) -> f64 {
        if shape == 1.0 {
            self.exponential()
        } else if shape == 0.0 {
            0.0
        } else if shape < 1.0 {
            self.gamma_below_one(shape)
        } else {
            self.gamma_above_one(shape)
        }
    }

    fn gamma_below_one(&mut self, shape: f64) -> f64 {
        loop {
            let u = self.double();
            let v = self.exponential();
            if u <= 1.0 - shape {
                let x = u.powf(1.0 / shape);
                if x <= v {
                    return x;
                }
            } else {
                let y = -((1.0 - u) / shape).ln();
                let x = (1.0 - shape + shape * y).powf(1.0 / shape);
                if x <= v + y {
                    return x;
                }
            }
        }
    }

    fn gamma_above_one(&mut self, shape: f64) -> f64 {
        let b = shape - 1.0 / 3.0;
        let c = 1.0 / (9.0 * b).sqrt();
        loop {
            let (x, v) = loop {
                let x = self.gauss();
                let v = 1.0 + c * x;
                if v > 0.0 {
                    break (x, v * v * v);
                }
            };
            let u = self.double();
            if u < 1.0 - 0.0331 * (x * x) * (x * x) || u.ln() < 0.5 * x * x + b * (1.0 - v + v.ln()) {
                return b * v;
            }
        }
    }

    /// `dirichlet([alpha] * n)`. Not a number throughout when every gamma draw underflows to 0, as in `NumPy`.
    pub(crate) fn dirichlet(&mut self, alpha: f64, n: usize) -> Vec<f64> {
        let mut values: Vec<f64> = (0..n).map(|_| self.gamma(alpha)).collect();
        // One after the other, as NumPy adds here; `sum` of an array is another matter, see `pairwise_sum`.
        let total = values.iter().fold(0.0, |sum, v| sum + v);
        let inverse = 1.0 / total;
        for value in &mut values {
            *value *= inverse;
        }
        values
    }

    /// `randint(low, high, count)`: each in low..high. The caller sees to it that `low < high`.
    pub(crate) fn randint(&mut self, low: u32, high: u32, count: usize) -> Vec<u32> {
        let span = high.saturating_sub(low).saturating_sub(1);
        (0..count).map(|_| low + self.interval(span)).collect()
    }
}

/// `array.sum()`: `NumPy` adds in eight strands per block of 128, and the rounding decides where a class list is cut.
pub(crate) fn pairwise_sum(values: &[f64]) -> f64 {
    const STRANDS: usize = 8;
    const BLOCK: usize = 128;
    if values.len() < STRANDS {
        return values.iter().fold(0.0, |sum, v| sum + v);
    }
    if values.len() > BLOCK {
        let half = values.len() / 2;
        let (left, right) = values.split_at(half - half % STRANDS);
        return pairwise_sum(left) + pairwise_sum(right);
    }
    let chunks = values.chunks_exact(STRANDS);
    let rest = chunks.remainder();
    let mut r = [0.0; STRANDS];
    for chunk in chunks {
        for (sum, v) in r.iter_mut().zip(chunk) {
            *sum += v;
        }
    }
    let total = ((r[0] + r[1]) + (r[2] + r[3])) + ((r[4] + r[5]) + (r[6] + r[7]));
    rest.iter().fold(total, |sum, v| sum + v)
}

#[cfg(test)]
#[path = "numpy_rng_tests.rs"]
mod tests;
