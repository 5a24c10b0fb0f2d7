//! Members that go wrong on purpose. Each wraps the honest machine, which goes on underneath: what it says can be altered,
//! kept back or added to.

mod absent_host;
mod complainer;
mod equivocator;
mod flooder;
mod garbage;
mod half_silent;
mod impersonator;
mod invite_forger;
mod late_releaser;
mod liar;
mod lying_host;
mod oversized;
mod receipt_liar;
mod replayer;
mod silent;
mod stale_base;
mod sybil_sponsor;
pub mod twins;
mod withholder;

use fedswarm_protocol::artefact::ArtefactShape;
use fedswarm_protocol::envelope::Slot;
use fedswarm_protocol::hash::Digest;
use fedswarm_protocol::message::Message;
use fedswarm_protocol::round::{Recipient, State};
use serde::{Deserialize, Serialize};

use super::core::Core;
use super::node::Node;
use super::packet::Packet;

/// What makes a node lie.
pub trait Adversary {
    /// Something that its honest machine says. True if it is to go out as it is.
    fn says(&mut self, _voice: &mut Voice<'_>, _to: Recipient, _packet: &Packet) -> bool {
        true
    }

    /// Something that the node hears.
    fn hears(&mut self, _voice: &mut Voice<'_>, _packet: &Packet) {}

    /// Its turn, ten times a second.
    fn acts(&mut self, _voice: &mut Voice<'_>) {}
}

macro_rules! vices {
    ($($(#[$doc:meta])* $vice:ident = $name:literal,)+) => {
        /// A way of going wrong on purpose.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum Vice {
            $($(#[$doc])* $vice,)+
        }

        impl Vice {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$vice),+];

            /// Its name in files and in print.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$vice => $name),+ }
            }
        }
    };
}

vices! {
    /// Two honest copies with one key.
    Twins = "twins",
    /// Says one thing to some and another to the rest.
    Equivocator = "equivocator",
    /// Lies in one field of whatever it signs.
    Liar = "liar",
    /// Proposes nothing and votes for nothing.
    Silent = "silent",
    /// Talks to just too few.
    HalfSilent = "half-silent",
    /// Signs for payloads that it does not hold.
    ReceiptLiar = "receipt-liar",
    /// Keeps its payloads to itself.
    Withholder = "withholder",
    /// Sends updates that start from elsewhere.
    StaleBase = "stale-base",
    /// Repeats what others said.
    Replayer = "replayer",
    /// Signs in the name of others.
    Impersonator = "impersonator",
    /// Says very much.
    Flooder = "flooder",
    /// Sends bytes beyond every limit.
    Oversized = "oversized",
    /// Sends bytes that are nearly a message.
    Garbage = "garbage",
    /// Brings certificates and votes out long after the others have moved on.
    LateReleaser = "late-releaser",
    /// Invites keys that it made up.
    SybilSponsor = "sybil-sponsor",
    /// Hosts a generator, and lies about what it made.
    LyingHost = "lying-host",
    /// Signs for artefacts of a generator that nobody gets.
    AbsentHost = "absent-host",
    /// Forges invitations and speaks from places that are not its own; needs no membership.
    InviteForger = "invite-forger",
    /// Wants every view to end.
    Complainer = "complainer",
}

impl Vice {
    /// What makes a node go wrong in this way; nothing for twins, who are honest, each by itself.
    #[must_use]
    pub fn adversary(self) -> Option<Box<dyn Adversary>> {
        Some(match self {
            Self::Twins => return None,
            Self::Equivocator => Box::new(equivocator::Equivocator),
            Self::Liar => Box::new(liar::Liar),
            Self::Silent => Box::new(silent::Silent),
            Self::HalfSilent => Box::new(half_silent::HalfSilent),
            Self::ReceiptLiar => Box::new(receipt_liar::ReceiptLiar::default()),
            Self::Withholder => Box::new(withholder::Withholder),
            Self::StaleBase => Box::new(stale_base::StaleBase),
            Self::Replayer => Box::new(replayer::Replayer::default()),
            Self::Impersonator => Box::new(impersonator::Impersonator),
            Self::Flooder => Box::new(flooder::Flooder),
            Self::Oversized => Box::new(oversized::Oversized),
            Self::Garbage => Box::new(garbage::Garbage::default()),
            Self::LateReleaser => Box::new(late_releaser::LateReleaser::default()),
            Self::SybilSponsor => Box::new(sybil_sponsor::SybilSponsor::default()),
            Self::LyingHost => Box::new(lying_host::LyingHost::default()),
            Self::AbsentHost => Box::new(absent_host::AbsentHost::default()),
            Self::InviteForger => Box::new(invite_forger::InviteForger::default()),
            Self::Complainer => Box::new(complainer::Complainer::default()),
        })
    }
}

/// What an adversary can do: sign with its own key, send anything to anyone, and look at its own node.
#[derive(Debug)]
pub struct Voice<'a> {
    /// The world: chance, and who is there.
    pub core: &'a mut Core,
    node: &'a Node,
}

impl<'a> Voice<'a> {
    /// The voice of a node.
    #[must_use]
    pub fn new(core: &'a mut Core, node: &'a Node) -> Self {
        Self { core, node }
    }

    /// Its member.
    #[must_use]
    pub const fn me(&self) -> u16 {
        self.node.me
    }

    /// Its place in the committee; nothing once it was evicted.
    #[must_use]
    pub fn place(&self) -> Option<u16> {
        self.node.state().me()
    }

    /// Its machine.
    #[must_use]
    pub const fn state(&self) -> &State {
        self.node.state()
    }

    /// The members of its epoch, by place.
    fn members(&self) -> &[Option<u16>] {
        self.core.keys.members(self.state().committee().epoch)
    }

    /// All other voters of its epoch.
    #[must_use]
    pub fn others(&self) -> Vec<u16> {
        let voters = self.members().iter().take(self.state().committee().voters());
        voters.flatten().copied().filter(|member| *member != self.node.me).collect()
    }

    /// One of the others; nothing if there is none.
    pub fn somebody(&mut self) -> Option<u16> {
        let others = self.others();
        self.core.rng.pick(&others)
    }

    /// Signs a message with its own key.
    pub fn sealed(&mut self, slot: &Slot, message: &Message) -> Option<Packet> {
        let bytes = self.core.keys.seal(self.me(), self.place()?, slot, message)?;
        let packet = Packet::of_bytes(bytes);
        match packet.open(&self.core.keys) {
            Some(message) => {
                // Others may count what liars sign, so the monitor must know of it.
                self.core.monitor.said(self.node.me, &message, self.core.now);
                Some(Packet::of(&message, &self.core.keys))
            }
            None => Some(packet),
        }
    }

    /// Signs a message from another's place with its own key. Whoever takes it for that member's word is wrong.
    pub fn sealed_as(&mut self, place: u16, slot: &Slot, message: &Message) -> Option<Packet> {
        let packet = Packet::of_bytes(self.core.keys.seal(self.me(), place, slot, message)?);
        if packet.open(&self.core.keys).is_some() {
            self.core.monitor.impersonated(self.node.me, slot, self.core.now);
        }
        Some(packet)
    }

    /// Signs and sends to some.
    pub fn say(&mut self, to: &[u16], slot: &Slot, message: &Message) {
        if let Some(packet) = self.sealed(slot, message) {
            self.relay(to, &packet);
        }
    }

    /// Sends a packet to some.
    pub fn relay(&mut self, to: &[u16], packet: &Packet) {
        self.core.tally.lies += 1;
        for member in to {
            self.core.send(self.node.id, *member, packet);
        }
    }

    /// What artefacts look like, and the generator's hash; nothing if the network has none.
    #[must_use]
    pub fn generator(&self) -> Option<(ArtefactShape, Digest)> {
        self.node.generator()
    }

    /// Holds a blob, for others to fetch.
    pub fn serve(&mut self, root: Digest, blob: Vec<u8>) {
        let round = self.state().position().0;
        self.core.blobs[self.node.id].insert(root, round, blob.into());
    }

    /// Serves no payload any more.
    pub fn withhold(&mut self) {
        self.core.withholding[self.node.id] = true;
    }

    /// The members whom a message is for.
    #[must_use]
    pub fn audience(&self, to: Recipient) -> Vec<u16> {
        let voters = self.state().committee().voters();
        match to {
            Recipient::All => self.others(),
            Recipient::Contributors => self.members().iter().skip(voters).flatten().copied().collect(),
            Recipient::One(place) => self.members().get(usize::from(place)).copied().flatten().into_iter().collect(),
        }
    }
}
