//! The answers of all shards to one question. Who waits is woken once, by the last answer or by the first
//! error: each wake-up costs more than a short answer itself.

use futures_util::task::AtomicWaker;
use hearth_model::StoreError;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

#[derive(Debug)]
struct Slots<T> {
    answers: Vec<Option<T>>,
    missing: usize,
    error: Option<StoreError>,
}

#[derive(Debug)]
struct Shared<T> {
    slots: Mutex<Slots<T>>,
    waiting: AtomicWaker,
}

impl<T> Shared<T> {
    fn slots(&self) -> MutexGuard<'_, Slots<T>> {
        // Every change is complete at each step, so a panic elsewhere leaves nothing half done.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The waiting side.
#[derive(Debug)]
pub struct Answers<T>(Arc<Shared<T>>);

/// A shard's side. Dropping it without an answer says that the shard is gone.
#[derive(Debug)]
pub struct Reply<T> {
    shared: Arc<Shared<T>>,
    slot: usize,
    given: bool,
}

impl<T> Answers<T> {
    pub fn of(shards: usize) -> Answers<T> {
        let answers = (0..shards).map(|_| None).collect();
        let slots = Mutex::new(Slots { answers, missing: shards, error: None });
        Answers(Arc::new(Shared { slots, waiting: AtomicWaker::new() }))
    }

    pub fn reply(&self, shard: usize) -> Reply<T> {
        Reply { shared: self.0.clone(), slot: shard, given: false }
    }

    /// All answers in the order of the shards, or the first error.
    pub async fn all(self) -> Result<Vec<T>, StoreError> {
        poll_fn(|task| {
            self.0.waiting.register(task.waker());
            let mut slots = self.0.slots();
            if let Some(error) = slots.error.take() {
                return Poll::Ready(Err(error));
            }
            if slots.missing > 0 {
                return Poll::Pending;
            }
            Poll::Ready(Ok(std::mem::take(&mut slots.answers).into_iter().flatten().collect()))
        })
        .await
    }
}

impl<T> Reply<T> {
    pub fn send(mut self, answer: Result<T, StoreError>) {
        self.give(answer);
    }

    fn give(&mut self, answer: Result<T, StoreError>) {
        self.given = true;
        let mut slots = self.shared.slots();
        let over = match answer {
            Ok(answer) => {
                slots.answers[self.slot] = Some(answer);
                slots.missing -= 1;
                slots.missing == 0
            }
            Err(error) => {
                slots.error.get_or_insert(error);
                true
            }
        };
        drop(slots);
        if over {
            self.shared.waiting.wake();
        }
    }
}

impl<T> Drop for Reply<T> {
    fn drop(&mut self) {
        if !self.given {
            self.give(Err(StoreError::Closed));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Wake, Waker};

    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn the_last_answer_wakes_and_the_order_is_the_shards() {
        let answers = Answers::of(3);
        let replies: Vec<Reply<usize>> = (0..3).map(|shard| answers.reply(shard)).collect();
        let count = Arc::new(Count(AtomicUsize::new(0)));
        let waker = Waker::from(count.clone());
        let mut task = Context::from_waker(&waker);
        let mut all = std::pin::pin!(answers.all());
        for (shard, reply) in replies.into_iter().enumerate().rev() {
            assert!(all.as_mut().poll(&mut task).is_pending());
            assert_eq!(count.0.load(Ordering::Relaxed), 0);
            reply.send(Ok(shard));
        }
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        assert_eq!(all.as_mut().poll(&mut task), Poll::Ready(Ok(vec![0, 1, 2])));
    }

    #[test]
    fn an_error_or_a_shard_that_is_gone_ends_the_wait() {
        for (answer, expect) in
            [(Some(StoreError::Overloaded), StoreError::Overloaded), (None, StoreError::Closed)]
        {
            let answers = Answers::of(2);
            let (late, reply) = (answers.reply(0), answers.reply(1));
            match answer {
                Some(error) => reply.send(Err(error)),
                None => drop(reply),
            }
            assert_eq!(futures_executor::block_on(answers.all()), Err::<Vec<()>, _>(expect));
            late.send(Ok(()));
        }
    }
}
