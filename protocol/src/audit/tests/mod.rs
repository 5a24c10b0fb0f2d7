#![allow(clippy::unwrap_used)]

mod fixture;

use super::{Depth, Place};
use crate::artefact::{ArtefactRef, artefact_root};
use crate::codec;
use crate::envelope::Kind;
use crate::hash::{Digest, hash};
use crate::keys::SecretKey;
use crate::membership::{EvictVote, Invite, Join, Operation, Role};
use crate::message::{Committed, Message, Receipt};
use crate::prototypes::ListName;
use crate::record::{Record, RecordKind};
use crate::summary::{Apart, Attention, Descent, Head, Hypernetwork, Loss, Summary, Tasks};
use fixture::{Lies, Run};

#[test]
fn an_honest_run_is_recomputed_to_the_last_round() {
    let mut run = Run::honest(7);
    run.push(Lies { view: 2, ..Lies::default() });
    run.push(Lies { updates: Some(1), ..Lies::default() });
    run.push(Lies::default());
    let reports = run.audit();
    assert!(reports.iter().all(|r| r.finding.is_none() && r.depth == Depth::Recomputed), "{reports:#?}");
    assert_eq!(run.rounds[8].committed.record.kind, RecordKind::Empty, "one update is too few");
}

#[test]
fn without_inputs_the_chain_is_checked_and_a_later_round_starts_from_a_kept_model() {
    let mut run = Run::honest(5);
    let depths = |run: &Run| {
        let reports = run.audit_with(|round, bundle| (round > 2).then_some(bundle));
        assert!(reports.iter().all(|r| r.finding.is_none()), "{reports:#?}");
        reports.iter().map(|r| r.depth).collect::<Vec<_>>()
    };
    let (chained, whole) = (Depth::Chained, Depth::Recomputed);
    assert_eq!(depths(&run), [chained, chained, whole, whole, whole]);
    run.blobs.remove(&run.rounds[1].committed.record.model_root);
    run.blobs.remove(&run.rounds[2].committed.record.model_root);
    assert_eq!(depths(&run), [chained, chained, chained, chained, whole], "no model to add to");
}

#[test]
fn after_a_gap_a_record_is_checked_by_its_certificate() {
    let run = Run::honest(4);
    let mut auditor = super::Auditor::new(&run.manifest).unwrap();
    let mut depth = |round: u64| {
        let kept = &run.rounds[round as usize - 1];
        let bundle = crate::bundle::pack(&kept.messages);
        let report = auditor.round(round, &kept.committed, Some(&bundle), &mut |root| run.blobs.get(root).cloned());
        assert_eq!(report.finding, None);
        report.depth
    };
    assert_eq!([depth(1), depth(3), depth(4)], [Depth::Recomputed, Depth::Certificate, Depth::Recomputed]);
}

/// Every field of a record, with a way to alter it.
type Alter = (&'static str, fn(&mut Record));

fn alterations() -> Vec<Alter> {
    vec![
        ("version", |r| r.version ^= 4),
        ("network", |r| r.network.0[7] ^= 4),
        ("epoch", |r| r.epoch ^= 4),
        ("round", |r| r.round ^= 4),
        ("parent", |r| r.parent.0[7] ^= 4),
        ("origin_view", |r| r.origin_view ^= 4),
        ("proposer", |r| r.proposer ^= 1),
        ("kind", |r| r.kind = RecordKind::Empty),
        ("members_root", |r| r.members_root.0[7] ^= 4),
        ("receipts_root", |r| r.receipts_root.0[7] ^= 4),
        ("inputs_root", |r| r.inputs_root.0[7] ^= 4),
        ("inputs", |r| r.inputs ^= 4),
        ("prototypes", |r| r.prototypes ^= 4),
        ("model_root", |r| r.model_root.0[7] ^= 4),
        ("protos_root", |r| r.protos_root.0[7] ^= 4),
        ("state_root", |r| r.state_root.0[7] ^= 4),
        ("artefact_root", |r| r.artefact_root.0[7] ^= 4),
        ("ops_root", |r| r.ops_root.0[7] ^= 4),
        ("next_members_root", |r| r.next_members_root.0[7] ^= 4),
        ("seed", |r| r.seed.0[7] ^= 4),
        ("seed_following", |r| r.seed_following.0[7] ^= 4),
        ("seed_fold", |r| r.seed_fold.0[7] ^= 4),
        ("skipped_leaders", |r| r.skipped_leaders ^= 4),
        ("quorum", |r| r.quorum ^= 4),
        ("misses", |r| r.misses[2] ^= 4),
        ("closes_epoch", |r| r.closes_epoch ^= true),
    ]
}

#[test]
fn an_altered_field_of_a_record_is_named_whatever_its_certificate_says() {
    for (field, alter) in alterations() {
        let mut run = Run::honest(3);
        alter(&mut run.rounds[1].committed.record);
        assert_eq!(run.first(), format!("2: record: {field}"), "damaged");
        // A quorum that signs it makes it no truer.
        let record = run.rounds[1].committed.record.clone();
        run.rounds[1].committed.certificate = run.certify(&record, 0);
        if field != "round" && field != "epoch" {
            let named = run.first();
            let fine = match field {
                "kind" => vec!["model_root", "kind"],
                "receipts_root" => vec!["body.receipts"],
                "inputs_root" => vec!["body.inputs"],
                "ops_root" => vec!["body.operations"],
                "artefact_root" => vec!["body.artefact"],
                // Not later than the view in which it was certified.
                "origin_view" => vec!["origin_view"],
                other => vec![other],
            };
            assert!(fine.iter().any(|f| named == format!("2: record: {f}")), "{field} signed: {named}");
        }
    }
}

#[test]
fn a_merge_or_a_choice_that_no_inputs_give_is_found_although_a_quorum_signed_it() {
    let cases = [
        (Lies { model: Some(hash("some", b"model")), ..Lies::default() }, "record: model_root"),
        (Lies { drop_input: true, ..Lies::default() }, "record: body.inputs"),
        (Lies { receipts: Some(2), ..Lies::default() }, "record: body.receipts"),
        (Lies { receipts: Some(4), ..Lies::default() }, "record: body.receipts"),
        (Lies { base: Some(Digest([9; 32])), ..Lies::default() }, "update of member 0: base"),
        (Lies { norm: 1, ..Lies::default() }, "payload of member 0: norm2_q"),
    ];
    for (lies, named) in cases {
        let mut run = Run::honest(1);
        run.push(lies);
        run.push(Lies::default());
        assert_eq!(run.first(), format!("2: {named}"));
    }
    for proposer in 0..4 {
        let mut run = Run::honest(1);
        run.push(Lies { proposer: Some(proposer), ..Lies::default() });
        assert!(["nothing", "2: record: proposer"].contains(&run.first().as_str()), "{}", run.first());
    }
}

#[test]
fn what_all_make_of_the_prototypes_is_made_again_and_carried_over_by_a_round_that_merges_nothing() {
    let descent = Descent::new(0.1, 3, 2);
    let apart = Apart { descent, most_margin: 10 };
    for summary in [Summary::Means, Summary::Head(Head { descent, loss: Loss::ArcFace }), Summary::Targets(apart)] {
        let mut run = Run::with_summary(summary);
        let genesis = run.derived().to_vec();
        run.push(Lies::default());
        let first = run.derived().to_vec();
        run.push(Lies { updates: Some(1), ..Lies::default() });
        assert_eq!(run.derived(), first, "{summary:?}: one update of four makes no merge");
        run.push(Lies::default());
        assert!(genesis != first && first != run.derived(), "{summary:?}");
        let reports = run.audit();
        assert!(reports.iter().all(|r| r.finding.is_none() && r.depth == Depth::Recomputed), "{reports:#?}");
        // A state whose merged part is right and whose derived part is the last round's.
        let mut lie = run.state().to_vec();
        lie.truncate(5);
        lie.extend(first);
        let root = crate::blob::root(&crate::tensor::FixedVector(lie).to_bytes());
        let mut run = Run::with_summary(summary);
        run.push(Lies::default());
        run.push(Lies { updates: Some(1), ..Lies::default() });
        run.push(Lies { model: Some(root), ..Lies::default() });
        assert_eq!(run.first(), "3: record: model_root");
    }
}

#[test]
fn rows_and_what_is_behind_them_are_made_again_and_another_row_is_found() {
    let hyper = Hypernetwork { embedding: 2, hidden: 3, layers: 1, rate_q: 1 << 20, hold_q: 1 << 21, clip: 50 };
    for summary in [
        Summary::Attention(Attention::new(0.1, 1.0)),
        Summary::Tasks(Tasks::new(0.25, 0.25, true)),
        Summary::Hypernetwork(hyper),
    ] {
        let mut run = Run::with_summary(summary);
        let genesis = run.root();
        run.push(Lies::default());
        let first = run.root();
        run.push(Lies { updates: Some(1), ..Lies::default() });
        assert_eq!(run.root(), first, "{summary:?}: one update of four makes no merge");
        run.push(Lies::default());
        assert!(genesis != first && first != run.root(), "{summary:?}");
        let reports = run.audit();
        assert!(reports.iter().all(|r| r.finding.is_none() && r.depth == Depth::Recomputed), "{reports:#?}");
        let mut run = Run::with_summary(summary);
        run.push(Lies::default());
        run.push(Lies { model: Some(first), ..Lies::default() });
        assert_eq!(run.first(), "2: record: model_root");
    }
}

#[test]
fn prototypes_are_recomputed_and_an_artefact_must_be_the_one_that_receipts_force() {
    let host = |run: &Run, i: usize| run.secrets[i].public();
    let artefact = |job_round: u64, host| ArtefactRef {
        job_round,
        host,
        statement: hash("statement", &job_round.to_le_bytes()),
        blob_root: Digest([7; 32]),
        blob_len: 76,
    };
    let honest = || {
        let mut run = Run::with_prototypes();
        run.push(Lies::default());
        let made = artefact(1, host(&run, 2));
        run.push(Lies { listed: Some((made, 2)), ..Lies::default() });
        run.push(Lies::default());
        (run, made)
    };
    let (run, made) = honest();
    let reports = run.audit();
    assert!(reports.iter().all(|r| r.finding.is_none() && r.depth == Depth::Recomputed), "{reports:#?}");
    let record = |i: usize| &run.rounds[i].committed.record;
    // Two classes of three authors, and one of the first.
    assert_eq!((record(0).prototypes, record(0).protos_root != record(1).protos_root), (5, true));
    assert_eq!(record(0).artefact_root, Digest::ZERO);
    assert_eq!(record(2).artefact_root, artefact_root(Some(&made)), "it stays in force");
    let reports = run.audit_with(|_, _| None);
    assert!(reports.iter().all(|r| r.finding.is_none() && r.depth == Depth::Chained), "{reports:#?}");

    let other = ListName { root: Digest([9; 32]), count: 5 };
    let lies = [
        (Lies { prototypes: Some(other), ..Lies::default() }, "record: protos_root"),
        (Lies { artefact: Some(None), ..Lies::default() }, "record: body.artefact"),
        (Lies { artefact: Some(Some(artefact(3, made.host))), ..Lies::default() }, "record: body.artefact"),
        (Lies { listed: Some((artefact(2, made.host), 1)), ..Lies::default() }, "nothing"),
    ];
    for (lie, named) in lies {
        let (mut run, _) = honest();
        run.push(lie);
        let found = run.first();
        assert!(found == *named || found == format!("4: {named}"), "{found}, not {named}");
    }
    // Not of the future, and not older than the one in force, whatever is kept.
    for (job_round, fine) in [(0, false), (2, true), (3, true), (4, false)] {
        let (mut run, _) = honest();
        let new = artefact(job_round, made.host);
        run.push(Lies { artefact: Some(Some(new)), ..Lies::default() });
        let findings = run.audit_with(|_, _| None).into_iter().filter_map(|r| r.finding).collect::<Vec<_>>();
        assert_eq!(findings.is_empty(), fine, "{job_round}: {findings:?}");
    }
    // A damaged record names what was altered, its list of prototypes and the artefact beside it.
    let (mut run, _) = honest();
    run.rounds[1].committed.body.artefact = None;
    assert_eq!(run.first(), "2: record: body.artefact");
    let (mut run, _) = honest();
    run.rounds[2].committed.record.protos_root.0[3] ^= 1;
    assert_eq!(run.first(), "3: record: protos_root");
    // A prototype in a payload.
    let (mut run, _) = honest();
    let Message::Update(header) = run.rounds[1].messages[2].message() else { panic!("updates come first") };
    let root = header.wire_root;
    *run.blobs.get_mut(&root).unwrap().last_mut().unwrap() ^= 1;
    assert_eq!(run.first(), "2: payload of member 2: wire_root");
}

#[test]
fn a_certificate_is_named_by_what_is_wrong_with_it() {
    type Break = fn(&mut Committed);
    let cases: [(&str, Break); 9] = [
        ("votes", |c| c.certificate.votes.truncate(2)),
        ("votes", |c| c.certificate.votes[1] = c.certificate.votes[0]),
        ("votes", |c| c.certificate.votes[2].0 = 9),
        ("votes[2] of member 3", |c| c.certificate.votes[2].0 = 3),
        ("votes[1] of member 1", |c| c.certificate.votes[1].1.0[40] ^= 1),
        ("kind", |c| c.certificate.kind = Kind::Notarize),
        ("view", |c| c.certificate.view = 3),
        ("epoch", |c| c.certificate.epoch = 3),
        ("record", |c| c.certificate.record.0[0] ^= 1),
    ];
    for (field, damage) in cases {
        let mut run = Run::honest(3);
        damage(&mut run.rounds[1].committed);
        assert_eq!(run.first(), format!("2: certificate: {field}"));
        let reports = run.audit();
        assert_eq!(reports[2].finding, None, "the next round holds by its own certificate");
    }
}

#[test]
fn a_record_of_another_network_is_named() {
    let mut run = Run::honest(2);
    let mut other = Run::new("another");
    (0..2).for_each(|_| other.push(Lies::default()));
    run.rounds[1] = other.rounds[1].clone();
    assert_eq!(run.first(), "2: record: network");
}

#[test]
fn a_dropped_swapped_or_forged_input_is_named() {
    let drop_one = |index: usize| {
        let mut run = Run::honest(2);
        run.rounds[1].messages.remove(index);
        run.first()
    };
    assert_eq!(drop_one(0), "2: update of member 0: message");
    assert_eq!(drop_one(5), "2: receipt of member 1: message");

    // A receipt that its member signed as well, for fewer updates: a proof against the member, and not the one that counted.
    let mut run = Run::honest(2);
    run.rounds[1].messages[5] =
        run.sign(Kind::Receipt, 1, 2, &Message::Receipt(Receipt { items: Vec::new(), artefacts: Vec::new() }));
    assert_eq!(run.first(), "2: receipt of member 1: statement");
    let mut run = Run::honest(2);
    run.rounds[1].messages[5] = run.rounds[0].messages[5].clone();
    assert_eq!(run.first(), "2: receipt of member 1: round");
    let mut run = Run::honest(2);
    let extra = run.sign(Kind::Receipt, 3, 2, &Message::Receipt(Receipt { items: Vec::new(), artefacts: Vec::new() }));
    run.rounds[1].messages.push(extra);
    assert_eq!(run.first(), "2: inputs: messages");

    let mut run = Run::honest(2);
    let Message::Update(header) = run.rounds[1].messages[2].message() else { panic!("updates come first") };
    let root = header.wire_root;
    let mut wire = run.blobs.remove(&root).unwrap();
    assert_eq!(run.first(), "2: payload of member 2: file");
    wire[3] ^= 1;
    run.blobs.insert(root, wire);
    assert_eq!(run.first(), "2: payload of member 2: wire_root");
}

#[test]
fn no_bit_of_the_inputs_can_change() {
    let run = Run::honest(1);
    let length = crate::bundle::pack(&run.rounds[0].messages).len();
    for bit in (0..length * 8).step_by(11) {
        let reports = run.audit_with(|_, mut bundle| {
            bundle[bit / 8] ^= 1 << (bit % 8);
            Some(bundle)
        });
        assert!(reports[0].finding.is_some(), "bit {bit} of {length} bytes");
    }
}

#[test]
fn no_bit_of_a_record_or_certificate_can_change() {
    let run = Run::honest(2);
    let bytes = codec::encode(&run.rounds[1].committed).unwrap();
    for bit in (0..bytes.len() * 8).step_by(5) {
        let mut altered = bytes.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        let Ok(committed) = codec::decode::<Committed>(&altered, codec::MAX_STRUCT_BYTES) else { continue };
        let mut damaged = Run::honest(1);
        damaged.rounds.push(fixture::Kept { committed, messages: run.rounds[1].messages.clone() });
        damaged.blobs.clone_from(&run.blobs);
        let finding = damaged.audit()[1].finding.clone();
        assert!(finding.is_some(), "bit {bit}");
        assert!(
            !matches!(finding.unwrap().place, Place::Payload { .. } | Place::Inputs),
            "bit {bit}: the record is to blame"
        );
    }
}

#[test]
fn a_changing_membership_is_followed_and_its_operations_are_checked() {
    let mut run = Run::new("audit");
    let network = run.manifest.network_id().unwrap();
    let (ticket, key) = (SecretKey::from_bytes(&[201; 32]), SecretKey::from_bytes(&[202; 32]));
    let invite = Invite::new(&network, &run.secrets[0], ticket.public(), Role::Contributor, 100);
    let join = Join::new(&network, invite, &ticket, &key, "newcomer".into());
    run.push(Lies::default());
    run.operations = vec![Operation::Join(Box::new(join.clone()))];
    (0..5).for_each(|_| run.push(Lies::default()));
    assert_eq!(run.first(), "nothing");
    let record = &run.rounds[2].committed.record;
    assert_eq!((record.epoch, run.rounds[1].committed.record.closes_epoch), (1, true));
    // A newcomer that was never invited, certified all the same.
    let mut forged = run;
    let altered = Join { key: SecretKey::from_bytes(&[203; 32]).public(), ..join };
    let committed = &mut forged.rounds[1].committed;
    committed.body.operations = vec![Operation::Join(Box::new(altered))];
    committed.record.ops_root = crate::record::operations_root(&committed.body.operations);
    let record = committed.record.clone();
    forged.rounds[1].committed.certificate = forged.certify(&record, 0);
    assert_eq!(forged.first(), "2: record: body.operations[0]");
}

#[test]
fn operations_that_were_voted_on_are_checked_vote_by_vote() {
    let mut run = Run::voting();
    let network = run.manifest.network_id().unwrap();
    let (ticket, key) = (SecretKey::from_bytes(&[201; 32]), SecretKey::from_bytes(&[202; 32]));
    let invite = Invite::new(&network, &run.secrets[0], ticket.public(), Role::Contributor, 100);
    let join = Join::new(&network, invite, &ticket, &key, "newcomer".into());
    let approvals: Vec<_> = run.secrets.iter().map(|voter| join.approve(&network, voter, 100)).collect();
    let join = Operation::Join(Box::new(join));
    let votes = run.secrets.iter().flat_map(|voter| EvictVote::new(&network, key.public(), 3, voter, 100).votes);
    let votes: Vec<_> = votes.collect();
    let evict = Operation::EvictVote(EvictVote { key: key.public(), since: 3, votes: Vec::new() });
    run.push(Lies::default());
    run.operations = vec![join.with_ballots(approvals[..3].to_vec())];
    run.push(Lies::default());
    run.operations = vec![evict.with_ballots(votes[1..].to_vec())];
    (0..3).for_each(|_| run.push(Lies::default()));
    assert_eq!(run.first(), "nothing");
    assert_eq!(run.rounds[4].committed.record.epoch, 2);

    // What a quorum of liars could certify all the same.
    let mut stranger = votes[1..].to_vec();
    stranger[0] = EvictVote::new(&network, key.public(), 3, &key, 100).votes[0];
    let mut forged = votes[1..].to_vec();
    forged[0].signature = forged[1].signature;
    let mut lapsed = votes[2..].to_vec();
    lapsed.extend(EvictVote::new(&network, key.public(), 3, &run.secrets[0], 2).votes);
    let cases = [
        (1, join.with_ballots(approvals[..2].to_vec()), "2: record: body.operations"),
        (1, join.with_ballots(approvals.clone()), "2: record: body.operations"),
        (1, join.with_ballots(Vec::new()), "2: record: body.operations"),
        (2, evict.with_ballots(votes[2..].to_vec()), "3: record: body.operations"),
        (2, evict.with_ballots(stranger), "3: record: body.operations"),
        (2, evict.with_ballots(lapsed), "3: record: body.operations"),
        (2, evict.with_ballots(forged), "3: record: body.operations[0]"),
    ];
    for (round, operation, finding) in cases {
        let mut lie = Run::voting();
        lie.rounds.clone_from(&run.rounds);
        lie.blobs.clone_from(&run.blobs);
        let committed = &mut lie.rounds[round].committed;
        committed.body.operations = vec![operation];
        committed.record.ops_root = crate::record::operations_root(&committed.body.operations);
        let record = committed.record.clone();
        lie.rounds[round].committed.certificate = run.certify(&record, 0);
        assert_eq!(lie.first(), finding);
    }
}
