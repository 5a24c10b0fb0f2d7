//! Makes invitations and requests that nobody gave it the right to make, in every way that comes to mind, and speaks as if it
//! had the place of a member. It need not be a member itself.

use fedswarm_protocol::envelope::{Kind, NOBODY, Slot};
use fedswarm_protocol::hash::{Digest, hash};
use fedswarm_protocol::keys::SecretKey;
use fedswarm_protocol::membership::{Ballot, EvictVote, Invite, Join, Leave, Operation, Role, Rotate};
use fedswarm_protocol::message::{Message, Receipt, Status, UpdateHeader};
use fedswarm_protocol::update::UpdateCodec;

use super::{Adversary, Voice};
use crate::world::founding::draw_key;
use crate::world::packet::Packet;

const SLOT: Slot = Slot { kind: Kind::Operation, epoch: 0, round: 0, view: 0 };

/// Invitations that it remembers.
const MEMORY: usize = 16;

#[derive(Default)]
pub(super) struct InviteForger {
    heard: Vec<Join>,
    /// A ticket and a key that it made up.
    made_up: Option<(SecretKey, SecretKey)>,
}

impl Adversary for InviteForger {
    fn hears(&mut self, voice: &mut Voice<'_>, packet: &Packet) {
        if packet.kind() != Some(Kind::Operation) || self.heard.len() >= MEMORY {
            return;
        }
        let Some(message) = packet.open(&voice.core.keys) else { return };
        if let Message::Operation(Operation::Join(join)) = message.message() {
            self.heard.push(join.as_ref().clone());
        }
    }

    fn acts(&mut self, voice: &mut Voice<'_>) {
        let others = voice.others();
        let Some(forged) = (if voice.core.rng.chance(0.5) { self.operation(voice) } else { statement(voice) }) else {
            return;
        };
        voice.relay(&others, &forged);
    }
}

impl InviteForger {
    fn operation(&mut self, voice: &mut Voice<'_>) -> Option<Packet> {
        let victim = voice.somebody()?;
        let draw = || (draw_key(&mut voice.core.rng), draw_key(&mut voice.core.rng));
        let (ticket, made_up) = self.made_up.get_or_insert_with(draw).clone();
        let round = voice.state().head().round;
        let since = voice.state().committee().members.first()?.since;
        let heard = self.heard.get(voice.core.rng.index(self.heard.len())).cloned();
        let way = voice.core.rng.below(if voice.core.options.vote { 12 } else { 8 });
        let sponsors = voice.place().is_some();
        let (me, keys) = (voice.me(), &voice.core.keys);
        let (scheme, network, own) = (keys.scheme(), keys.network(), keys.secret(me)?);
        let victim = keys.public(victim)?;
        let of = |invite: Invite| Join::new_with(scheme, network, invite, &ticket, own, "me".to_owned());
        let mine = Invite::new_with(scheme, network, own, ticket.public(), Role::Voter, round + 50);
        let operation = match way {
            // In a voter's name.
            0 => Operation::Join(Box::new(of(Invite { sponsor: *victim, ..mine }))),
            // Invited by itself, or by a key that it made up.
            1 if !sponsors => Operation::Join(Box::new(of(mine))),
            1 | 2 => {
                let stranger = Invite::new_with(scheme, network, &made_up, ticket.public(), Role::Voter, round + 50);
                Operation::Join(Box::new(of(stranger)))
            }
            // Another's invitation: used for itself, made one for a voter, or made to hold longer.
            3 => Operation::Join(Box::new(of(heard?.invite))),
            4 => {
                let mut join = heard?;
                join.invite.role = if join.invite.role == Role::Voter { Role::Contributor } else { Role::Voter };
                Operation::Join(Box::new(join))
            }
            5 => {
                let mut join = heard?;
                (join.key, join.invite.expires) = (own.public(), join.invite.expires + 1);
                Operation::Join(Box::new(join))
            }
            // A voter's place taken over, or a voter sent away.
            6 => {
                let rotate = Rotate { old: *victim, ..Rotate::new_with(scheme, network, own, &made_up, since) };
                Operation::Rotate(Box::new(rotate))
            }
            // Votes: its own, which it has not, a voter's that it never gave, and those that it heard, for something else.
            8 if !sponsors => Operation::EvictVote(EvictVote::new_with(scheme, network, *victim, since, own, u64::MAX)),
            9 => {
                let vote = EvictVote::new_with(scheme, network, *victim, since, &made_up, u64::MAX);
                let votes = vote.votes.iter().map(|ballot| Ballot { voter: *victim, ..*ballot });
                Operation::EvictVote(vote.clone()).with_ballots(votes.collect())
            }
            10 => {
                let join = of(mine);
                let ballot = join.approve_with(scheme, network, &made_up, u64::MAX);
                Operation::Join(Box::new(join)).with_ballots(vec![Ballot { voter: *victim, ..ballot }])
            }
            11 => {
                let heard = heard?;
                Operation::Join(Box::new(of(heard.invite))).with_ballots(heard.approvals)
            }
            _ => Operation::Leave(Leave { key: *victim, ..Leave::new_with(scheme, network, own, since) }),
        };
        keys.seal(me, NOBODY, &SLOT, &Message::Operation(operation)).map(Packet::of_bytes)
    }
}

/// A statement from any place, its own or not, signed by its own key.
fn statement(voice: &mut Voice<'_>) -> Option<Packet> {
    let (round, view) = voice.state().position();
    let (epoch, voters) = (voice.state().committee().epoch, voice.state().committee().voters() as u64);
    let lie = hash("lie", &voice.core.rng.bits().to_le_bytes());
    let own = voice.place();
    let place = voice.core.rng.below(voters + 2) as u16;
    if own == Some(place) {
        return None;
    }
    let kinds = [Kind::Update, Kind::Receipt, Kind::Notarize, Kind::Nullify, Kind::Finalize, Kind::Status];
    let kind = voice.core.rng.pick(&kinds)?;
    let message = match kind {
        Kind::Update => Message::Update(UpdateHeader {
            base: voice.state().head_hash(),
            schema: lie,
            payload_root: lie,
            wire_root: lie,
            wire_len: 1,
            codec: UpdateCodec::I32,
            samples: 1,
            norm2_q: 0,
        }),
        Kind::Receipt => Message::Receipt(Receipt { items: Vec::new(), artefacts: Vec::new() }),
        Kind::Nullify => Message::Vote(Digest::ZERO),
        Kind::Status => Message::Status(Status { finalized: round + 1, record: lie, epoch, ..Status::default() }),
        _ => Message::Vote(lie),
    };
    let slot = Slot { kind, epoch, round, view: if kind.has_view() { view } else { 0 } };
    voice.sealed_as(place, &slot, &message)
}
