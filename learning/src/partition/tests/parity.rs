//! The reference partitions, index for index. Their hashes are those that `scripts/partition_oracle.py digest` gives
//! of the files that `PFLlib`'s own
//! functions made (numpy 1.26.4, scikit-learn 1.9.1).

use super::{DIR, PAT2, digest, fashion_labels};
use crate::partition::{Partition, Scheme};

#[test]
fn dirichlet_of_full_fashion_mnist_is_the_reference_partition() {
    let partition = Partition::make(&fashion_labels(), &DIR(0.1), 20, 1, 10).unwrap();
    assert_eq!(digest(&partition), "3af7c3c97cd4703a4583ccbcb21d6ef278ab6159e763c29e571e4f53668250c0");
    assert_eq!((partition.peers[0].train.len(), partition.peers[0].test.len()), (61, 21));
}

#[test]
fn dirichlet_with_another_alpha_and_seed_is_the_reference_partition() {
    // This file was written capped.
    let partition = Partition::make(&fashion_labels(), &DIR(0.5), 20, 3, 10).unwrap().cap(100, 100);
    assert_eq!(digest(&partition), "f07f0746b344cb5e11a4239149f41f9857fa783b7154221d62686fcd79943dcf");
}

#[test]
fn pathological_of_full_fashion_mnist_is_the_reference_partition() {
    let partition = Partition::make(&fashion_labels(), &PAT2, 20, 1, 10).unwrap();
    assert_eq!(digest(&partition), "2ae0e6c2751209a713546133c77e78f227d9d88067f0b9fff05c5eed64c679bd");
}

#[test]
fn other_sizes_are_what_numpy_makes_of_the_same_algorithm() {
    // `partition_oracle.py make`: 300 peers sum their shares in blocks, alpha 2.5 takes the other gamma method, and a
    // third of the classes is uneven.
    let data = fashion_labels();
    let cases = [
        (DIR(2.5), 300, 11, "91d17c2a7bb8c0fafe58805ad7ed3de131b23b3e8499080f5af59043b1fa4b2b"),
        (DIR(1.0), 7, 12, "9d1ab433f8278bc058c616c25c808c1fef6b560883a32147deb3de7ad7d7f90a"),
        (
            Scheme::Pathological { classes_per_peer: 3 },
            7,
            13,
            "e2344405443b9e954de3d641aca5e88562c648382d3c7cc55387d44c2be18a1c",
        ),
        (Scheme::Iid, 9, 14, "78d275c540c3eeb6b1258f90d79053c1c5634b7c77239efde0cf5e9327baaf4d"),
    ];
    for (scheme, peers, seed, expected) in cases {
        let partition = Partition::make(&data, &scheme, peers, seed, 10).unwrap();
        assert_eq!(digest(&partition), expected, "{scheme:?}");
    }
}
