//! Signatures and keys on which libraries disagree, from `scripts/ed25519_edge_cases.py`: every member must give the same
//! answer, and none may take a key that signs without a secret.

use fedswarm_protocol::keys::{PublicKey, Signature};
use serde::Deserialize;

#[derive(Deserialize)]
struct Cases {
    signatures: Vec<SignatureCase>,
    invalid_keys: Vec<KeyCase>,
}

#[derive(Deserialize)]
struct SignatureCase {
    name: String,
    message: String,
    key: String,
    signature: String,
    verifies: bool,
    key_valid: bool,
}

#[derive(Deserialize)]
struct KeyCase {
    name: String,
    key: String,
}

fn cases() -> Cases {
    serde_json::from_str(include_str!("ed25519.json")).unwrap()
}

fn from_hex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap()).collect()
}

fn key(text: &str) -> PublicKey {
    PublicKey(from_hex(text).try_into().unwrap())
}

#[test]
fn signatures_are_judged_by_the_strict_predicate_without_cofactor() {
    let cases = cases().signatures;
    assert_eq!(cases.len(), 13, "an honest signature and the twelve conditions");
    for case in cases {
        let signature = Signature(from_hex(&case.signature).try_into().unwrap());
        assert_eq!(key(&case.key).verifies(&from_hex(&case.message), &signature), case.verifies, "{}", case.name);
        assert_eq!(key(&case.key).is_valid(), case.key_valid, "key of {}", case.name);
    }
}

#[test]
fn no_member_has_a_key_of_small_order_or_in_a_second_spelling() {
    let cases = cases().invalid_keys;
    assert!(cases.len() > 50);
    for case in cases {
        assert!(!key(&case.key).is_valid(), "{}", case.name);
    }
}
