//! One running peer: storage, training threads, and the driver of the round machine.
