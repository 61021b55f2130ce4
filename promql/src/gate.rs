//! How many queries run at once; the others wait in line.

use futures_channel::oneshot;
use hearth_model::QueryContext;
use hearth_model::context::Stop;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

/// A fair gate: first come, first served.
#[derive(Debug, Clone)]
pub struct Gate(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    free: usize,
    running: usize,
    waiting: VecDeque<oneshot::Sender<Turn>>,
}

/// Leave to run; the next in line gets it when this is dropped.
#[derive(Debug)]
pub struct Turn(Option<Gate>);

impl Gate {
    pub fn new(places: usize) -> Gate {
        let places = places.max(1);
        Gate(Arc::new(Mutex::new(State { free: places, running: 0, waiting: VecDeque::new() })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change below is complete at each step, so a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Running and waiting.
    pub fn inside(&self) -> usize {
        let state = self.state();
        state.running + state.waiting.iter().filter(|w| !w.is_canceled()).count()
    }

    /// Waits for a turn, or until the query is told to stop. Whoever drops the future leaves the line.
    pub async fn enter(&self, context: &QueryContext) -> Result<Turn, Stop> {
        let mut stopped = pin!(context.stopped());
        loop {
            let mut waiting = {
                let mut state = self.state();
                if state.free > 0 {
                    state.free -= 1;
                    state.running += 1;
                    return Ok(Turn(Some(self.clone())));
                }
                let (sender, receiver) = oneshot::channel();
                state.waiting.push_back(sender);
                receiver
            };
            let either = poll_fn(|task| match Pin::new(&mut waiting).poll(task) {
                Poll::Ready(turn) => Poll::Ready(Ok(turn)),
                Poll::Pending => stopped.as_mut().poll(task).map(Err),
            });
            if let Ok(turn) = either.await? {
                return Ok(turn);
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(gate) = self.0.take() else { return };
        loop {
            let next = {
                let mut state = gate.state();
                match state.waiting.pop_front() {
                    Some(next) => next,
                    None => {
                        state.free += 1;
                        state.running -= 1;
                        return;
                    }
                }
            };
            match next.send(Turn(Some(gate.clone()))) {
                Ok(()) => return,
                // Gone while it waited: this loop passes the turn on, not the turn itself.
                Err(mut turn) => turn.0 = None,
            }
        }
    }
}
