//! Which instruction set a kernel runs on.

use std::sync::OnceLock;

use pulp::{Scalar, Simd, WithSimd};

/// An instruction set that this machine has.
#[derive(Clone, Copy, Debug)]
pub(super) enum Level {
    /// One number at a time; compilers and processors still find some parallelism.
    Portable(Scalar),
    /// AVX2 and FMA.
    #[cfg(target_arch = "x86_64")]
    Avx2(pulp::x86::V3),
    /// AVX-512.
    #[cfg(target_arch = "x86_64")]
    Avx512(pulp::x86::V4),
    /// NEON.
    #[cfg(target_arch = "aarch64")]
    Neon(pulp::aarch64::Neon),
}

impl Level {
    /// All that this machine has, the best last.
    pub(super) fn all() -> Vec<Self> {
        let mut all = vec![Self::Portable(Scalar)];
        #[cfg(target_arch = "x86_64")]
        {
            all.extend(pulp::x86::V3::try_new().map(Self::Avx2));
            all.extend(pulp::x86::V4::try_new().map(Self::Avx512));
        }
        #[cfg(target_arch = "aarch64")]
        all.extend(pulp::aarch64::Neon::try_new().map(Self::Neon));
        all
    }

    fn best() -> Self {
        static BEST: OnceLock<Level> = OnceLock::new();
        *BEST.get_or_init(|| Self::all().pop().unwrap_or(Self::Portable(Scalar)))
    }

    fn run<Op: WithSimd>(self, op: Op) -> Op::Output {
        match self {
            Self::Portable(simd) => Simd::vectorize(simd, op),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(simd) => Simd::vectorize(simd, op),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(simd) => Simd::vectorize(simd, op),
            #[cfg(target_arch = "aarch64")]
            Self::Neon(simd) => Simd::vectorize(simd, op),
        }
    }
}

#[cfg(test)]
thread_local! {
    static FORCED: std::cell::Cell<Option<Level>> = const { std::cell::Cell::new(None) };
}

/// Makes this thread run all kernels on `level`.
#[cfg(test)]
pub(super) fn force(level: Level) {
    FORCED.set(Some(level));
}

/// Runs a kernel on the best instruction set of this machine.
pub(super) fn run<Op: WithSimd>(op: Op) -> Op::Output {
    #[cfg(test)]
    if let Some(level) = FORCED.get() {
        return level.run(op);
    }
    Level::best().run(op)
}
