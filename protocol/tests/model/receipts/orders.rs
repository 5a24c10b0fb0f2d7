//! That the reductions of the exploration leave nothing out that is looked at.

use fedswarm_protocol::envelope::Verified;
use fedswarm_protocol::hash::Stream;
use fedswarm_protocol::message::Message;
use stateright::{Checker, Model};

use super::claims::Claims;
use super::model::{Arrival, Phases, Receipts, Setting};
use super::peer::Vote;
use super::words::{LIES, Lie};

fn pick<'a, T>(random: &mut Stream, all: &'a [T]) -> &'a T {
    &all[(random.next_u64() % all.len() as u64) as usize]
}

/// The model, explored, with random records of its lying aggregator.
struct Explored {
    checker: Box<dyn Checker<Receipts>>,
    /// By member, its states with a receipt.
    signed: [Vec<u32>; 3],
    random: Stream,
}

impl Explored {
    fn new() -> Self {
        let setting = Setting { liar_aggregates: true, updates_only: true, ..Setting::default() };
        let checker = Receipts::new(setting).checker().spawn_dfs().join();
        let signed = [0, 1, 2].map(|place: usize| {
            let places = checker.model().places[place].lock().unwrap();
            let numbers = (0u32..).zip(&places.peers);
            numbers.filter(|(_, peer)| peer.receipt.is_some()).map(|(number, _)| number).collect()
        });
        Self { checker: Box::new(checker), signed, random: Stream::new("orders", &[]) }
    }

    fn model(&self) -> &Receipts {
        self.checker.model()
    }

    /// A random state in which everybody has signed, and a record that the liar can make of it.
    fn record(&mut self) -> (Phases, Vec<Verified>, Verified) {
        loop {
            let peers = [0, 1, 2].map(|place| *pick(&mut self.random, &self.signed[place]));
            let state = Phases { peers, train: 7, proposed: None, claims: Claims::default() };
            let honest = self.model().signed(&state).expect("everybody has signed");
            let choices = self.model().choices(&honest);
            let receipts = pick(&mut self.random, &choices).clone();
            // Good records more often than bad ones: all bad ones look alike.
            let lie = *pick(&mut self.random, &[&LIES, [Lie::None; 7].as_slice()].concat());
            if let Some(proposal) = self.model().record(&receipts, lie) {
                return (state, receipts, proposal);
            }
        }
    }
}

#[test]
fn what_is_merged_votes_the_same() {
    let mut explored = Explored::new();
    let (mut compared, mut notarized) = (0, 0);
    for round in 0..3000 {
        let (_, receipts, proposal) = explored.record();
        let model = explored.checker.model();
        let places = model.places[round % 3].lock().unwrap();
        let (peer, same) = pick(&mut explored.random, &places.merged);
        let vote = model.vote(peer, &proposal, &receipts);
        assert_eq!(vote, model.vote(&places.peers[*same as usize], &proposal, &receipts));
        compared += 1;
        notarized += usize::from(vote == Vote::Notarize);
    }
    println!("{compared} votes of merged states compared, {notarized} of them to notarize");
    assert!(notarized > compared / 4);
}

/// Lost messages come again, so everything arrives twice.
#[test]
fn the_order_in_which_a_record_and_its_inputs_arrive_changes_no_vote() {
    let mut explored = Explored::new();
    let mut notarized = 0;
    for _ in 0..3000 {
        let (state, receipts, proposal) = explored.record();
        let Message::Proposal(body) = proposal.message() else { unreachable!() };
        let (model, random) = (explored.checker.model(), &mut explored.random);
        let mut all = model.named(body, &receipts);
        all.push(Arrival::Message(proposal.clone()));
        all.extend(all.clone());
        random.shuffle(&mut all);
        // What was dropped before the record was there is sent again to whoever asks for it.
        all.extend(model.named(body, &receipts));
        let peer = model.peer(&state, (random.next_u64() % 3) as usize);
        let vote = model.vote(&peer, &proposal, &receipts);
        let voted = all.iter().fold(peer, |peer, arrival| model.arrives(peer, arrival)).vote;
        assert_eq!(voted, vote, "{all:?}");
        notarized += usize::from(vote == Vote::Notarize);
    }
    assert!(notarized > 600, "{notarized}");
}
