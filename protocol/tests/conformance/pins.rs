//! One hash for each wire type, over the encodings of many seeded values, compared with `protocol/tests/pins.toml`.
//!
//! To change a format deliberately: bump `PROTOCOL_VERSION`, then
//!
//! ```text
//! FEDSWARM_UPDATE_PINS=1 cargo test --release -p fedswarm-protocol --test conformance pins
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use fedswarm_protocol::artefact::{artefact_root, generator_seed, host_rank};
use fedswarm_protocol::blob;
use fedswarm_protocol::codec;
use fedswarm_protocol::election;
use fedswarm_protocol::envelope::{Slot, seal, signed_bytes};
use fedswarm_protocol::hash::{Digest, hash};
use fedswarm_protocol::keys::SecretKey;
use fedswarm_protocol::membership::Committee;
use fedswarm_protocol::merge::WeightedMean;
use fedswarm_protocol::record::{Record, list_root, operations_root};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::common::values::{CODECS, Draw, KINDS};
use crate::common::world::World;

/// Values folded into each pin.
const VALUES: u64 = 4096;

/// The table of pins.
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/pins.toml");

/// First lines of the table.
const HEAD: &str = "\
# BLAKE3 over 4096 seeded values of each type (tests/conformance/pins.rs). A pin that changes is a change of what peers
# exchange, sign or agree on. If that is meant: bump PROTOCOL_VERSION and write this file anew with
#   FEDSWARM_UPDATE_PINS=1 cargo test --release -p fedswarm-protocol --test conformance pins
";

/// Hash over what `write` appends for each seed, with every value framed by its length.
fn fold(name: &str, mut write: impl FnMut(&mut Draw, &mut Vec<u8>)) -> Digest {
    let mut all = Vec::new();
    for seed in 0..VALUES {
        let mut one = Vec::new();
        write(&mut Draw::new(name, seed), &mut one);
        all.extend_from_slice(&(one.len() as u64).to_le_bytes());
        all.append(&mut one);
    }
    hash("test pin", &all)
}

/// Encodings of a structure, each of which must also decode to the value that it came from.
fn structure<T>(name: &str, value: impl Fn(&mut Draw) -> T) -> Digest
where
    T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
{
    fold(name, |draw, out| {
        let value = value(draw);
        let bytes = codec::encode(&value).unwrap();
        assert_eq!(codec::decode::<T>(&bytes, codec::MAX_STRUCT_BYTES).unwrap(), value);
        out.extend(bytes);
    })
}

fn messages(pins: &mut BTreeMap<String, Digest>) {
    let mut pin = |name: &str, digest| pins.insert(format!("body.{name}"), digest);
    pin("update", structure("update", Draw::header));
    pin("receipt", structure("receipt", Draw::receipt));
    pin("artefact", structure("artefact", Draw::artefact));
    pin("proposal", structure("proposal", Draw::proposal));
    pin("vote", structure("vote", Draw::digest));
    pin("status", structure("status", Draw::status));
    pin("certificate", structure("certificate", Draw::certificate));
    pin("committed", structure("committed", Draw::committed));
    pin("record", structure("record", Draw::record));
    pin("manifest", structure("manifest", Draw::manifest));
    pin("operation", structure("operation", Draw::operation));
}

fn envelopes(pins: &mut BTreeMap<String, Digest>) {
    pins.insert(
        "envelope.signed_bytes".into(),
        fold("signed bytes", |draw, out| {
            let (network, slot, body) = (draw.digest(), draw.slot(), draw.below(200));
            out.extend(signed_bytes(&network, &slot, &draw.bytes(body)));
        }),
    );
    for kind in KINDS {
        let name = kind.name();
        let digest = fold(name, |draw, out| {
            let key = SecretKey::from_bytes(&draw.bytes(32).try_into().unwrap());
            let slot = Slot { kind, ..draw.slot() };
            out.extend(seal(&key, &draw.digest(), &slot, draw.u16(), &draw.message(kind)).unwrap());
        });
        pins.insert(format!("envelope.{name}"), digest);
    }
    // The statement hash is in no encoding, but receipts and records name updates by it.
    let world = World::new(4);
    let statements: Vec<u8> =
        KINDS.iter().flat_map(|kind| world.verifier.open(&world.sealed(*kind)).unwrap().statement().0).collect();
    pins.insert("envelope.statements".into(), hash("test pin", &statements));
}

fn names(pins: &mut BTreeMap<String, Digest>) {
    let mut pin = |name: &str, digest| pins.insert(format!("hash.{name}"), digest);
    pin("record", fold("record", |draw, out| out.extend(draw.record().hash().unwrap().0)));
    pin("state", fold("record", |draw, out| out.extend(draw.record().state_hash().0)));
    pin("network", fold("manifest", |draw, out| out.extend(draw.manifest().network_id().unwrap().0)));
    pin("members", fold("manifest", |draw, out| out.extend(Committee::founding(&draw.manifest()).root().0)));
    pin("operation", fold("operation", |draw, out| out.extend(draw.operation().digest().0)));
    pin(
        "operations",
        fold("operations", |draw, out| out.extend(operations_root(&[draw.operation(), draw.operation()]).0)),
    );
    pin("schema", fold("schema", |draw, out| out.extend(draw.schema().digest().0)));
    pin(
        "genesis_record",
        fold("manifest", |draw, out| {
            let (manifest, network) = (draw.manifest(), draw.digest());
            out.extend(Record::genesis(&manifest, network).hash().unwrap().0);
        }),
    );
    pin("artefact", fold("artefact ref", |draw, out| out.extend(artefact_root(Some(&draw.artefact_ref())).0)));
    pin(
        "host_rank_and_generator_seed",
        fold("host", |draw, out| {
            out.extend(host_rank(&draw.digest(), &draw.key()).0);
            out.extend(generator_seed(&draw.digest(), draw.u64()).0);
        }),
    );
    for context in ["receipts", "inputs"] {
        pin(&format!("list_{context}"), fold("list", |draw, out| out.extend(list_root(context, &draw.list(64)).0)));
    }
    pin(
        "blob_root",
        fold("blob", |draw, out| {
            // Mostly short; every 512th ends just before, at or after a chunk's end.
            let edge = draw.below(512) == 0;
            let len = if edge { blob::CHUNK_BYTES * draw.below(3) + draw.below(3) } else { draw.below(3000) };
            let mut bytes = draw.bytes(len.min(3000));
            bytes.resize(len, 7);
            out.extend(blob::root(&bytes).0);
        }),
    );
}

fn agreements(pins: &mut BTreeMap<String, Digest>) {
    let mut pin = |name: &str, digest| pins.insert(format!("agreed.{name}"), digest);
    pin(
        "election_order",
        fold("election", |draw, out| {
            let voters = 1 + draw.below(64) as u16;
            let order = election::order(&draw.digest(), (0..voters).collect());
            let leader = election::leader(&order, draw.u64(), draw.u32()).unwrap();
            out.extend(order.iter().chain([&leader]).flat_map(|v| v.to_le_bytes()));
        }),
    );
    pin(
        "election_seeds",
        fold("seeds", |draw, out| {
            out.extend(election::first_seed(&draw.digest(), draw.u32()).0);
            out.extend(election::fold_seed(&draw.digest(), &draw.digest(), draw.u64()).0);
        }),
    );
    pin("genesis", fold("genesis", |draw, out| out.extend(draw.small_schema().genesis(&draw.digest()).to_bytes())));
    pin(
        "merge",
        fold("merge", |draw, out| {
            let len = draw.below(40);
            let mut mean = WeightedMean::new(len);
            for _ in 0..1 + draw.below(8) {
                mean.add(&draw.vector(len), draw.int(24) as u32).unwrap();
            }
            match mean.finish(&draw.vector(len)) {
                Ok(merged) => out.extend(merged.to_bytes()),
                Err(error) => out.extend(error.to_string().bytes()),
            }
        }),
    );
    for codec in CODECS {
        pin(
            &format!("codec_{codec}"),
            fold("codec", |draw, out| {
                let schema = draw.small_schema();
                let delta = draw.vector(schema.len());
                let bytes = codec.encode(&delta, &schema, &draw.digest());
                match codec.decode(&bytes, &schema) {
                    Ok(decoded) => out.extend(decoded.to_bytes()),
                    Err(error) => out.extend(error.to_string().bytes()),
                }
                out.extend(bytes);
            }),
        );
    }
}

fn computed() -> BTreeMap<String, Digest> {
    let mut pins = BTreeMap::new();
    messages(&mut pins);
    envelopes(&mut pins);
    names(&mut pins);
    agreements(&mut pins);
    pins
}

fn parse(text: &str) -> BTreeMap<String, Digest> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, value) = line.split_once(" = ").expect("a pin is `\"name\" = \"hash\"`");
            (name.trim_matches('"').to_owned(), Digest::from_hex(value.trim_matches('"')).expect("64 hex digits"))
        })
        .collect()
}

#[test]
fn wire_formats_are_the_pinned_ones() {
    let found = computed();
    if std::env::var_os("FEDSWARM_UPDATE_PINS").is_some() {
        let mut text = HEAD.to_owned();
        for (name, digest) in &found {
            writeln!(text, "\"{name}\" = \"{digest}\"").unwrap();
        }
        fs::write(FILE, text).unwrap();
        return;
    }
    let pinned = parse(&fs::read_to_string(FILE).unwrap());
    let names: Vec<&String> = found.keys().chain(pinned.keys().filter(|name| !found.contains_key(*name))).collect();
    let changed: Vec<&str> =
        names.into_iter().filter(|name| found.get(*name) != pinned.get(*name)).map(String::as_str).collect();
    assert!(
        changed.is_empty(),
        "changed, new or gone: {}.\nMembers that run the code of before and after would not understand each other, or \
         would not agree. If that is meant, bump PROTOCOL_VERSION and run\n  FEDSWARM_UPDATE_PINS=1 cargo test --release \
         -p fedswarm-protocol --test conformance pins",
        changed.join(", ")
    );
}
