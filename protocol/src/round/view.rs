//! Views: who is next when an aggregator is silent or lies.

use super::{Event, Out, State, Timer};

impl State {
    /// Moves to a view. After a notarization only its finalisation is awaited, so the aggregator of the new view waits one
    /// interval before it repeats the record, and everybody else two.
    pub(super) fn enter_view(&mut self, view: u32, notarized: bool, out: &mut Out) {
        let round = self.round.number;
        self.round.view = view;
        self.round.repropose = false;
        self.round.complaints.retain(|of, _| *of >= view);
        let leader = self.leader(view);
        out.emit(Event::ViewEntered { round, view, leader });
        let interval = self.view_ms(view);
        if notarized {
            if self.me == Some(leader) {
                out.timer(Timer::Repropose { round, view }, interval);
            }
            out.timer(Timer::View { round, view }, interval.saturating_mul(2));
        } else {
            out.timer(Timer::View { round, view }, interval);
        }
        self.try_propose(out);
        self.try_judge(out);
        // Neither of the two leaves a view.
        self.try_complain(out);
        self.try_expire(out);
    }
}
