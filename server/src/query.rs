//! The query engine over the store, and the threads that queries compute on.
//!
//! What shards send back is merged and finished away from the shards, in stretches that may last seconds.
//! [`Threads`] gives that its own threads, so that no query keeps the control threads from scraping,
//! receiving and answering. A query that never asks for room (see [`QueryContext::ask_for_room`]) has no such
//! stretch and is spared the way there and back, which would cost it more than its work. [`Threads`] never
//! looks into a query.

use crate::flags::{Features, Flags};
use crate::lanes::ask_for;
use crate::settings;
use futures_util::FutureExt;
use hearth_kernels::arch::Turns;
use hearth_model::context::Budget;
use hearth_model::metadata::MetricMetadata;
use hearth_model::replicas::Replicas;
use hearth_model::store::{BoxFuture, Catalogue, Latest, MatcherSets, SeriesExemplars};
use hearth_model::{Labels, Missing, QueryContext, StoreError, TimeRange};
use hearth_promql::active::ActiveQuery;
use hearth_promql::cache::{Cache, CacheFigures};
use hearth_promql::explain::{Asked, Explained};
use hearth_promql::query::{Answer, InstantRequest, QueryError, RangeRequest};
use hearth_promql::{Engine, EngineOptions, Query, QueryAdmin};
use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::Poll;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::{JoinError, JoinHandle};

/// Query threads for each core: the kernel shares the cores among them, so that as many long queries as
/// there are cores do not keep a short one waiting.
const THREADS_PER_CORE: usize = 4;

/// The engine with the limits that the flags set. `default_subquery_step_ms` is the global evaluation
/// interval of the configuration at start.
pub fn engine(
    store: hearth_engine::Handle,
    flags: &Flags,
    features: &Features,
    default_subquery_step_ms: i64,
    memory: Arc<Budget>,
) -> Engine<Replicas<hearth_engine::Handle>> {
    let options = EngineOptions {
        lookback_ms: i64::try_from(flags.duration("query.lookback-delta").as_millis()).unwrap_or(i64::MAX),
        max_samples: flags.count("query.max-samples") as u64,
        max_concurrency: flags.count("query.max-concurrency"),
        default_subquery_step_ms,
        parse: settings::parse_options(features),
        delayed_name_removal: features.delayed_name_removal,
        type_and_unit_labels: features.type_and_unit_labels,
        ..EngineOptions::default()
    };
    let engine = Engine::new(Replicas::new(store), options);
    match settings::query_cache_bytes(flags) {
        0 => engine,
        bytes => engine.with_cache(Cache::new(bytes, Some(memory))),
    }
}

/// The threads that queries compute on.
pub fn threads(flags: &Flags) -> std::io::Result<Runtime> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let most = flags.count("query.max-concurrency").max(1);
    Builder::new_multi_thread()
        .worker_threads((cores * THREADS_PER_CORE).min(most))
        .thread_name("query")
        .on_thread_start(|| ask_for(Turns::Long))
        .build()
}

/// Runs what `inner` answers on the query threads. Dropping an answer's future stops the work at its next
/// pause, cancelling its context within the stretch between two.
pub struct Threads<T> {
    inner: Arc<T>,
    threads: Handle,
}

impl<T> Threads<T> {
    pub fn new(inner: T, threads: Handle) -> Threads<T> {
        Threads { inner: Arc::new(inner), threads }
    }

    /// Spawns what `work` does with `inner`; `broken` says what to answer when it panics.
    fn run<A, E, F>(
        &self,
        work: impl FnOnce(Arc<T>) -> F,
        broken: fn(String) -> E,
    ) -> BoxFuture<'static, Result<A, E>>
    where
        F: Future<Output = Result<A, E>> + Send + 'static,
        A: Send + 'static,
        E: Send + 'static,
    {
        let task = AbortOnDrop(self.threads.spawn(work(self.inner.clone())));
        Box::pin(async move {
            let mut task = task;
            match (&mut task.0).await {
                Ok(result) => result,
                Err(error) => Err(broken(describe(error))),
            }
        })
    }
}

impl<T: Query + 'static> Threads<T> {
    /// Begins on the thread of who asks, and goes on elsewhere once the query asks for room.
    fn query<F>(
        &self,
        context: QueryContext,
        work: impl FnOnce(Arc<T>) -> F,
    ) -> BoxFuture<'static, Result<Answer, QueryError>>
    where
        F: Future<Output = Result<Answer, QueryError>> + Send + 'static,
    {
        let threads = self.threads.clone();
        let mut work = Box::pin(AssertUnwindSafe(work(self.inner.clone())).catch_unwind());
        Box::pin(async move {
            let here = poll_fn(|task| match work.as_mut().poll(task) {
                Poll::Ready(ended) => Poll::Ready(Some(ended)),
                Poll::Pending if context.wants_room() => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            });
            let ended = match here.await {
                Some(ended) => ended,
                None => match (&mut AbortOnDrop(threads.spawn(work)).0).await {
                    Ok(ended) => ended,
                    Err(error) => return Err(QueryError::Execution(describe(error))),
                },
            };
            ended.unwrap_or_else(|panic| Err(QueryError::Execution(describe_panic(&*panic))))
        })
    }
}

struct AbortOnDrop<A>(JoinHandle<A>);

impl<A> Drop for AbortOnDrop<A> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What ended a task that gave no answer: a bug of ours, or the end of the server.
fn describe(error: JoinError) -> String {
    match error.try_into_panic() {
        Ok(panic) => describe_panic(&*panic),
        Err(_) => "server is shutting down".to_owned(),
    }
}

fn describe_panic(panic: &(dyn Any + Send)) -> String {
    let text = hearth_model::panic::text(panic);
    tracing::error!(component = "query engine", err = %text, "A query panicked");
    format!("unexpected error: {text}")
}

impl<T: Query + 'static> Query for Threads<T> {
    fn instant(&self, request: InstantRequest) -> BoxFuture<'_, Result<Answer, QueryError>> {
        let context = request.options.context.clone();
        self.query(context, |engine| async move { engine.instant(request).await })
    }

    fn range(&self, request: RangeRequest) -> BoxFuture<'_, Result<Answer, QueryError>> {
        let context = request.options.context.clone();
        self.query(context, |engine| async move { engine.range(request).await })
    }

    fn explain(&self, asked: Asked, run: bool) -> BoxFuture<'_, Result<Explained, QueryError>> {
        self.run(move |engine| async move { engine.explain(asked, run).await }, QueryError::Execution)
    }
}

/// Answered where it is asked: a list and a word to stop must not wait for a thread.
impl<T: QueryAdmin> QueryAdmin for Threads<T> {
    fn active(&self) -> Vec<ActiveQuery> {
        self.inner.active()
    }

    fn kill(&self, id: u64) -> bool {
        self.inner.kill(id)
    }

    fn cache(&self) -> Option<CacheFigures> {
        self.inner.cache()
    }

    fn forget(&self) {
        self.inner.forget();
    }
}

impl<T: Catalogue + 'static> Catalogue for Threads<T> {
    fn series(
        &self,
        context: QueryContext,
        sets: MatcherSets,
        range: TimeRange,
        limit: usize,
    ) -> BoxFuture<'_, Result<(Vec<Labels>, bool), StoreError>> {
        self.run(move |store| async move { store.series(context, sets, range, limit).await }, StoreError::Io)
    }

    fn label_names(
        &self,
        context: QueryContext,
        sets: MatcherSets,
        range: TimeRange,
        limit: usize,
    ) -> BoxFuture<'_, Result<(Vec<String>, bool), StoreError>> {
        self.run(
            move |store| async move { store.label_names(context, sets, range, limit).await },
            StoreError::Io,
        )
    }

    fn label_values(
        &self,
        context: QueryContext,
        name: String,
        sets: MatcherSets,
        range: TimeRange,
        limit: usize,
    ) -> BoxFuture<'_, Result<(Vec<String>, bool), StoreError>> {
        self.run(
            move |store| async move { store.label_values(context, name, sets, range, limit).await },
            StoreError::Io,
        )
    }

    fn latest(
        &self,
        context: QueryContext,
        sets: MatcherSets,
        range: TimeRange,
    ) -> BoxFuture<'_, Result<Vec<Latest>, StoreError>> {
        self.run(move |store| async move { store.latest(context, sets, range).await }, StoreError::Io)
    }

    fn exemplars(
        &self,
        context: QueryContext,
        sets: MatcherSets,
        range: TimeRange,
    ) -> BoxFuture<'_, Result<Vec<SeriesExemplars>, StoreError>> {
        self.run(move |store| async move { store.exemplars(context, sets, range).await }, StoreError::Io)
    }

    fn metadata(
        &self,
        context: QueryContext,
        metric: Option<String>,
    ) -> BoxFuture<'_, Result<Vec<MetricMetadata>, StoreError>> {
        self.run(move |store| async move { store.metadata(context, metric).await }, StoreError::Io)
    }

    fn missing(&self) -> Vec<Missing> {
        self.inner.missing()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hearth_promql::query::RequestOptions;
    use std::sync::mpsc;
    use std::task::Poll;
    use tokio::sync::oneshot;

    type Work = Box<dyn Fn(InstantRequest) -> BoxFuture<'static, Result<Answer, QueryError>> + Send + Sync>;

    /// Does that with each query.
    struct Fake(Work);

    impl Query for Fake {
        fn instant(&self, request: InstantRequest) -> BoxFuture<'_, Result<Answer, QueryError>> {
            self.0(request)
        }

        fn range(&self, _: RangeRequest) -> BoxFuture<'_, Result<Answer, QueryError>> {
            Box::pin(async { Err(QueryError::BadData("no range".to_owned())) })
        }

        fn explain(&self, _: Asked, _: bool) -> BoxFuture<'_, Result<Explained, QueryError>> {
            Box::pin(async { Err(QueryError::BadData("nothing to explain".to_owned())) })
        }
    }

    fn two_threads() -> Runtime {
        Builder::new_multi_thread().worker_threads(2).build().expect("threads")
    }

    fn request(text: &str) -> InstantRequest {
        let context = QueryContext::new(Budget::new("query", 1 << 20, None));
        InstantRequest { text: text.to_owned(), time_ms: 0, options: RequestOptions::new(context) }
    }

    fn on_control<T>(work: impl Future<Output = T>) -> T {
        Builder::new_current_thread().build().expect("a thread").block_on(work)
    }

    #[test]
    fn a_short_query_stays_where_it_is_asked() {
        let threads = two_threads();
        let here = std::thread::current().id();
        let query = Threads::new(
            Fake(Box::new(move |request| {
                Box::pin(async move {
                    assert_eq!(std::thread::current().id(), here);
                    Err(QueryError::BadData(request.text))
                })
            })),
            threads.handle().clone(),
        );
        assert_eq!(on_control(query.instant(request("x"))), Err(QueryError::BadData("x".to_owned())));
    }

    #[test]
    fn a_long_stretch_keeps_nobody_else() {
        let threads = two_threads();
        let (go_on, wait) = mpsc::channel::<()>();
        let wait = Arc::new(std::sync::Mutex::new(wait));
        let query = Threads::new(
            Fake(Box::new(move |request| {
                let wait = wait.clone();
                Box::pin(async move {
                    request.options.context.ask_for_room().await;
                    wait.lock().expect("no panic").recv().expect("told to go on");
                    Err(QueryError::BadData(request.text))
                })
            })),
            threads.handle().clone(),
        );
        let answer = on_control(async {
            let mut answer = query.instant(request("x"));
            let first = std::future::poll_fn(|context| Poll::Ready(answer.as_mut().poll(context))).await;
            assert!(first.is_pending(), "computed on the caller's thread");
            go_on.send(()).expect("somebody waits");
            answer.await
        });
        assert_eq!(answer, Err(QueryError::BadData("x".to_owned())));
    }

    #[test]
    fn hanging_up_drops_the_work() {
        let threads = two_threads();
        let (started, runs) = oneshot::channel::<()>();
        let (alive, dropped) = oneshot::channel::<()>();
        let ends = std::sync::Mutex::new(Some((started, alive)));
        let query = Threads::new(
            Fake(Box::new(move |request| {
                let (started, alive) = ends.lock().expect("no panic").take().expect("asked once");
                Box::pin(async move {
                    request.options.context.ask_for_room().await;
                    started.send(()).expect("somebody waits");
                    std::future::pending::<()>().await;
                    drop(alive);
                    Err(QueryError::Canceled("never"))
                })
            })),
            threads.handle().clone(),
        );
        on_control(async {
            let mut answer = query.instant(request("x"));
            let first = std::future::poll_fn(|context| Poll::Ready(answer.as_mut().poll(context))).await;
            assert!(first.is_pending());
            runs.await.expect("started");
            drop(answer);
            assert!(dropped.await.is_err());
        });
    }

    #[test]
    fn a_panic_is_an_answer() {
        for far in [false, true] {
            let threads = two_threads();
            let query = Threads::new(
                Fake(Box::new(move |request| {
                    Box::pin(async move {
                        if far {
                            request.options.context.ask_for_room().await;
                        }
                        panic!("no {}", request.text)
                    })
                })),
                threads.handle().clone(),
            );
            let answer = on_control(query.instant(request("x")));
            assert_eq!(answer, Err(QueryError::Execution("unexpected error: no x".to_owned())));
        }
    }
}
