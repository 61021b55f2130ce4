//! One answer out of several shards': who waits is woken once, by the last of them.

use super::request::Appended;
use futures_channel::oneshot;
use hearth_model::StoreError;
use std::sync::{Arc, Mutex, PoisonError};

type Answer = Result<Appended, StoreError>;

struct Gathering {
    missing: usize,
    done: Appended,
    failed: Option<StoreError>,
    reply: Option<oneshot::Sender<Answer>>,
}

/// A shard's share of an answer. One that is dropped counts as a shard that is closed.
pub struct Part {
    gathering: Arc<Mutex<Gathering>>,
    told: bool,
}

/// So many parts, and where their answer comes.
pub fn gather(parts: usize) -> (Vec<Part>, oneshot::Receiver<Answer>) {
    let (reply, answer) = oneshot::channel();
    let gathering = Gathering { missing: parts, done: Appended::default(), failed: None, reply: Some(reply) };
    let gathering = Arc::new(Mutex::new(gathering));
    let part = || Part { gathering: gathering.clone(), told: false };
    (std::iter::repeat_with(part).take(parts).collect(), answer)
}

impl Part {
    pub fn tell(mut self, answer: Answer) {
        self.note(answer);
    }

    fn note(&mut self, answer: Answer) {
        self.told = true;
        let mut gathering = self.gathering.lock().unwrap_or_else(PoisonError::into_inner);
        match answer {
            Ok(part) => {
                gathering.done.outcome.merge(part.outcome);
                gathering.done.elsewhere.extend(part.elsewhere);
            }
            Err(error) => gathering.failed = Some(error),
        }
        gathering.missing -= 1;
        if gathering.missing == 0
            && let Some(reply) = gathering.reply.take()
        {
            let done = std::mem::take(&mut gathering.done);
            let answer = gathering.failed.take().map_or(Ok(done), Err);
            // The one who asked may be gone; what was written stays.
            let _ = reply.send(answer);
        }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.told {
            self.note(Err(StoreError::Closed));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn the_last_part_answers_for_all() {
        let appended = |samples| {
            let mut part = Appended::default();
            part.outcome.samples = samples;
            part
        };
        let (mut parts, mut answer) = gather(3);
        parts.pop().expect("three").tell(Ok(appended(1)));
        parts.pop().expect("two").tell(Ok(appended(2)));
        assert_eq!((&mut answer).now_or_never().map(drop), None);
        parts.pop().expect("one").tell(Ok(appended(4)));
        let done = answer.now_or_never().expect("told").expect("told").expect("no part failed");
        assert_eq!(done.outcome.samples, 7);
    }

    #[test]
    fn a_part_that_is_dropped_is_a_failure() {
        let (mut parts, answer) = gather(2);
        parts.pop().expect("two").tell(Ok(Appended::default()));
        drop(parts);
        let told = answer.now_or_never().expect("told").expect("told");
        assert!(matches!(told, Err(StoreError::Closed)));
    }
}
